"""Bytes a device needs, for training by ZeRO stage and for inference, and bytes of checkpoints.

What a parameter costs depends on the recipe. `model/engine.py` keeps weights, gradients and both moments in fp32, and
autocast makes bf16 copies of the weights for the matrix products (`OURS`). Plans are usually drawn for mixed precision
as the ZeRO paper has it: bf16 weights and gradients, fp32 master weights and moments (`PUBLISHED`). The stages divide
optimizer state, then gradients, then weights among the devices (Rajbhandari et al. 2020, arXiv:1910.02054, sections
3.1 and 5).
"""

from dataclasses import dataclass
from typing import Literal

ZERO_STAGES = (0, 1, 2, 3)
# Activation bytes a token, layer and unit of width, in bf16, without the attention matrix, which flash attention does
# not store; only the input of a layer when activations are checkpointed (Korthikanti 2022, arXiv:2205.05198, eq. 2).
ACTIVATION_BYTES, CHECKPOINTED_BYTES = 34, 2
# A token and vocabulary entry: fp32 logits and their fp32 gradient; ours: fp32 logits that become their own gradient,
# the bf16 product that they were, and the gradient in bf16.
LOGIT_BYTES = 2 * 4
SLICE_LOGITS = 1 << 27  # logits that exist at once in model/losses.py on an accelerator …
SLICE_ROWS = 64  # … of at least so many tokens
BUCKET_ELEMENTS = 500_000_000  # gradients reduced at once: DeepSpeed's `reduce_bucket_size`, as model/engine.py sets it

Optimizer = Literal["adamw", "muon"]


@dataclass(frozen=True)
class Recipe:
    """Bytes a parameter, and what else is kept.

    Attributes:
        moments: of AdamW.
        master: fp32 weights beside `weights`, which the stages of `master_stages` keep.
        copies: of the weights, at most, for the time of one forward and backward pass.
        sliced_loss: logits are made a slice at a time and never kept.
        buckets: count the buffer that gradients are reduced in.
    """

    weights: int
    gradients: int
    moments: int
    master: int
    master_stages: tuple[int, ...]
    copies: int
    sliced_loss: bool
    buckets: bool

    def optimizer(self, stage: int, name: Optimizer = "adamw") -> int:
        """Bytes a parameter of master weights and moments. Muon has one moment, but at ZeRO 1 and 2 an empty second."""
        moments = self.moments // 2 if name == "muon" and stage == 0 else self.moments
        return moments + (self.master if stage in self.master_stages else 0)


# DeepSpeed's stages 1 and 2 update an own copy of their share of the weights, also where the weights are fp32 already
# (runtime/zero/stage_1_and_2.py: `single_partition_of_fp32_groups`); stages 0 and 3 update the weights themselves.
OURS = Recipe(4, 4, 8, master=4, master_stages=(1, 2), copies=2, sliced_loss=True, buckets=True)
PUBLISHED = Recipe(2, 2, 8, master=4, master_stages=ZERO_STAGES, copies=0, sliced_loss=False, buckets=False)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on one device. `buffers`: bf16 copies of the weights and the bucket of gradients."""

    stage: int
    weights: float
    gradients: float
    optimizer: float
    buffers: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.buffers + self.activations + self.logits


def training_memory(
    recipe: Recipe,
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
    optimizer: Optimizer = "adamw",
) -> TrainingMemory:
    """What one of `devices` data-parallel devices holds.

    Args:
        stage: ZeRO stage, 0 to 3.
        micro_batch: sequences in one forward pass.
        checkpointing: keep only each layer's input for the backward pass.
        optimizer: of the matrices, all parameters being taken for matrices.
    """
    tokens = micro_batch * seq_len
    kept = tokens * hidden * layers * (CHECKPOINTED_BYTES if checkpointing else ACTIVATION_BYTES)
    working = tokens * hidden * ACTIVATION_BYTES if checkpointing else 0  # one layer is computed again at a time
    bucket = recipe.gradients * min(params, BUCKET_ELEMENTS) if recipe.buckets and devices > 1 else 0
    logits = LOGIT_BYTES * tokens * vocab
    if recipe.sliced_loss:  # the gradient of the head is made in the forward pass, in fp32
        rows = min(tokens, max(SLICE_ROWS, SLICE_LOGITS // vocab))
        logits = LOGIT_BYTES * rows * vocab + 4 * vocab * hidden
    return TrainingMemory(
        stage=stage,
        weights=recipe.weights * params / (devices if stage >= 3 else 1),
        gradients=recipe.gradients * params / (devices if stage >= 2 else 1),
        optimizer=recipe.optimizer(stage, optimizer) * params / (devices if stage >= 1 else 1),
        buffers=recipe.copies * params + bucket,
        activations=float(kept + working),
        logits=float(logits),
    )


def inference_bytes(
    params: float, *, layers: int, kv_width: int, seq_len: int, batch: int, bytes_per_weight: float = 2.0
) -> tuple[float, float]:
    """(weights, key-value cache) for generating `batch` sequences of `seq_len` tokens with a bf16 cache.

    Args:
        kv_width: key and value heads times head size: the width of one key (hidden size without grouped queries).
    """
    return bytes_per_weight * params, 2.0 * 2 * layers * kv_width * seq_len * batch


def checkpoint_bytes(recipe: Recipe, params: float, devices: int, optimizer: Optimizer = "adamw") -> float:
    """One resumable checkpoint of a run at the stage that nobody chose (0 on one device, else 1): weights, moments and
    the master weights that the stage keeps."""
    return (recipe.weights + recipe.optimizer(0 if devices == 1 else 1, optimizer)) * params
