"""FLOPs of a training run, and the time they take. All quantities are in base units: FLOP, FLOP/s, seconds."""

HOUR = 3600.0
DAY = 24 * HOUR
CHINCHILLA_RATIO = 20.0  # tokens a parameter (Hoffmann et al. 2022, arXiv:2203.15556, section 3)
# Layers of a usual shape: N = 12 L h^2 with h = 128 L, which Llama 3's 8B, 70B and 405B follow within some per cent.
WIDTH_PER_LAYER = 128
PARAMS_PER_LAYER_AND_WIDTH = 12


def training_flops(params: float, tokens: float) -> float:
    """6 N D: forward 2, backward 4 FLOPs a parameter and token (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)."""
    return 6.0 * params * tokens


def device_seconds(flops: float, flops_per_second: float) -> float:
    """Seconds on one device that achieves so many FLOP/s (its peak times the model FLOPs utilisation)."""
    return flops / flops_per_second


def usual_shape(params: float) -> tuple[int, int]:
    """(layers, hidden size) that a dense transformer of so many parameters usually has."""
    layers = max(1, round((params / (PARAMS_PER_LAYER_AND_WIDTH * WIDTH_PER_LAYER**2)) ** (1 / 3)))
    return layers, WIDTH_PER_LAYER * layers
