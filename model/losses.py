"""Losses on token predictions, computed without ever holding the logits of a whole batch.

At a vocabulary of V, logits of [B, T, V] in fp32 and their gradient are the peak of a small model's memory. Here the
output projection and the cross-entropy are one operation, done for a slice of tokens at a time (as in Liger Kernel,
Hsu et al. 2024, section 3.2), and positions without a label cost nothing.
"""

from typing import Any

import torch
from torch import Tensor

IGNORE_INDEX = -100  # Hugging Face's and torch's convention for a position without a label.

# Logits held at once. A CPU wants them in its cache (4 MB of fp32); an accelerator wants few, large products.
_CPU_SLICE = 1 << 20
_ACCELERATOR_SLICE = 1 << 27
_SMALLEST_SLICE_ROWS = 64  # Fewer rows make slow matrix products whatever the vocabulary.


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


def sequence_log_probs(nll: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(summed log-probability, number of labels), each [B], from nll [B, T] as `linear_nll` gives it."""
    return -nll.sum(dim=-1), (labels != IGNORE_INDEX).sum(dim=-1)


def _labelled(hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """(hidden [N, H], labels [N]) of the positions that have one, and their indices, None where that is all."""
    hidden, labels = hidden.flatten(0, -2), labels.flatten()
    where = (labels != IGNORE_INDEX).nonzero()[:, 0]
    if len(where) == len(labels):
        return hidden, labels, None
    return hidden[where], labels[where], where


def _slices(hidden: Tensor, weight: Tensor) -> list[slice]:
    size = _CPU_SLICE if hidden.device.type == "cpu" else _ACCELERATOR_SLICE
    rows = max(_SMALLEST_SLICE_ROWS, size // weight.shape[0])
    return [slice(start, start + rows) for start in range(0, hidden.shape[0], rows)]


def _compute_dtype(hidden: Tensor) -> torch.dtype:
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def _subtract_one_hot(probabilities: Tensor, labels: Tensor) -> Tensor:
    """In place: softmax(logits) - onehot(label), the gradient of the nll by the logits."""
    return probabilities.scatter_add_(1, labels[:, None], probabilities.new_full((len(labels), 1), -1.0))


class _SummedNLL(torch.autograd.Function):
    """Sum of nll and z-term; the gradients by hidden and weight are made on the way and scaled in backward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
        need_hidden, need_weight = ctx.needs_input_grad[:2]
        dtype = _compute_dtype(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            x, w = hidden.to(dtype), weight.to(dtype)
            grad_hidden = torch.empty_like(x) if need_hidden else None
            grad_weight = torch.zeros(w.shape, dtype=torch.float32, device=w.device) if need_weight else None
            total = torch.zeros((), dtype=torch.float32, device=x.device)
            z_term = torch.zeros_like(total)
            for part in _slices(x, w):
                logits = (x[part] @ w.T).float()
                picked = logits.gather(1, labels[part, None])
                # One exponential a logit, in place: log_softmax and its exp would take two.
                largest = logits.amax(dim=-1, keepdim=True)
                shares = logits.sub_(largest).exp_()
                sums = shares.sum(dim=-1, keepdim=True)
                nll = sums.log() - (picked - largest)
                total += nll.sum()
                log_z = nll + picked if z_loss else None
                if log_z is not None:
                    z_term += log_z.square().sum() * z_loss
                if not (need_hidden or need_weight):
                    continue
                scale = sums.reciprocal()
                if log_z is not None:  # d/d logits of z log(Z)^2 is 2 z log(Z) softmax
                    scale *= 1.0 + 2.0 * z_loss * log_z
                grad = _subtract_one_hot(shares.mul_(scale), labels[part]).to(dtype)
                if grad_hidden is not None:
                    torch.mm(grad, w, out=grad_hidden[part])
                if grad_weight is not None:
                    if dtype == torch.float32:
                        grad_weight.addmm_(grad.T, x[part])
                    else:
                        grad_weight += grad.T @ x[part]
        ctx.hidden_dtype, ctx.weight_dtype = hidden.dtype, weight.dtype
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.mark_non_differentiable(z_term)
        return total + z_term if z_loss else total, z_term

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        scale = grads[0]
        grad_hidden, grad_weight = ctx.saved_tensors
        return (
            None if grad_hidden is None else (grad_hidden * scale).to(ctx.hidden_dtype),
            None if grad_weight is None else (grad_weight * scale).to(ctx.weight_dtype),
            None,
            None,
        )


class _TokenNLL(torch.autograd.Function):
    """nll of each token; keeps the normaliser of each and computes the logits again in backward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        ctx.dtype = _compute_dtype(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            x, w = hidden.to(ctx.dtype), weight.to(ctx.dtype)
            nll = torch.empty(len(labels), dtype=torch.float32, device=x.device)
            normaliser = torch.empty_like(nll)
            for part in _slices(x, w):
                logits = (x[part] @ w.T).float()
                normaliser[part] = logits.logsumexp(dim=-1)
                nll[part] = normaliser[part] - logits.gather(1, labels[part, None])[:, 0]
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
            for part in _slices(x, w):
                probabilities = (x[part] @ w.T).float().sub_(normaliser[part, None]).exp_()
                grad = _subtract_one_hot(probabilities, labels[part]).mul_(scale[part, None]).to(ctx.dtype)
                if grad_hidden is not None:
                    torch.mm(grad, w, out=grad_hidden[part])
                if grad_weight is not None:
                    grad_weight += grad.T @ x[part]
        return (
            None if grad_hidden is None else grad_hidden.to(hidden.dtype),
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None,
        )
