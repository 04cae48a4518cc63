"""Sizes of networks: by name, by one dial, or by the number of parameters wanted. Numbers only, nothing is built.

    preset  layers  width  heads  kv  feed-forward  blocks   in all, at a vocabulary of
    1m           3    128      4   4           384  0.64 M   1.2 M    4,096
    3m           5    192      3   3           512   2.2 M   3.0 M    4,096
    10m         12    256      4   4           704   9.6 M  10.7 M    4,096
    30m         10    384      6   6          1024  17.7 M  30.3 M   32,768
    60m         12    512      8   8          1408  38.5 M  55.3 M   32,768
    125m        12    768     12  12          2048    85 M   110 M   32,768   GPT-3's, with SwiGLU
    350m        24   1024     16  16          2816   308 M   342 M   32,768   GPT-3's, with SwiGLU
    760m        24   1536     16  16          4096   679 M   730 M   32,768   GPT-3's, with SwiGLU
    1b          16   2048     32   8          8192   973 M  1.24 B  128,256   Llama 3.2 1B
    8b          32   4096     32   8         14336  6.98 B  8.03 B  128,256   Llama 3 8B

The head is the embedding itself but in 8b. A name is nominal: what counts in it depends on the vocabulary.
"""

import math
from collections.abc import Callable
from typing import Literal, TypedDict

from model.rope_scaling import DEFAULT_ROPE_THETA

PresetName = Literal["1m", "3m", "10m", "30m", "60m", "125m", "350m", "760m", "1b", "8b"]

WIDTH_A_LAYER = 64  # nanochat's dial, and about GPT-3's ratio at its 125M
LLAMA_3_ROPE_THETA = 500_000.0  # Grattafiori et al. 2024, section 3.2

# Widths from which heads are that wide. 64 and 128 are what models of these widths have (GPT-3, Llama); below, 32 keeps
# more than a head or two.
_HEAD_SIZES = ((1024, 128), (256, 64), (0, 32))
_FEED_FORWARD_MULTIPLES = ((1024, 128), (0, 64))
_NEAR_ENOUGH = 0.1  # how far from the wanted parameters a better-proportioned shape may be


class Sizes(TypedDict):
    """What a preset, the dial or a number of parameters decides; named as in `ModelConfig`."""

    hidden_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    intermediate_size: int


class PresetSizes(Sizes):
    """A preset also decides these, unless told otherwise."""

    rope_theta: float
    tie_embeddings: bool


def _preset(
    n_layers: int, width: int, n_heads: int, n_kv_heads: int, feed_forward: int, theta: float, tied: bool
) -> PresetSizes:
    return PresetSizes(
        hidden_size=width,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        intermediate_size=feed_forward,
        rope_theta=theta,
        tie_embeddings=tied,
    )


PRESETS: dict[PresetName, PresetSizes] = {
    "1m": _preset(3, 128, 4, 4, 384, DEFAULT_ROPE_THETA, True),
    "3m": _preset(5, 192, 3, 3, 512, DEFAULT_ROPE_THETA, True),
    "10m": _preset(12, 256, 4, 4, 704, DEFAULT_ROPE_THETA, True),
    "30m": _preset(10, 384, 6, 6, 1024, DEFAULT_ROPE_THETA, True),
    "60m": _preset(12, 512, 8, 8, 1408, DEFAULT_ROPE_THETA, True),
    "125m": _preset(12, 768, 12, 12, 2048, DEFAULT_ROPE_THETA, True),
    "350m": _preset(24, 1024, 16, 16, 2816, DEFAULT_ROPE_THETA, True),
    "760m": _preset(24, 1536, 16, 16, 4096, DEFAULT_ROPE_THETA, True),
    "1b": _preset(16, 2048, 32, 8, 8192, LLAMA_3_ROPE_THETA, True),
    "8b": _preset(32, 4096, 32, 8, 14336, LLAMA_3_ROPE_THETA, False),
}


def sizes_of_width(width: int, n_layers: int, head_size: int | None = None, queries_a_kv_head: int = 1) -> Sizes:
    """The usual proportions at a width, which is rounded up to whole heads: SwiGLU of 8/3 of it (Shazeer 2020: as many
    parameters as an MLP of 4), rounded up to a multiple that hardware likes; a key and value head for each query head,
    or for each group of `queries_a_kv_head`. `head_size` is the width of a head; None: by the width.
    """
    if head_size is None:
        width = _up(width, _by_width(_HEAD_SIZES, width))
        head_size = _by_width(_HEAD_SIZES, width)
    n_heads = _up(math.ceil(width / head_size), queries_a_kv_head)
    width = n_heads * head_size
    feed_forward = _up(math.ceil(8 * width / 3), _by_width(_FEED_FORWARD_MULTIPLES, width))
    return Sizes(
        hidden_size=width,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_heads // queries_a_kv_head,
        intermediate_size=feed_forward,
    )


def sizes_of_depth(depth: int) -> Sizes:
    """The one dial: `depth` layers, 64 times as wide (nanochat's). Blocks have about 12 (64)^2 depth^3 parameters."""
    return sizes_of_width(WIDTH_A_LAYER * depth, depth)


def matmul_params(sizes: Sizes, vocab_size: int) -> int:
    """Parameters of the blocks' and the head's matrices: `ModelConfig.n_matmul_params`, before there is one."""
    width = sizes["hidden_size"]
    attention = 2 * width * width * (sizes["n_heads"] + sizes["n_kv_heads"]) // sizes["n_heads"]
    return sizes["n_layers"] * (attention + 3 * width * sizes["intermediate_size"]) + vocab_size * width


def shape_for_params(
    params: float,
    vocab_size: int,
    aspect: float = WIDTH_A_LAYER,
    sizes_of: Callable[[int, int], Sizes] = sizes_of_width,
) -> Sizes:
    """The shape whose `matmul_params` come near `params`; of those within a tenth, the one nearest to `aspect`.

    `aspect` is width over layers: 64 as the dial has it, less for deep and narrow networks, more for wide and shallow
    ones. Where no shape comes within a tenth, the nearest is taken: fits are to use the shape's own count. `sizes_of`
    has the other proportions, of a width, which it may round up, and a number of layers.

    Raises:
        ValueError: less than the smallest network, one layer of width 32 or the least above it, could have.
    """
    smallest = matmul_params(sizes_of(32, 1), vocab_size)
    if params < smallest * (1 - _NEAR_ENOUGH):
        raise ValueError(f"no network of {params:,.0f} parameters: at {vocab_size:,} tokens the least is {smallest:,}")
    best: tuple[tuple[bool, float, float], Sizes] | None = None
    width = 32
    while best is None or matmul_params(sizes_of(width, 1), vocab_size) <= params * (1 + _NEAR_ENOUGH):
        one, two = (matmul_params(sizes_of(width, n), vocab_size) for n in (1, 2))
        n_layers = max(1, round((params - (2 * one - two)) / (two - one)))
        sizes = sizes_of(width, n_layers)
        away = abs(math.log(matmul_params(sizes, vocab_size) / params))
        skewed = abs(math.log(sizes["hidden_size"] / n_layers / aspect))
        near = away <= math.log1p(_NEAR_ENOUGH)
        rank = (not near, skewed if near else away, away)
        if best is None or rank < best[0]:
            best = rank, sizes
        width = sizes["hidden_size"] + 1
    return best[1]


def lstm_for_params(params: float, vocab_size: int, n_layers: int = 2) -> tuple[int, int]:
    """(hidden_size, n_layers) of the LSTM whose matrices and head have `params`: 8 L H^2 + V H, H a multiple of 8.

    Raises:
        ValueError: H would be below 8.
    """
    a, b = 8 * n_layers, vocab_size
    exact = (math.sqrt(b * b + 4 * a * params) - b) / (2 * a)
    width = round(exact / 8) * 8
    if width < 8:
        raise ValueError(f"no LSTM of {params:,.0f} parameters with {vocab_size:,} tokens and {n_layers} layers")
    return width, n_layers


def _by_width(table: tuple[tuple[int, int], ...], width: int) -> int:
    return next(value for least, value in table if width >= least)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
