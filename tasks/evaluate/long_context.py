"""What a model makes of a long context: the loss of tokens by how much stands before them.

A model that uses its context predicts a token the better the more text precedes it, so the curve of loss by position
falls. Beyond the context that a model was trained at it rises, unless the model was extended. Two models are compared
document by document on the same tokens: what makes a document hard cancels.

Windows begin at a document's beginning and never leave it, so at position t of the first window a token has all of its
document before it. What a model of a shorter context can do with a long document is to slide (`window_nll` with
`context`): then each token has between half and the whole of that context before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tasks.evaluate.prediction import LOGITS_AT_ONCE, HeldOut
from tasks.evaluate.statistics import Mean, mean

if TYPE_CHECKING:
    from model.transformer import Transformer

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """Stretches of single documents.

    Attributes:
        inputs: int64[W, T], what a model sees.
        labels: int64[W, T], the token that follows each.
        documents: int64[W], number of the document that each window is of, ascending.
    """

    inputs: Ids
    labels: Ids
    documents: Ids

    @property
    def length(self) -> int:
        """Tokens in a window, T."""
        return self.labels.shape[1]

    @property
    def n_documents(self) -> int:
        """Documents that have a window."""
        return len(np.unique(self.documents))


def take_windows(heldout: HeldOut, length: int, start_token: int, most: int | None = None) -> Windows:
    """The windows of `length` tokens that fit into the held-out documents, one after the other, their rest left out.

    Args:
        start_token: what stands before a document, the end token of documents.
        most: windows of one document; None: all.
    """
    inputs, labels, documents = [], [], []
    lengths = np.bincount(heldout.documents, minlength=len(heldout.n_bytes))
    ends = np.cumsum(lengths)
    for number, (start, end) in enumerate(zip((ends - lengths).tolist(), ends.tolist(), strict=True)):
        text = heldout.tokens[start:end]
        n = len(text) // length
        n = n if most is None else min(n, most)
        before = np.concatenate([np.array([start_token], np.int64), text])[: n * length]
        inputs.append(before.reshape(n, length))
        labels.append(text[: n * length].reshape(n, length))
        documents.append(np.full(n, number, np.int64))
    nothing = np.zeros((0, length), np.int64)
    return Windows(
        np.concatenate([nothing, *inputs]),
        np.concatenate([nothing, *labels]),
        np.concatenate([np.zeros(0, np.int64), *documents]),
    )


def window_nll(model: "Transformer", windows: Windows, context: int | None = None) -> Floats:
    """Negative log-likelihood of each token in nats, float64[W, T].

    Args:
        model: must take rows of T tokens, or of `context`.
        context: let the model see that many tokens at most; it slides by half of them. None: all of the window.

    Raises:
        ValueError: `context` is odd, or the window is no multiple of its half.
    """
    length = windows.length
    context = min(context or length, length)
    if context == length:
        return _row_nll(model, windows.inputs, windows.labels)
    step = context // 2
    if 2 * step != context or length % step:
        raise ValueError(f"a context of {context} tokens cannot slide by its half over windows of {length}")
    starts = range(0, length - context + 1, step)
    found = np.empty(windows.labels.shape)
    inputs = np.concatenate([windows.inputs[:, start : start + context] for start in starts])
    labels = np.concatenate([windows.labels[:, start : start + context] for start in starts])
    for start, nll in zip(starts, np.split(_row_nll(model, inputs, labels), len(starts)), strict=True):
        new = 0 if start == 0 else context - step  # what the row before has not predicted yet
        found[:, start + new : start + context] = nll[:, new:]
    return found


def document_means(nll: Floats, windows: Windows, start: int = 0, stop: int | None = None) -> Floats:
    """Mean loss of each document's tokens at positions [start, stop) of its windows, float64[documents with one]."""
    _, number = np.unique(windows.documents, return_inverse=True)
    by_window = nll[:, start:stop].mean(axis=1)
    return np.bincount(number, weights=by_window) / np.bincount(number)


def by_position(nll: Floats, windows: Windows, edges: Sequence[int]) -> list[Mean]:
    """Mean over documents of the loss at positions [edges[k], edges[k + 1]), with its standard error."""
    return [mean(document_means(nll, windows, start, stop).tolist()) for start, stop in pairwise(edges)]


def _row_nll(model: "Transformer", inputs: Ids, labels: Ids) -> Floats:
    """Loss of each label, float64[W, T], a few rows at a time."""
    import torch

    device = model.lm_head.weight.device
    rows = max(1, LOGITS_AT_ONCE // (labels.shape[1] * model.config.vocab_size))
    found = [np.zeros((0, labels.shape[1]))]
    with torch.inference_mode():
        for start in range(0, len(inputs), rows):
            nll = model(
                torch.from_numpy(inputs[start : start + rows]).to(device),
                labels=torch.from_numpy(labels[start : start + rows]).to(device),
                reduction="none",
            )
            found.append(nll.double().cpu().numpy())
    return np.concatenate(found)
