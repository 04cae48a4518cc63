"""What the network is shown at a step: rows of token ids, in an order that depends on the seed and the step alone.

The way from files to a batch:

    indexed files --> rows (a numbered, random-access list) --> sampler (sample number -> row number) --> micro-batches

*Rows.* `TokenRows` cuts the concatenated documents of all files into rows of seq_len labels, nothing lost and nothing
padded. `ChatRows` packs whole chats into rows (best-fit decreasing) with a loss mask. `PairRows` are preference pairs.

*Order.* Sample i of a run is row `permutation(i mod n)` of epoch `i div n`. The permutation is computed, not stored, so
the loader's whole state is one integer, the number of consumed samples; step s of a run with batch size B takes samples
[s B, (s+1) B). A rank takes every world_size-th of them, so any world size sees the same global batch.

*Documents.* Attention stays inside a document. A position belongs to the document of its *label*: the separator that
ends one document is the first input of the next one, so the model learns how documents begin and every label counts.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.indexed import IndexedDataset
from model.losses import IGNORE_INDEX

MASK_SUFFIX = "-mask"  # <prefix>-mask.bin/.idx hold a 0/1 for each id of <prefix>: 1 = predict this token
FEISTEL_ROUNDS = 6  # four make a strong permutation of a large domain (Luby & Rackoff 1988); two more for tiny domains

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """One packed sequence of T positions: `labels[t]` follows `tokens[t]`, IGNORE_INDEX: nothing to predict."""

    tokens: Int64
    labels: Int64
    document_ids: Int64


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014, figure 16), element by element."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def permute(index: npt.ArrayLike, n: int, seed: int, epoch: int) -> Int64:
    """Where each of `index` (values in [0, n)) lies in a permutation of range(n) given by (seed, epoch).

    A Feistel network on the next power of four, walked until it lands inside [0, n) (Black & Rogaway 2002, cycle
    walking): no table of n entries, and the same numbers whatever the NumPy version.
    """
    x = np.asarray(index, dtype=np.uint64).reshape(-1)
    if x.size and int(x.max()) >= n:
        raise ValueError(f"index {int(x.max())} is outside a permutation of {n}")
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    keys = _mix(_mix(np.array([seed, epoch], dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)))
    rounds = [_mix(keys[0] ^ _mix(keys[1:2] + np.uint64(r)))[0] for r in range(FEISTEL_ROUNDS)]

    def once(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = value >> half, value & low
        for key in rounds:
            left, right = right, left ^ (_mix(right ^ key) & low)
        return (left << half) | right

    out = once(x)
    while (outside := out >= np.uint64(n)).any():
        out[outside] = once(out[outside])
    return out.astype(np.int64)


def sample_rows(first: int, count: int, n: int, seed: int) -> Int64:
    """Row numbers of the samples [first, first + count) of a run over n rows, epoch after epoch."""
    if n < 1:
        raise ValueError("there are no training rows")
    samples = np.arange(first, first + count, dtype=np.int64)
    epochs = samples // n
    rows = np.empty(count, np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        rows[here] = permute(samples[here] % n, n, seed, int(epoch))
    return rows


def share_of_rank(rows: Int64, rank: int, world_size: int, micro_batch_size: int) -> list[list[int | None]]:
    """A rank's micro-batches of a global batch: every world_size-th row, filled up with None to equal sizes.

    Each rank gets the same number of equal micro-batches (DeepSpeed reduces in step); None is a row without labels,
    which changes nothing since losses are divided by the number of labels.
    """
    local = -(-len(rows) // world_size)
    micro = min(micro_batch_size, local)
    mine: list[int | None] = [int(row) for row in rows[rank::world_size]]
    mine += [None] * (-(-local // micro) * micro - len(mine))
    return [mine[start : start + micro] for start in range(0, len(mine), micro)]


def micro_batches(batch_size: int, world_size: int, micro_batch_size: int | None) -> tuple[int, int]:
    """(micro-batch size, micro-batches a rank and step) that `share_of_rank` makes of a global batch."""
    local = -(-batch_size // world_size)
    micro = min(micro_batch_size or local, local)
    return micro, -(-local // micro)


class TokenRows:
    """The documents of several indexed files as one stream, cut into rows of `seq_len` labels.

    Row r has inputs [r T, r T + T) and labels [r T + 1, r T + T + 1) of the stream; a last row that would be short is
    left out. With `document_mask` off all positions of a row are one document, as in GPT-2.
    """

    def __init__(self, prefixes: Sequence[Path | str], seq_len: int, document_mask: bool = True) -> None:
        self.seq_len = seq_len
        self.document_mask = document_mask
        self.files = [IndexedDataset(prefix) for prefix in prefixes]
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


def pack_best_fit(lengths: npt.ArrayLike, capacity: int) -> list[list[int]]:
    """Best-fit decreasing bin packing: bins of item numbers whose lengths sum to at most `capacity`.

    Longest first, each into the bin with the least room that still takes it; equal lengths keep their order, so the
    result is a pure function of `lengths`. Items of length 0 are left out. At most 11/9 of the fewest bins plus one
    (Johnson 1973). Raises ValueError for an item longer than `capacity`.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    if sizes.size and int(sizes.max()) > capacity:
        raise ValueError(f"an item of length {int(sizes.max())} does not fit a bin of {capacity}")
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (space left, bin), sorted
    for item in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[item])
        if size == 0:
            break
        place = bisect.bisect_left(room, (size, 0))
        if place < len(room):
            space, number = room.pop(place)
        else:
            space, number = capacity, len(bins)
            bins.append([])
        bins[number].append(item)
        if space > size:
            bisect.insort(room, (space - size, number))
    return bins


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
