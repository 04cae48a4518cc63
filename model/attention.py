"""Attention within documents: causal, or both ways for models of masked tokens.

torch's fused attention does the work, but for training in fp32 on a CPU, where its backward pass computes the whole
square and its matrix products are slow. There a blocked version is used that skips what the causal mask hides: 1.7
times as fast at 512 positions (docs/log.md).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 64
"""Queries a block: 32 to 256 were tried at 128 to 512 positions; 64 is the fastest that is never far behind."""
_KEPT_BYTES = 1 << 27
"""Probabilities that one layer may keep for its backward pass; above it they are computed again."""


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = True) -> Tensor:
    """softmax(q k^T / sqrt(D)) v of grouped queries (Ainslie et al. 2023).

    q [B, T, n_heads, D]; k and v [B, S, n_kv_heads, D]. mask: bool [B, 1, T, S], True where a query sees a key; None
    is S = T and, when `causal`, everything up to the query, else everything. With `causal` a mask with S = T must hide
    all that is later. Returns [B, T, n_heads, D].
    """
    trains = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    blocked = causal and q.device.type == "cpu" and q.dtype == torch.float32 and q.shape[1] == k.shape[1]
    if trains and blocked and not torch.compiler.is_compiling():
        result: Tensor = _BlockedAttention.apply(q, k, v, mask)
        return result
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=causal and mask is None,
        enable_gqa=q.shape[2] != k.shape[2],
    )
    return y.transpose(1, 2)


def document_mask(document_ids: Tensor, causal: bool = True) -> Tensor:
    """Bool [B, 1, T, T]: query t sees key s when both are of one document and, if `causal`, s <= t.

    document_ids [B, T].
    """
    length = document_ids.shape[1]
    same = document_ids[:, :, None] == document_ids[:, None, :]
    if causal:
        same = same & same.new_ones(length, length).tril()
    return same.unsqueeze(1)


class _BlockedAttention(torch.autograd.Function):
    """Attention of `BLOCK` queries at a time over the keys up to the last of them, in plain matrix products.

    The queries of a group stand as rows (position, head) beside each other, so that they share one product.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, n_heads, size = q.shape
        n_kv_heads = k.shape[2]
        group = n_heads // n_kv_heads
        ctx.sizes = (batch, length, n_kv_heads, group, size)
        rows = _to_rows(q, ctx.sizes)
        keys, values = (x.transpose(1, 2).reshape(batch * n_kv_heads, length, size) for x in (k, v))
        out = torch.empty_like(rows)
        kept: list[Tensor] = []
        keep = batch * n_heads * length * (length + BLOCK) * 2 <= _KEPT_BYTES
        hidden = _hidden(mask, length)
        for start in range(0, length, BLOCK):
            probabilities = _probabilities(rows, keys, hidden, start, ctx.sizes)
            end = min(start + BLOCK, length)
            torch.bmm(probabilities, values[:, :end], out=out[:, start * group : end * group])
            if keep:
                kept.append(probabilities)
        ctx.save_for_backward(rows, keys, values, mask, *kept)
        return _from_rows(out, ctx.sizes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        rows, keys, values, mask, *kept = ctx.saved_tensors
        batch, length, n_kv_heads, group, size = ctx.sizes
        scale = size**-0.5
        grad_out = _to_rows(grads[0], ctx.sizes)
        grad_rows = torch.empty_like(rows)
        grad_keys, grad_values = torch.zeros_like(keys), torch.zeros_like(values)
        hidden = None if kept else _hidden(mask, length)
        for index, start in enumerate(range(0, length, BLOCK)):
            end = min(start + BLOCK, length)
            part = slice(start * group, end * group)
            probabilities = kept[index] if hidden is None else _probabilities(rows, keys, hidden, start, ctx.sizes)
            grad_values[:, :end].baddbmm_(probabilities.mT, grad_out[:, part])
            grad_scores = torch.bmm(grad_out[:, part], values[:, :end].mT)
            grad_scores = torch._softmax_backward_data(grad_scores, probabilities, -1, probabilities.dtype)
            torch.bmm(grad_scores, keys[:, :end], out=grad_rows[:, part])
            grad_keys[:, :end].baddbmm_(grad_scores.mT, rows[:, part], alpha=scale)
        shape = (batch, n_kv_heads, length, size)
        return (
            _from_rows(grad_rows.mul_(scale), ctx.sizes),
            grad_keys.view(shape).transpose(1, 2),
            grad_values.view(shape).transpose(1, 2),
            None,
        )


_Sizes = tuple[int, int, int, int, int]  # batch, length, n_kv_heads, group, head size


def _to_rows(x: Tensor, sizes: _Sizes) -> Tensor:
    """[B, T, n_heads, D] -> [B * n_kv_heads, T * group, D]."""
    batch, length, n_kv_heads, group, size = sizes
    return x.reshape(sizes).transpose(1, 2).reshape(batch * n_kv_heads, length * group, size)


def _from_rows(x: Tensor, sizes: _Sizes) -> Tensor:
    """The inverse of `_to_rows`."""
    batch, length, n_kv_heads, group, size = sizes
    return x.view(batch, n_kv_heads, length, group, size).transpose(1, 2).reshape(batch, length, -1, size)


def _hidden(mask: Tensor | None, length: int) -> Tensor:
    """What is added to scores: 0 where a query sees a key, else -inf. [B, 1, T, T], without a mask one block's [n, n].

    Adding runs at the speed of memory, where filling by a mask of another shape takes three times as long.
    """
    if mask is not None:
        return torch.where(mask, 0.0, -torch.inf)
    n = min(BLOCK, length)
    return torch.full((n, n), -torch.inf).triu_(1)


def _probabilities(rows: Tensor, keys: Tensor, hidden: Tensor, start: int, sizes: _Sizes) -> Tensor:
    """softmax of one block's scores: [B * n_kv_heads, queries * group, keys up to the block's last query]."""
    batch, length, n_kv_heads, group, size = sizes
    end = min(start + BLOCK, length)
    n = end - start
    scores = torch.baddbmm(
        rows.new_empty(()), rows[:, start * group : end * group], keys[:, :end].mT, beta=0, alpha=size**-0.5
    )
    if hidden.ndim == 2:  # all that comes before the block is seen
        scores.view(-1, n, group, end)[..., start:].add_(hidden[:n, None, :n])
    else:
        scores.view(batch, n_kv_heads, n, group, end).add_(hidden[:, :, start:end, None, :end])
    return scores.softmax(dim=-1)
