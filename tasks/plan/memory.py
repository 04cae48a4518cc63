"""Bytes a device needs, for training by ZeRO stage and for inference, and bytes of checkpoints.

Mixed precision with Adam: 2 bytes of bf16 weights, 2 of bf16 gradients, 12 of fp32 master weights and moments a
parameter; the stages divide optimizer state, then gradients, then weights among the devices (Rajbhandari et al. 2020,
arXiv:1910.02054, sections 3.1 and 5).
"""

from dataclasses import dataclass

WEIGHT_BYTES, GRADIENT_BYTES, OPTIMIZER_BYTES = 2, 2, 12
FP32_GRADIENT_BYTES = 4  # when gradients are accumulated in fp32
ZERO_STAGES = (0, 1, 2, 3)
# Activation bytes a token, layer and unit of width, in bf16, without the attention matrix, which flash attention does
# not store; only the input of a layer when activations are checkpointed (Korthikanti 2022, arXiv:2205.05198, eq. 2).
ACTIVATION_BYTES, CHECKPOINTED_BYTES = 34, 2
LOGIT_BYTES = 2 * 4  # a token and vocabulary entry: fp32 logits and their gradient
LOSS_SLICE_TOKENS = 1024  # tokens whose logits exist at once when the loss is computed in slices


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on one device."""

    stage: int
    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def training_memory(
    params: float,
    stage: int,
    devices: int,
    *,
    layers: int,
    hidden: int,
    vocab: int,
    seq_len: int,
    micro_batch: int,
    checkpointing: bool = False,
    sliced_loss: bool = True,
    fp32_gradients: bool = False,
) -> TrainingMemory:
    """What one of `devices` data-parallel devices holds.

    Args:
        stage: ZeRO stage, 0 to 3.
        micro_batch: sequences in one forward pass.
        checkpointing: keep only each layer's input for the backward pass.
        sliced_loss: logits exist for `LOSS_SLICE_TOKENS` tokens at once, not for the whole micro-batch.
    """
    gradient = FP32_GRADIENT_BYTES if fp32_gradients else GRADIENT_BYTES
    tokens = micro_batch * seq_len
    logit_tokens = min(tokens, LOSS_SLICE_TOKENS) if sliced_loss else tokens
    kept = tokens * hidden * layers * (CHECKPOINTED_BYTES if checkpointing else ACTIVATION_BYTES)
    working = tokens * hidden * ACTIVATION_BYTES if checkpointing else 0  # one layer is computed again at a time
    return TrainingMemory(
        stage=stage,
        weights=WEIGHT_BYTES * params / (devices if stage >= 3 else 1),
        gradients=gradient * params / (devices if stage >= 2 else 1),
        optimizer=OPTIMIZER_BYTES * params / (devices if stage >= 1 else 1),
        activations=float(kept + working),
        logits=float(LOGIT_BYTES * logit_tokens * vocab),
    )


def inference_bytes(
    params: float, *, layers: int, kv_width: int, seq_len: int, batch: int, bytes_per_weight: float = 2.0
) -> tuple[float, float]:
    """(weights, key-value cache) for generating `batch` sequences of `seq_len` tokens with a bf16 cache.

    Args:
        kv_width: key and value heads times head size: the width of one key (hidden size without grouped queries).
    """
    return bytes_per_weight * params, 2.0 * 2 * layers * kv_width * seq_len * batch


def checkpoint_bytes(params: float) -> float:
    """One resumable checkpoint: fp32 master weights and both moments, and the bf16 weights."""
    return (OPTIMIZER_BYTES + WEIGHT_BYTES) * params
