"""Attention within documents: causal, or both ways for models of masked tokens.

Three kernels do the work, and `Visible` holds what each of them wants to know of the documents in a row:

- CUDA in bf16: torch's varlen attention, which is told where documents begin and holds no square of positions at all
  (where it takes the shape: `takes_offsets`).
- A CPU in training: the pass backward is ours, blocked so that what the causal mask hides is skipped; torch's computes
  the whole square. In fp32 the pass forward is blocked as well (docs/log.md has the times).
- Everything else: torch's scaled_dot_product_attention with a mask.
"""

from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

BLOCK = 64
"""Queries a block: 32 to 256 were tried at 128 to 512 positions; 64 is the fastest that is never far behind. In bf16,
whose products are fast and whose copies between them are not, twice as many (docs/log.md)."""
_KEPT_BYTES = 1 << 27
"""Probabilities that one layer may keep for its backward pass; above it they are computed again."""
_BLOCKED_DTYPES = (torch.float32, torch.bfloat16)
_VARLEN_DTYPES = (torch.bfloat16, torch.float16)
_FLASH_WIDEST = 256


class Visible:
    """Which keys each query may see, made once for all layers.

    mask: bool [B, 1, T, S], True where a query sees a key; offsets: int32 [documents + 1], where the documents of
    B rows laid end to end begin, and the end of the last. One of the two.
    """

    def __init__(self, mask: Tensor | None = None, offsets: Tensor | None = None) -> None:
        assert (mask is None) != (offsets is None)
        self.mask, self.offsets = mask, offsets

    @cached_property
    def added(self) -> Tensor:
        """The mask as what is added to scores, fp32: 0 where a query sees a key, else -inf.

        Adding runs at the speed of memory, where filling by a mask of another shape takes three times as long.
        """
        assert self.mask is not None
        return torch.where(self.mask, 0.0, -torch.inf)

    @classmethod
    def documents(cls, document_ids: Tensor, causal: bool, dtype: torch.dtype, head_size: int) -> "Visible":
        """Attention within runs of equal `document_ids` [B, T], in the form that suits their device, type and heads."""
        if takes_offsets(document_ids.device, dtype, head_size):
            return cls(offsets=document_offsets(document_ids))
        return cls(mask=document_mask(document_ids, causal))


def takes_offsets(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Whether torch's varlen attention runs: it is FlashAttention's own kernel and, unlike the others, pads nothing."""
    if device.type != "cuda" or dtype not in _VARLEN_DTYPES or head_size % 8 or head_size > _FLASH_WIDEST:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def document_mask(document_ids: Tensor, causal: bool = True) -> Tensor:
    """Bool [B, 1, T, T]: query t sees key s when both are of one document and, if `causal`, s <= t.

    document_ids [B, T].
    """
    length = document_ids.shape[1]
    same = document_ids[:, :, None] == document_ids[:, None, :]
    if causal:
        same = same & same.new_ones(length, length).tril()
    return same.unsqueeze(1)


def document_offsets(document_ids: Tensor) -> Tensor:
    """int32 [documents + 1]: where runs of equal ids begin in the rows of document_ids [B, T] laid end to end.

    A row ends the document it is in. The last entry is B * T.
    """
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return F.pad(begins.flatten().nonzero()[:, 0], (0, 1), value=document_ids.numel()).to(torch.int32)


def attention(q: Tensor, k: Tensor, v: Tensor, visible: Visible | None, causal: bool = True) -> Tensor:
    """softmax(q k^T / sqrt(D)) v of grouped queries (Ainslie et al. 2023).

    q [B, T, n_heads, D]; k and v [B, S, n_kv_heads, D]. visible: None is S = T and, when `causal`, everything up to
    the query, else everything. With `causal` a mask with S = T must hide all that is later. Returns
    [B, T, n_heads, D].
    """
    if visible is not None and visible.offsets is not None:
        return _within_offsets(q, k, v, visible.offsets, causal)
    mask = None if visible is None else visible.mask
    trains = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    blocked = causal and q.device.type == "cpu" and q.dtype in _BLOCKED_DTYPES and q.shape[1] == k.shape[1]
    if trains and blocked and not torch.compiler.is_compiling():
        result: Tensor = _BlockedAttention.apply(q, k, v, None if visible is None else visible.added)
        return result
    flash = mask is None and q.dtype in _VARLEN_DTYPES and q.shape[3] <= _FLASH_WIDEST
    if q.device.type == "cuda" and q.shape[2] != k.shape[2] and not flash:
        # CUDA's other kernel that holds no scores, the one for masks and fp32, knows no groups (torch 2.13).
        k, v = (x.repeat_interleave(q.shape[2] // k.shape[2], dim=2) for x in (k, v))
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=causal and mask is None,
        enable_gqa=q.shape[2] != k.shape[2],
    )
    return y.transpose(1, 2)


def _within_offsets(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, causal: bool) -> Tensor:
    """Attention of rows laid end to end, [B, T, heads, D] each, within what `offsets` bound."""
    longest = q.shape[1]  # no document is longer than its row; the exact maximum would have to be waited for
    out = varlen_attn(
        q.flatten(0, 1),
        k.flatten(0, 1),
        v.flatten(0, 1),
        offsets,
        offsets,
        longest,
        longest,
        window_size=(-1, 0) if causal else (-1, -1),
        enable_gqa=q.shape[2] != k.shape[2],
    )
    assert isinstance(out, Tensor)  # and no statistics beside it, which were not asked for
    return out.view(q.shape)


class _BlockedAttention(torch.autograd.Function):
    """Attention of `BLOCK` queries at a time over the keys up to the last of them, in plain matrix products.

    The queries of a group stand as rows (position, head) beside each other, so that they share one product. In bf16
    scores are fp32 all the same, as in torch's kernel, which does the pass forward there: rounded to bf16, scores of
    10 would be .03 off.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, added: Tensor | None) -> Tensor:
        batch, length, n_heads, size = q.shape
        n_kv_heads = k.shape[2]
        group = n_heads // n_kv_heads
        ctx.sizes = (batch, length, n_kv_heads, group, size)
        rows = _to_rows(q, ctx.sizes)
        keys, values = (_heads_first(x) for x in (k, v))
        if q.dtype != torch.float32:
            ctx.save_for_backward(rows, keys, values, added)
            out, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=added is None, attn_mask=added
            )
            return out.transpose(1, 2)
        out = torch.empty_like(rows)
        kept: list[Tensor] = []
        keep = batch * n_heads * length * (length + BLOCK) * 2 <= _KEPT_BYTES
        hidden = _hidden(added, length, BLOCK)
        for start, end in _blocks(length, BLOCK):
            probabilities = _probabilities(rows, keys, hidden, start, end, ctx.sizes)
            torch.bmm(probabilities, values[:, :end], out=out[:, start * group : end * group])
            if keep:
                kept.append(probabilities)
        ctx.save_for_backward(rows, keys, values, added, *kept)
        return _from_rows(out, ctx.sizes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        rows, keys, values, added, *kept = ctx.saved_tensors
        batch, length, n_kv_heads, group, size = ctx.sizes
        scale = size**-0.5
        grad_out = _to_rows(grads[0], ctx.sizes)
        wide_rows, wide_keys = rows.float(), keys.float()  # themselves where they are fp32 already
        grad_rows = torch.empty_like(rows)
        grad_keys, grad_values = torch.zeros_like(wide_keys), torch.zeros_like(wide_keys)
        block = BLOCK if rows.dtype == torch.float32 else 2 * BLOCK
        hidden = None if kept else _hidden(added, length, block)
        for index, (start, end) in enumerate(_blocks(length, block)):
            part = slice(start * group, end * group)
            if hidden is None:
                probabilities = kept[index]
            else:
                probabilities = _probabilities(wide_rows, wide_keys, hidden, start, end, ctx.sizes).to(rows.dtype)
            _add_product(grad_values[:, :end], probabilities.mT, grad_out[:, part])
            grad_scores = torch.bmm(grad_out[:, part], values[:, :end].mT)
            grad_scores = torch._softmax_backward_data(grad_scores, probabilities, -1, probabilities.dtype)
            torch.bmm(grad_scores, keys[:, :end], out=grad_rows[:, part])
            _add_product(grad_keys[:, :end], grad_scores.mT, rows[:, part], scale)
        shape = (batch, n_kv_heads, length, size)
        return (
            _from_rows(grad_rows.mul_(scale), ctx.sizes),
            grad_keys.to(keys.dtype).view(shape).transpose(1, 2),
            grad_values.to(values.dtype).view(shape).transpose(1, 2),
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


def _heads_first(x: Tensor) -> Tensor:
    """[B, T, n_kv_heads, D] -> [B * n_kv_heads, T, D]."""
    return x.transpose(1, 2).reshape(-1, x.shape[1], x.shape[3])


def _blocks(length: int, block: int) -> list[tuple[int, int]]:
    """(first query, end) of each block."""
    return [(start, min(start + block, length)) for start in range(0, length, block)]


def _hidden(added: Tensor | None, length: int, block: int) -> Tensor:
    """What is added to scores: [B, 1, T, T], or, without documents, one block's [n, n]."""
    if added is not None:
        return added
    n = min(block, length)
    return torch.full((n, n), -torch.inf).triu_(1)


def _probabilities(rows: Tensor, keys: Tensor, hidden: Tensor, start: int, end: int, sizes: _Sizes) -> Tensor:
    """softmax of one block's scores: [B * n_kv_heads, queries * group, keys up to the block's last query]."""
    batch, _, n_kv_heads, group, size = sizes
    n = end - start
    scores = torch.baddbmm(
        rows.new_empty(()), rows[:, start * group : end * group], keys[:, :end].mT, beta=0, alpha=size**-0.5
    )
    if hidden.ndim == 2:  # all that comes before the block is seen
        scores.view(-1, n, group, end)[..., start:].add_(hidden[:n, None, :n])
    else:
        scores.view(batch, n_kv_heads, n, group, end).add_(hidden[:, :, start:end, None, :end])
    return scores.softmax(dim=-1)


def _add_product(sums: Tensor, left: Tensor, right: Tensor, alpha: float = 1.0) -> None:
    """sums += alpha * left @ right, batched, sums fp32. Types are changed apart: adding across them is slow."""
    if left.dtype == sums.dtype:
        sums.baddbmm_(left, right, alpha=alpha)
    else:
        sums.add_(torch.bmm(left, right).float(), alpha=alpha)
