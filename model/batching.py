"""Which rows make a batch: numbers only, no text, no tensors.

Sample i of a run is row `permute(i mod n)` of epoch `i div n`. The permutation is computed, not stored, so the loader's
whole state is one integer, the step: step s (from 0) of a run with batch size B takes the samples [s B, (s+1) B), and
where sizes change, `model/course.py` knows which. A rank takes every world_size-th of them, so any world size sees the
same global batch.
"""

import bisect

import numpy as np
import numpy.typing as npt

FEISTEL_ROUNDS = 6  # four make a strong permutation of a large domain (Luby & Rackoff 1988); two more for tiny ones

Int64 = npt.NDArray[np.int64]


def mix_bits(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
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
    keys = mix_bits(mix_bits(np.array([seed, epoch], dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)))
    rounds = [mix_bits(keys[0] ^ mix_bits(keys[1:2] + np.uint64(r)))[0] for r in range(FEISTEL_ROUNDS)]

    def once(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = value >> half, value & low
        for key in rounds:
            left, right = right, left ^ (mix_bits(right ^ key) & low)
        return (left << half) | right

    out = once(x)
    while (outside := out >= np.uint64(n)).any():
        out[outside] = once(out[outside])
    return out.astype(np.int64)


def validation_sample(n: int, wanted: int | None) -> Int64:
    """Which of `n` held-out rows are read: all, or `wanted` of them, in order, spread over domains and documents.

    They depend on the two numbers alone, so that runs on the same data are compared on the same rows.
    """
    if wanted is None or wanted >= n:
        return np.arange(n, dtype=np.int64)
    return np.sort(permute(np.arange(wanted), n, seed=0, epoch=0))


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
