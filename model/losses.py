"""Losses on token predictions, computed without ever holding the logits of a whole batch.

At a vocabulary of V, logits of [B, T, V] in fp32 and their gradient are the peak of memory of a small model. Here the
output projection and the cross-entropy are one operation, done for a slice of tokens at a time.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE_INDEX = -100  # Hugging Face's and torch's convention for a position without a label.


def linear_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Summed nll, in nats, of labels under softmax(hidden @ weight.T). hidden [..., H], weight [V, H], labels [...]."""
    return linear_nll(hidden, weight, labels).sum()


def linear_nll(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """nll [...] fp32 of each label, 0 where it is `IGNORE_INDEX`. hidden [..., H], weight [V, H], labels [...]."""
    logits = F.linear(hidden, weight).float()
    nll = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE_INDEX, reduction="none")
    return nll.view(labels.shape)


def next_token_labels(tokens: Tensor) -> Tensor:
    """labels[:, t] = tokens[:, t + 1], the last column `IGNORE_INDEX`. tokens [B, T] int64."""
    return torch.cat((tokens[:, 1:], torch.full_like(tokens[:, :1], IGNORE_INDEX)), dim=1)
