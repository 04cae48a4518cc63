"""Rotary position embeddings: the frequencies, stretched or not, and the rotation of queries and keys."""

import math
from typing import Any

import torch
from torch import Tensor

from model.rope_scaling import Llama3Scaling, YarnScaling


def inverse_frequencies(
    head_size: int, theta: float, scaling: YarnScaling | Llama3Scaling | None = None
) -> tuple[Tensor, float]:
    """(radians a position of each pair, [head_size / 2] fp32; what cos and sin are multiplied by).

    theta^(-2i / D) (RoFormer, equation 15), stretched as `scaling` says. In fp32 and in transformers' order of
    operations: at position 100,000 a rounding error of one part in 10^7 is already a hundredth of a radian.
    """
    wavelengths = theta ** (torch.arange(0, head_size, 2, dtype=torch.float) / head_size)  # / 2 pi, in positions
    frequencies = 1.0 / wavelengths
    if scaling is None:
        return frequencies, 1.0
    if scaling.type == "llama3":
        return _llama3(frequencies, scaling), 1.0
    keep = _yarn_keep(head_size, theta, scaling)
    return 1.0 / (scaling.factor * wavelengths) * (1 - keep) + frequencies * keep, scaling.attention_scale


def rope_table(
    head_size: int, max_seq_len: int, theta: float, scaling: YarnScaling | Llama3Scaling | None = None
) -> tuple[Tensor, Tensor]:
    """cos and sin of position * frequency, each [max_seq_len, D] fp32.

    The D / 2 angles stand twice; the first half of sin is negative, as `rotate` wants it. YaRN's attention temperature
    is in both: scores then have its square.
    """
    frequencies, scale = inverse_frequencies(head_size, theta, scaling)
    angles = torch.arange(max_seq_len, dtype=torch.float)[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    if scale != 1.0:
        cos, sin = cos * scale, sin * scale
    return torch.cat((cos, cos), dim=1), torch.cat((-sin, sin), dim=1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + D/2) of x [B, T, heads, D] (Hugging Face's half-split convention).

    cos and sin: rows of `rope_table`, [1 or B, T, at least heads * D], repeated for each head: rows that long run at
    the speed of memory, where a broadcast over heads does not.
    """
    if torch.compiler.is_compiling():  # the compiler fuses the plain formula itself
        width = x.shape[2] * x.shape[3]
        turned = x.flatten(2) * cos[..., :width] + _swap_halves(x).flatten(2) * sin[..., :width]
        return turned.to(x.dtype).view(x.shape)
    result: Tensor = _Rotate.apply(x, cos, sin)
    return result


def _yarn_keep(head_size: int, theta: float, scaling: YarnScaling) -> Tensor:
    """How much of each frequency stays, [D / 2] from 1 (fast) to 0 (slow): gamma of YaRN's section 3.2."""

    def index_of(rotations: float) -> float:
        """Where the frequency lies that turns so often within the original context (i of theta^(-i / D), real)."""
        turns = scaling.original_max_seq_len / (rotations * 2 * math.pi)
        return head_size * math.log(turns) / (2 * math.log(theta))

    first, last = index_of(scaling.beta_fast), index_of(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, head_size - 1)
    if first == last:
        last += 0.001  # as released: a step where there is no ramp
    ramp = (torch.arange(head_size // 2, dtype=torch.float) - first) / (last - first)
    return 1 - ramp.clamp(0, 1)


def _llama3(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Llama 3.1's blend, [D / 2]."""
    turns = scaling.original_max_seq_len / (2 * math.pi / frequencies)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    blended = (1 - keep) * frequencies / scaling.factor + keep * frequencies
    return torch.where(keep == 1, frequencies, torch.where(keep == 0, frequencies / scaling.factor, blended))


class _Rotate(torch.autograd.Function):
    """x cos + swap(x) sin in the tables' fp32, whose gradient is the rotation backwards: by the negative angle.

    Types are changed apart, since products across them are slow.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        width = x.shape[2] * x.shape[3]
        cos, sin = cos[..., :width], sin[..., :width]
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(grads[0], cos, sin, -1), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    wide = torch.promote_types(x.dtype, cos.dtype)
    swapped = _swap_halves(x).flatten(2).to(wide)
    turned = torch.addcmul(x.flatten(2).to(wide) * cos, swapped, sin, value=sign)
    return turned.to(x.dtype).view(x.shape)


def _swap_halves(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat((x[..., half:], x[..., :half]), dim=-1)
