"""What the network is shown at a step: rows of token ids, in an order that depends on the seed and the step alone.

The way from files to a batch:

    indexed files --> rows (a numbered, random-access list) --> order (sample number -> row number) --> micro-batches

*Rows.* `TokenRows` cuts the concatenated documents of all files into rows of seq_len labels, nothing lost and nothing
padded; `MixedRows` does so domain by domain. `ChatRows` packs whole chats into rows (best-fit decreasing) with a loss
mask. `PairRows` are preference pairs.

*Order.* `model/batching.py` and, for domains with weights, `model/mixture.py` say which rows make a batch: a function
of the seed and the step, whatever the world size.

*Documents.* Attention stays inside a document. A position belongs to the document of its *label*: the separator that
ends one document is the first input of the next one, so the model learns how documents begin and every label counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.batching import pack_best_fit
from model.indexed import MASK_SUFFIX, IndexedDataset
from model.losses import IGNORE_INDEX
from model.mixture import DomainShare, Mixture

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """One packed sequence of T positions: `labels[t]` follows `tokens[t]`, IGNORE_INDEX: nothing to predict."""

    tokens: Int64
    labels: Int64
    document_ids: Int64


class TokenRows:
    """The documents of several indexed files as one stream, cut into rows of `seq_len` labels.

    Row r has inputs [r T, r T + T) and labels [r T + 1, r T + T + 1) of the stream; a last row that would be short is
    left out. With `document_mask` off all positions of a row are one document, as in GPT-2.
    """

    def __init__(
        self, prefixes: Sequence[Path | str | IndexedDataset], seq_len: int, document_mask: bool = True
    ) -> None:
        self.seq_len = seq_len
        self.document_mask = document_mask
        self.files = [one if isinstance(one, IndexedDataset) else IndexedDataset(one) for one in prefixes]
        for file in self.files:
            if not np.array_equal(file.starts, np.cumsum(file.lengths, dtype=np.int64) - file.lengths):
                raise ValueError(f"{file.prefix}: sequences do not follow one another; such files are not supported")
        sizes = np.array([file.token_count for file in self.files], dtype=np.int64)
        self.file_starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        self.token_count = int(self.file_starts[-1])
        ends = [start + np.cumsum(f.document_lengths) for start, f in zip(self.file_starts, self.files, strict=False)]
        self.document_ends: Int64 = np.concatenate([*ends, np.zeros(0, np.int64)])

    def __len__(self) -> int:
        return max(0, self.token_count - 1) // self.seq_len

    def read(self, start: int, stop: int) -> Int64:
        """Tokens [start, stop) of the stream."""
        first = int(np.searchsorted(self.file_starts, start, side="right")) - 1
        pieces = []
        for number in range(first, len(self.files)):
            offset = int(self.file_starts[number])
            if offset >= stop:
                break
            pieces.append(self.files[number].tokens[max(0, start - offset) : stop - offset])
        return np.concatenate(pieces).astype(np.int64)

    def __getitem__(self, row: int) -> Row:
        start = row * self.seq_len
        tokens = self.read(start, start + self.seq_len + 1)
        if self.document_mask:
            at = np.arange(start + 1, start + self.seq_len + 1)
            first, last = np.searchsorted(self.document_ends, at[[0, -1]], side="right")
            documents = np.searchsorted(self.document_ends[first : last + 1], at, side="right")
        else:
            documents = np.zeros(self.seq_len, np.int64)
        return Row(tokens[:-1], tokens[1:], documents)


class MixedRows(TokenRows):
    """The rows of several domains, each cut by itself; `mixture` says how a run draws from them.

    Raises:
        ValueError: the shares are not of just these files, or a domain does not fill a row.
    """

    def __init__(
        self, prefixes: Sequence[Path | str], shares: Sequence[DomainShare], seq_len: int, document_mask: bool = True
    ) -> None:
        super().__init__(prefixes, seq_len, document_mask)
        ends = np.cumsum([share.files for share in shares])
        if not len(ends) or ends[-1] != len(prefixes):
            raise ValueError(f"the mixture is of {ends[-1] if len(ends) else 0} files, not of {len(prefixes)}")
        self.domains = [
            TokenRows(self.files[end - share.files : end], seq_len, document_mask)
            for end, share in zip(ends, shares, strict=True)
        ]
        self.mixture = Mixture.of(shares, [len(domain) for domain in self.domains])
        self.row_ends = np.cumsum(self.mixture.sizes)

    def __len__(self) -> int:
        return len(self.mixture)

    def __getitem__(self, row: int) -> Row:
        number = int(np.searchsorted(self.row_ends, row, side="right"))
        return self.domains[number][row - int(self.row_ends[number]) + self.mixture.sizes[number]]


class MaskedSequences:
    """Sequences of ids with a 0/1 beside each id: 1 where the token is to be predicted (assistant turns)."""

    def __init__(self, prefix: Path | str, seq_len: int) -> None:
        self.ids = IndexedDataset(prefix)
        self.mask = IndexedDataset(f"{prefix}{MASK_SUFFIX}")
        if not np.array_equal(self.ids.lengths, self.mask.lengths):
            raise ValueError(f"{prefix}: ids and mask have different lengths")
        longest = int(self.ids.lengths.max(initial=0))
        if longest > seq_len + 1:
            raise ValueError(f"{prefix}: a sequence of {longest} tokens does not fit {seq_len} positions")

    def __len__(self) -> int:
        return len(self.ids)

    def shifted(self, index: int) -> tuple[Int64, Int64]:
        """(inputs, labels), each [length - 1]."""
        ids = self.ids[index].astype(np.int64)
        return ids[:-1], np.where(self.mask[index][1:] != 0, ids[1:], IGNORE_INDEX)


class ChatRows:
    """Whole chats packed into rows; a chat attends only to itself."""

    def __init__(self, prefix: Path | str, seq_len: int, pad_id: int) -> None:
        self.seq_len, self.pad_id = seq_len, pad_id
        self.chats = MaskedSequences(prefix, seq_len)
        inputs = np.maximum(self.chats.ids.lengths.astype(np.int64) - 1, 0)
        self.rows = pack_best_fit(inputs, seq_len)
        self.used = [int(inputs[members].sum()) for members in self.rows]  # positions that are not padding

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Row:
        tokens = np.full(self.seq_len, self.pad_id, np.int64)
        labels = np.full(self.seq_len, IGNORE_INDEX, np.int64)
        members = self.rows[row]
        documents = np.full(self.seq_len, len(members), np.int64)  # padding is a document of its own
        at = 0
        for number, chat in enumerate(members):
            inputs, targets = self.chats.shifted(chat)
            span = slice(at, at + len(inputs))
            tokens[span], labels[span], documents[span] = inputs, targets, number
            at = span.stop
        return Row(tokens, labels, documents)


class PairRows:
    """Preference pairs: sequence 2k is prompt + chosen answer, 2k + 1 prompt + rejected; the mask covers the answer."""

    def __init__(self, prefix: Path | str, seq_len: int, pad_id: int) -> None:
        self.pad_id = pad_id
        self.sequences = MaskedSequences(prefix, seq_len)
        if len(self.sequences) % 2:
            raise ValueError(f"{prefix}: {len(self.sequences)} sequences are not pairs")
        self.lengths = np.maximum(self.sequences.ids.lengths.astype(np.int64) - 1, 0).reshape(-1, 2)  # inputs a side

    def __len__(self) -> int:
        return len(self.sequences) // 2

    def batch(self, pairs: Sequence[int | None]) -> tuple[Tensor, Tensor]:
        """(tokens, labels) [2 P, T], all chosen first, then all rejected; T is the longest here, None an empty pair."""
        sides = [self.sequences.shifted(2 * p + side) if p is not None else None for side in (0, 1) for p in pairs]
        width = max([1, *(len(inputs) for inputs, _ in filter(None, sides))])
        tokens = np.full((len(sides), width), self.pad_id, np.int64)
        labels = np.full((len(sides), width), IGNORE_INDEX, np.int64)
        for number, side in enumerate(sides):
            if side is not None:
                inputs, targets = side
                tokens[number, : len(inputs)], labels[number, : len(inputs)] = inputs, targets
        return torch.from_numpy(tokens), torch.from_numpy(labels)


def stack_rows(source: TokenRows | ChatRows, rows: Sequence[int | None]) -> tuple[Tensor, Tensor, Tensor]:
    """(tokens, labels, document_ids), each [B, T] int64; None gives a row without labels."""
    found = [source[row] if row is not None else None for row in rows]
    blank = np.zeros(source.seq_len, np.int64)
    nothing = np.full(source.seq_len, IGNORE_INDEX, np.int64)
    return (
        torch.from_numpy(np.stack([row.tokens if row else blank for row in found])),
        torch.from_numpy(np.stack([row.labels if row else nothing for row in found])),
        torch.from_numpy(np.stack([row.document_ids if row else blank for row in found])),
    )
