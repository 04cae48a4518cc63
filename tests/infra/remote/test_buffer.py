"""A remote file by slice and search: the same as bytes, with few requests and little memory."""

import itertools
import random

import pytest

from infra.remote import RemoteBuffer, RemoteFile
from infra.remote.access import Access
from infra.remote.buffer import FIRST_BYTES


class Fetched(RemoteFile):
    """A file whose bytes are at hand; notes the ranges that were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__("https://example.org/x", len(data), '"1"', Access())
        self.data = data
        self.ranges: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> bytes:
        self.ranges.append((start, min(stop, self.size)))
        return self.data[start:stop]


def test_slices_and_searches_are_those_of_bytes() -> None:
    dice = random.Random(3)
    data = bytes(dice.choices(b"abc\x1f", k=5_000))
    for _ in range(20):
        start = dice.randrange(len(data))
        end = dice.randrange(start, len(data) + 100)
        buffer = RemoteBuffer(Fetched(data), start, end, block_bytes=dice.choice([7, 100, 3000]), held_bytes=4000)
        assert len(buffer) == len(data)
        for _ in range(30):
            a, b = dice.randrange(len(data) + 50), dice.randrange(len(data) + 50)
            assert buffer[a:b] == data[a:b]
            assert buffer[a:] == data[a:] if dice.random() < 0.05 else True
            sub = bytes(dice.choices(b"abc\x1f", k=dice.randint(1, 9)))
            assert buffer.find(sub, a) == data.find(sub, a)
            assert buffer.find(sub, a, b) == data.find(sub, a, b)
    with pytest.raises(ValueError, match="forwards"):
        buffer[0:10:2]


def test_a_range_is_fetched_once_in_large_blocks_and_the_overshoot_in_small_ones() -> None:
    size = 10 << 20
    file = Fetched(bytes(size))
    start, end, block = 2 << 20, (6 << 20) + 123, 1 << 20
    buffer = RemoteBuffer(file, start, end, block_bytes=block)
    buffer[:5]  # what kind of file is it?
    position = start
    while position < end + 70_000:  # a record that goes on behind the end
        position += len(buffer[position : position + 30_000])
    inside = [(a, b) for a, b in file.ranges if start <= a < end]
    assert inside == [(k, min(k + block, end)) for k in range(start, end, block)]
    outside = [pair for pair in file.ranges if pair not in inside]
    assert outside == [(0, FIRST_BYTES), (end, end + FIRST_BYTES), (end + FIRST_BYTES, end + 3 * FIRST_BYTES)]


def test_reading_on_far_outside_becomes_large_blocks() -> None:
    file = Fetched(bytes(64 << 20))
    buffer = RemoteBuffer(file, 0, 1000)
    assert buffer.find(b"x", 1000) == -1
    assert len(file.ranges) < 20


def test_only_so_many_blocks_are_held() -> None:
    file = Fetched(bytes(40_000))
    buffer = RemoteBuffer(file, 0, 40_000, block_bytes=1000, held_bytes=3000)
    for position in range(0, 40_000, 500):
        buffer[position : position + 10]
        assert sum(map(len, buffer._blocks.values())) <= 3000
    assert len(file.ranges) == 40
    assert buffer[37_000:40_000] == bytes(3000) and len(file.ranges) == 40


def test_looking_back_does_not_fetch_what_is_held() -> None:
    file = Fetched(bytes(range(256)) * 4000)
    buffer = RemoteBuffer(file, 500_000, 800_000)
    buffer[500_000:500_010]
    assert buffer[400_000:500_100] == file.data[400_000:500_100]
    covered = sorted(file.ranges)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(covered))
