"""Gzip members of a file: where they begin and end, what is in them, and how to find the next sound one.

A crawl writes one gzip member a record, so a file can be cut at any byte into parts that are read on their own: a
record belongs to the part in whose range its member starts. The framing is done here, with zlib, because three things
need exact offsets:

- the place of a record are the bytes that give it back when read alone;
- the first member at or after a border has to be found without reading what comes before;
- after a damaged member reading goes on at the next sound one, and what was lost is reported with its place.

What a record looks like is the caller's to say: `opens` answers whether inflated bytes begin one.
"""

import contextlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

GZIP_MAGIC = b"\x1f\x8b\x08"
GZIP_WBITS = 16 + zlib.MAX_WBITS
FIRST_STEP = 2 << 10  # bytes of input for the first call to zlib: most records that are no pages are smaller
INFLATE_STEP = 1 << 16  # for the later ones
OUTPUT_STEP = 4 << 20  # bytes that a call to zlib may give; deflate's limit is 1032 times its input
TAIL_BYTES = 64  # of a long member kept, for the end of its last record
SALVAGE_STEP = 64  # of a damaged member, to find the byte that is wrong
TRAILER_BYTES = 8  # CRC-32 and size (RFC 1952, 2.3.1)
MAX_RECORD_BYTES = 64 << 20  # a larger record is reported but not held in memory; Common Crawl cuts bodies at 5 MiB
OPENING_BYTES = 4096  # of a record that `opens` gets to see: an ARC header with a long URL
STORED_BLOCK_BYTES = 1 << 16  # deflate stores incompressible data in blocks of at most 65,535 bytes (RFC 1951, 3.2.4)
LOOK_BACK_BYTES = 8 << 20  # how far before a doubtful member one is looked for that encloses it
WINDOW_BYTES = MAX_RECORD_BYTES + (1 << 20)  # of a long member held at once
MAX_PASSES = 4  # through a long member, should its records be so broken that one has to go back in it

Opens = Callable[[bytes], bool]


class Buffer(Protocol):
    """Bytes to slice and search: a memory map, `bytes`, or a remote file of which only some blocks are held."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: slice, /) -> bytes: ...

    def find(self, sub: bytes, start: int = ..., end: int = ..., /) -> int:
        """Offset of the first `sub` within [start, end), or -1."""


@dataclass(frozen=True, slots=True)
class Member:
    """A gzip member."""

    data: bytes
    """Inflated; cut at some bytes more than `MAX_RECORD_BYTES`."""
    length: int
    """Bytes it inflates to."""
    end: int | None
    """Offset after its last byte; None when it does not end."""
    problem: str = ""
    broken: bool = False
    """Its bytes are wrong, and not merely missing."""
    tail: bytes = b""
    """The last bytes of a member that is not whole."""

    @property
    def whole(self) -> bool:
        """Whether `data` is all of it."""
        return self.length == len(self.data)


def read_member(data: Buffer, offset: int) -> Member:
    """Inflate the gzip member at `offset`; zlib checks its CRC."""
    inflater = zlib.decompressobj(GZIP_WBITS)
    pieces: list[bytes] = []
    held, used, problem, broken, step, tail = 0, offset, "", False, FIRST_STEP, b""
    while not inflater.eof and not problem:
        chunk = inflater.unconsumed_tail
        if not chunk:
            chunk = data[used : used + step]
            step = INFLATE_STEP
            used += len(chunk)
        if not chunk:
            problem = "the file ends inside the record"
            break
        try:
            piece = inflater.decompress(chunk, OUTPUT_STEP)
        except zlib.error as error:
            problem, broken = str(error), True
            piece = b"" if held > MAX_RECORD_BYTES else _before_error(data, offset, used)[held:]
        if held <= MAX_RECORD_BYTES:
            pieces.append(piece)
        else:
            tail = (tail + piece[-TAIL_BYTES:])[-TAIL_BYTES:]
        held += len(piece)
    end = used - len(inflater.unused_data) if inflater.eof else None
    return Member(pieces[0] if len(pieces) == 1 else b"".join(pieces), held, end, problem, broken, tail)


def _before_error(data: Buffer, offset: int, end: int) -> bytes:
    """What a damaged member in [offset, end) inflates to before the damage; zlib itself keeps that back."""
    inflater = zlib.decompressobj(GZIP_WBITS)
    pieces: list[bytes] = []
    position = offset
    try:
        while position < end:
            pieces.append(inflater.decompress(data[position : min(position + SALVAGE_STEP, end)]))
            position += SALVAGE_STEP
    except zlib.error:
        inflater = zlib.decompressobj(GZIP_WBITS)
        inflater.decompress(data[offset:position])
        with contextlib.suppress(zlib.error):
            for at in range(position, min(position + SALVAGE_STEP, end)):
                pieces.append(inflater.decompress(data[at : at + 1]))
    return b"".join(pieces)


def cut_at(data: Buffer, offset: int, end: int) -> bytes | None:
    """What the member at `offset` gives when another one at `end` cuts it off; None: its bytes are wrong, too."""
    if end - offset > MAX_RECORD_BYTES:
        return None
    inflater = zlib.decompressobj(GZIP_WBITS)
    try:
        inflated = inflater.decompress(data[offset:end], MAX_RECORD_BYTES)
    except zlib.error:
        return None
    return None if inflater.unconsumed_tail else inflated


def ends_with_size(data: Buffer, end: int, size: int) -> bool:
    """Whether the bytes before `end` are a gzip trailer that tells this size: then nothing before them is missing."""
    return data[max(0, end - 4) : end] == (size % (1 << 32)).to_bytes(4, "little")


def opens_record(data: Buffer, offset: int, opens: Opens) -> bool:
    """Whether a gzip member starts at `offset` that begins with a record."""
    if data[offset : offset + len(GZIP_MAGIC)] != GZIP_MAGIC:
        return False
    inflater = zlib.decompressobj(GZIP_WBITS)
    try:
        # A gzip header may carry a file name; this much input yields the first bytes of any real member.
        return opens(inflater.decompress(data[offset : offset + OPENING_BYTES], OPENING_BYTES))
    except zlib.error:
        return _opens_before_error(data, offset, opens)


def _opens_before_error(data: Buffer, offset: int, opens: Opens) -> bool:
    head = _before_error(data, offset, min(offset + OPENING_BYTES, len(data)))
    return bool(head) and opens(head[:OPENING_BYTES])


def next_member(data: Buffer, offset: int, opens: Opens, floor: int | None = None) -> int | None:
    """Offset of the first member at or after `offset` that begins with a record; None when there is no further one.

    Args:
        floor: no member before it can enclose the one that is found.
    """
    floor = max(0, offset - LOOK_BACK_BYTES) if floor is None else floor
    while True:
        offset = data.find(GZIP_MAGIC, offset)
        if offset < 0:
            return None
        if not opens_record(data, offset, opens):
            offset += 1
            continue
        beyond = _end_of_encloser(data, offset, opens, floor)
        if beyond is None:
            return offset
        offset = beyond


def next_holding(data: Buffer, offset: int, end: int, holds: Callable[[Member], bool]) -> int | None:
    """Offset of the first sound member in [offset, end) of which `holds` is true; None when there is none."""
    while (offset := data.find(GZIP_MAGIC, offset, end)) >= 0:
        member = read_member(data, offset)
        if member.end is None or member.end > end:
            offset += 1
        elif holds(member):
            return offset
        else:
            offset = member.end
    return None


def _end_of_encloser(data: Buffer, offset: int, opens: Opens, floor: int) -> int | None:
    """End of the member in whose body the one at `offset` lies: a page that is itself a `.warc.gz`. None: in no one's.

    Deflate cannot compress such a body and stores it, so that its members appear in the file verbatim. They are
    broken up at every stored block, though: a chain of sound members longer than one block is real. Where the chain
    breaks (damage, the end of a cut file, or an enclosed file) the members before it are asked whether one spans it.
    """
    position = offset
    while position - offset < STORED_BLOCK_BYTES:
        following = _member_end(data, position, opens)
        if following is None:
            break
        if following == len(data):
            return None
        position = following
    else:
        return None
    earlier = data.find(GZIP_MAGIC, max(floor, offset - LOOK_BACK_BYTES), offset)
    while earlier >= 0:
        end = read_member(data, earlier).end  # it need not begin with a record: see `chain.py`
        if end is not None and end > offset:
            return end
        earlier = data.find(GZIP_MAGIC, end or earlier + 1, offset)
    return None


def _member_end(data: Buffer, offset: int, opens: Opens) -> int | None:
    """Offset after the sound member with a record at `offset`; None when there is none."""
    return read_member(data, offset).end if opens_record(data, offset, opens) else None


class OverBudget(Exception):
    """Reading on would inflate a long member too often."""


class Inflated:
    """A member that is too long to hold, as a buffer: it is inflated as far as it is asked for, and a window is kept.

    Args:
        offset: of the member in `data`.
    """

    def __init__(self, data: Buffer, offset: int, member: Member) -> None:
        self._data, self._offset = data, offset
        self._head, self._tail, self._length = member.data, member.tail, member.length
        self._budget = MAX_PASSES
        self._used, self._step = offset, FIRST_STEP
        self._window = bytearray()
        self._start = -1  # of the window; -1: nothing has been inflated yet

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._length)
        if stop <= len(self._head):
            return self._head[start:stop]
        if (in_tail := start - (self._length - len(self._tail))) >= 0:
            return self._tail[in_tail : in_tail + max(0, stop - start)]
        self._reach(start, stop)
        return bytes(self._window[start - self._start : max(start, stop) - self._start])

    def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:
        """Offset of the first `sub` within [start, end), or -1."""
        end = self._length if end is None else min(end, self._length)
        if start < len(self._head):
            found = self._head.find(sub, start, end)
            if found >= 0:
                return found
            start = max(start, len(self._head) - len(sub) + 1)
        while start + len(sub) <= end:
            stop = min(start + INFLATE_STEP + len(sub), end)
            self._reach(start, stop)
            found = self._window.find(sub, start - self._start, stop - self._start)
            if found >= 0:
                return found + self._start
            start = stop - len(sub) + 1
        return -1

    def _reach(self, start: int, stop: int) -> None:
        """Have [start, stop) in the window, and what precedes it as far as there is room."""
        if self._start < 0 or start < self._start:
            self._rewind()
        while self._start + len(self._window) < stop:
            chunk = self._inflater.unconsumed_tail
            if not chunk:
                chunk = self._data[self._used : self._used + self._step]
                self._used += len(chunk)
                self._step = INFLATE_STEP
            if not chunk or self._inflater.eof:
                return
            try:
                self._window += self._inflater.decompress(chunk, OUTPUT_STEP)
            except zlib.error:
                return
            surplus = min(len(self._window) - WINDOW_BYTES, start - self._start)
            if surplus > WINDOW_BYTES:  # not at every step: it moves what is left
                del self._window[:surplus]
                self._start += surplus

    def _rewind(self) -> None:
        """Go back to the beginning.

        Raises:
            OverBudget: that has been done too often.
        """
        if not self._budget:
            raise OverBudget
        self._budget -= 1
        self._inflater = zlib.decompressobj(GZIP_WBITS)
        self._used = self._offset
        self._step = FIRST_STEP  # the steps of `read_member`, so that damage hides the same bytes
        self._window.clear()
        self._start = 0
