"""Held-out bits per byte: how well a model predicts pages it has not seen, whatever its tokenizer.

    bits per byte = (summed negative log2-likelihood of the tokens of text) / (UTF-8 bytes of that text)

Documents stand one after the other, each followed by its end token, as in training. The stream is cut into windows
that do not overlap, so each token is predicted exactly once, the first of a window with no context but the token
before it (as lm-evaluation-harness's rolling log-likelihood does). Attention stays inside a document. End tokens are no
text and do not count. The n-gram baselines are scored on the same tokens, over the same bytes.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from infra.canonical import digest
from tasks.evaluate.statistics import Mean

if TYPE_CHECKING:
    from model.indexed import IndexedDataset
    from model.transformer import Transformer
    from tasks.encoding import Encoder

# fp32 logits held at once: positions x vocabulary <= 2^25 are 128 MiB.
LOGITS_AT_ONCE = 1 << 25
# Part of the task hash; raised when what is predicted, or how it is divided, changes.
TASK_VERSION = 1
IGNORE_INDEX = -100

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """Documents to predict.

    Attributes:
        tokens: int64[N], the documents one after the other, each with its end token.
        documents: int64[N], number of the document that each token belongs to.
        is_text: bool[N], False for special tokens, which are no text.
        n_bytes: int64[D], UTF-8 bytes of each document's text.
    """

    tokens: Ids
    documents: Ids
    is_text: npt.NDArray[np.bool_]
    n_bytes: Ids

    @property
    def total_bytes(self) -> int:
        """UTF-8 bytes of all documents."""
        return int(self.n_bytes.sum())


def token_bytes(encoder: "Encoder") -> Ids:
    """UTF-8 bytes of each id, int64[vocab]; 0 for specials."""
    return encoder.token_bytes().astype(np.int64)


def take_heldout(files: Sequence["IndexedDataset"], bytes_of: Ids, max_tokens: int) -> HeldOut:
    """The documents of indexed files, in order; every k-th one when all would be more than `max_tokens` tokens."""
    total = sum(file.token_count for file in files)
    step = max(1, math.ceil(total / max_tokens))
    tokens: list[Ids] = []
    number = 0
    for file in files:
        ends = np.cumsum(file.document_lengths)
        stream = file.tokens
        for start, end in zip(ends - file.document_lengths, ends, strict=True):
            if number % step == 0 and end > start:
                tokens.append(np.asarray(stream[start:end], dtype=np.int64))
            number += 1
    lengths = [len(document) for document in tokens]
    sizes = np.array([int(bytes_of[document].sum()) for document in tokens], dtype=np.int64)
    stream = np.concatenate([*tokens, np.zeros(0, np.int64)])
    return HeldOut(stream, np.repeat(np.arange(len(tokens)), lengths), bytes_of[stream] > 0, sizes)


def windows(heldout: HeldOut, start_token: int, length: int) -> tuple[Ids, Ids, Ids]:
    """(inputs, labels, document ids), each int64[W, length]; the last row is filled up with IGNORE_INDEX labels.

    A position belongs to the document of its label, so a document's first token is predicted from `start_token` (the
    end token of documents) alone, as in training.
    """
    labels = heldout.tokens
    inputs = np.concatenate([np.array([start_token], np.int64), labels[:-1]])
    missing = -len(labels) % length

    def rows(values: Ids, fill: int) -> Ids:
        return np.concatenate([values, np.full(missing, fill, np.int64)]).reshape(-1, length)

    return rows(inputs[: len(labels)], start_token), rows(labels, IGNORE_INDEX), rows(heldout.documents, -1)


def token_bits(model: "Transformer", heldout: HeldOut, start_token: int, context: int) -> Floats:
    """-log2 of the probability that `model` gives each held-out token, float64[N].

    Windows are as long as `context`, or as the model's own where that is shorter.
    """
    import torch

    length = min(model.config.max_seq_len, context, max(len(heldout.tokens), 1))
    inputs, labels, documents = windows(heldout, start_token, length)
    device = model.lm_head.weight.device
    batch = max(1, LOGITS_AT_ONCE // (length * model.config.vocab_size))
    found = [np.zeros(0)]
    with torch.inference_mode():
        for start in range(0, len(inputs), batch):
            stop = start + batch
            nll = model(
                torch.from_numpy(inputs[start:stop]).to(device),
                document_ids=torch.from_numpy(documents[start:stop]).to(device),
                labels=torch.from_numpy(labels[start:stop]).to(device),
                reduction="none",
            )
            found.append(nll.double().cpu().numpy().reshape(-1))
    return np.concatenate(found)[: len(heldout.tokens)] / math.log(2)


def task_hash(heldout: HeldOut) -> str:
    """16 hex digits of what is predicted, so that only scores on the same tokens are compared."""
    stream = hashlib.sha256(heldout.tokens.astype("<i8").tobytes()).hexdigest()
    return digest(["heldout", TASK_VERSION, stream])


def bits_per_byte(bits: Floats, heldout: HeldOut) -> Mean:
    """Bits per byte of per-token bits [N], with its standard error over documents.

    The figure is a ratio of two sums over documents; its error is the linearised one of a ratio estimate (Cochran,
    1977, "Sampling Techniques", equation 6.13, without the finite-population term).

    Raises:
        ValueError: the held-out text has no bytes.
    """
    total = heldout.total_bytes
    if total == 0:
        raise ValueError("bits per byte of a text without bytes are undefined")
    n = len(heldout.n_bytes)
    by_document = np.bincount(heldout.documents, weights=bits * heldout.is_text, minlength=n)
    ratio = float(by_document.sum() / total)
    residuals = by_document - ratio * heldout.n_bytes
    stderr = float(math.sqrt((residuals**2).sum() * n / (n - 1)) / total) if n > 1 else None
    return Mean(ratio, stderr, n)
