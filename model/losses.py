"""Losses on token predictions, computed without ever holding the logits of a whole batch.

At a vocabulary of V, logits of [B, T, V] in fp32 and their gradient are the peak of a small model's memory. Here the
output projection and the cross-entropy are one operation, done for a slice of tokens at a time (as in Liger Kernel,
Hsu et al. 2024, section 3.2), and positions without a label cost nothing.
"""

from typing import Any

import torch
from torch import Tensor

from model.precision import compute_dtype

IGNORE_INDEX = -100  # Hugging Face's and torch's convention for a position without a label.

# Logits held at once: many, so that products are large and the weight gradient, [V, H] in fp32, is added to seldom.
_CPU_SLICE = 1 << 24
_ACCELERATOR_SLICE = 1 << 27
_SMALLEST_SLICE_ROWS = 64  # Fewer rows make slow matrix products whatever the vocabulary.
_CPU_CACHED = 1 << 18  # fp32 logits a core's cache holds (1 MB): as many are worked on at once, operation by operation


def linear_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor, z_loss: float = 0.0) -> tuple[Tensor, Tensor]:
    """Summed nll of labels under softmax(hidden @ weight.T) in nats, plus z_loss * log(Z)^2 of each; two fp32 scalars.

    hidden [..., H], weight [V, H], labels [...] int64, `IGNORE_INDEX` where there is none; Z is the softmax's
    normaliser (Chowdhery et al. 2022, section 5). Returns (both terms, the z-term alone without gradient). Gradients
    are found in the forward pass, so that logits are computed once; use `linear_nll` where tokens are weighted.
    """
    hidden, labels, _ = _labelled(hidden, labels)
    total, z_term = _SummedNLL.apply(hidden, weight, labels, z_loss)
    return total, z_term


def linear_nll(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """nll [...] fp32 of each label, in nats, 0 where it is `IGNORE_INDEX`. hidden [..., H], weight [V, H].

    The backward pass computes the logits again.
    """
    rows, targets, where = _labelled(hidden, labels)
    nll: Tensor = _TokenNLL.apply(rows, weight, targets)
    if where is None:
        return nll.view(labels.shape)
    return nll.new_zeros(labels.numel()).index_put((where,), nll).view(labels.shape)


def next_token_labels(tokens: Tensor) -> Tensor:
    """labels[:, t] = tokens[:, t + 1], the last column `IGNORE_INDEX`. tokens [B, T] int64."""
    return torch.cat((tokens[:, 1:], torch.full_like(tokens[:, :1], IGNORE_INDEX)), dim=1)


def _labelled(hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """(hidden [N, H], labels [N]) of the positions that have one, and their indices, None where that is all."""
    hidden, labels = hidden.flatten(0, -2), labels.flatten()
    where = (labels != IGNORE_INDEX).nonzero()[:, 0]
    if len(where) == len(labels):
        return hidden, labels, None
    return hidden[where], labels[where], where


def _slices(hidden: Tensor, weight: Tensor) -> list[slice]:
    """Rows of hidden [N, H] whose logits are held at once."""
    limit = _CPU_SLICE if hidden.device.type == "cpu" else _ACCELERATOR_SLICE
    return _cuts(len(hidden), max(_SMALLEST_SLICE_ROWS, limit // len(weight)))


def _cached(logits: Tensor) -> list[slice]:
    """Rows of logits [N, V] that are worked on at once: all on an accelerator."""
    size = max(1, _CPU_CACHED // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    return _cuts(len(logits), size)


def _cuts(length: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, length, size)]


def _subtract_one_hot(probabilities: Tensor, labels: Tensor) -> Tensor:
    """In place: softmax(logits) - onehot(label), the gradient of the nll by the logits."""
    return probabilities.scatter_add_(1, labels[:, None], probabilities.new_full((len(labels), 1), -1.0))


def _add_weight_gradient(total: Tensor, grad_logits: Tensor, hidden: Tensor) -> None:
    """total [V, H] fp32 += grad_logits.T @ hidden; grad_logits [N, V], hidden [N, H]."""
    if grad_logits.dtype == total.dtype:
        total.addmm_(grad_logits.T, hidden)
    else:
        total += grad_logits.T @ hidden


class _SummedNLL(torch.autograd.Function):
    """Sum of nll and z-term; the gradients by hidden and weight are made on the way and scaled in backward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
        need_hidden, need_weight = ctx.needs_input_grad[:2]
        dtype = compute_dtype(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            x, w = hidden.to(dtype), weight.to(dtype)
            grad_hidden = torch.empty_like(x) if need_hidden else None
            grad_weight = torch.zeros(w.shape, dtype=torch.float32, device=w.device) if need_weight else None
            sums = torch.zeros(2, dtype=torch.float32, device=x.device)  # nll, z-term
            for rows in _slices(x, w):
                logits = x[rows] @ w.T
                for part in _cached(logits):
                    sums += _to_gradient(logits[part], labels[rows][part], z_loss, need_hidden or need_weight)
                if grad_hidden is not None:
                    torch.mm(logits, w, out=grad_hidden[rows])
                if grad_weight is not None:
                    _add_weight_gradient(grad_weight, logits, x[rows])
        ctx.hidden_dtype, ctx.weight_dtype = hidden.dtype, weight.dtype
        ctx.save_for_backward(grad_hidden, grad_weight)
        total, z_term = sums.unbind()
        ctx.mark_non_differentiable(z_term)
        return total + z_term, z_term

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Scales in place, so a second backward pass is torch's error of a tensor that has changed."""
        scale = grads[0]
        grad_hidden, grad_weight = ctx.saved_tensors
        return (
            None if grad_hidden is None else _scale(grad_hidden, scale).to(ctx.hidden_dtype),
            None if grad_weight is None else _scale(grad_weight, scale).to(ctx.weight_dtype),
            None,
            None,
        )


def _scale(gradient: Tensor, scale: Tensor) -> Tensor:
    """gradient [N, M] *= scale, in place; the scale, an fp32 scalar, is not rounded to the gradient's type.

    CUDA does that to tensors without dimensions, so that all of a bf16 gradient would be off by one factor.
    """
    if gradient.dtype == scale.dtype or gradient.device.type == "cpu":
        return gradient.mul_(scale)
    return gradient.copy_(gradient * scale[None])


def _to_gradient(logits: Tensor, labels: Tensor, z_loss: float, need_gradient: bool) -> Tensor:
    """Sums of nll and z-term [2] of logits [N, V], which become the gradient by themselves, in their own type."""
    wide = logits.float()  # the logits themselves in fp32
    picked = wide.gather(1, labels[:, None])
    # One exponential a logit, in place: log_softmax and its exp would take two.
    largest = wide.amax(dim=-1, keepdim=True)
    shares = wide.sub_(largest).exp_()
    sums = shares.sum(dim=-1, keepdim=True)
    nll = sums.log() - (picked - largest)
    log_z = nll + picked
    if need_gradient:
        scale = sums.reciprocal()
        if z_loss:  # d/d logits of z log(Z)^2 is 2 z log(Z) softmax
            scale *= 1.0 + 2.0 * z_loss * log_z
        logits.copy_(_subtract_one_hot(shares.mul_(scale), labels))
    return torch.stack((nll.sum(), log_z.square().sum() * z_loss))


class _TokenNLL(torch.autograd.Function):
    """nll of each token; keeps the normaliser of each and computes the logits again in backward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        ctx.dtype = compute_dtype(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            x, w = hidden.to(ctx.dtype), weight.to(ctx.dtype)
            nll = torch.empty(len(labels), dtype=torch.float32, device=x.device)
            normaliser = torch.empty_like(nll)
            for rows in _slices(x, w):
                logits = x[rows] @ w.T
                for part in _cached(logits):
                    wide = logits[part].float()
                    normaliser[rows][part] = wide.logsumexp(dim=-1)
                    nll[rows][part] = normaliser[rows][part] - wide.gather(1, labels[rows][part, None])[:, 0]
        ctx.save_for_backward(hidden, weight, labels, normaliser)
        return nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (scale,) = grads
        hidden, weight, labels, normaliser = ctx.saved_tensors
        need_hidden, need_weight = ctx.needs_input_grad[:2]
        with torch.autocast(hidden.device.type, enabled=False):
            x, w = hidden.to(ctx.dtype), weight.to(ctx.dtype)
            grad_hidden = torch.empty_like(x) if need_hidden else None
            grad_weight = torch.zeros(w.shape, dtype=torch.float32, device=w.device) if need_weight else None
            for rows in _slices(x, w):
                logits = x[rows] @ w.T
                for part in _cached(logits):
                    shares = logits[part].float().sub_(normaliser[rows][part, None]).exp_()
                    grad = _subtract_one_hot(shares, labels[rows][part]).mul_(scale[rows][part, None])
                    logits[part] = grad
                if grad_hidden is not None:
                    torch.mm(logits, w, out=grad_hidden[rows])
                if grad_weight is not None:
                    _add_weight_gradient(grad_weight, logits, x[rows])
        return (
            None if grad_hidden is None else grad_hidden.to(hidden.dtype),
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None,
        )
