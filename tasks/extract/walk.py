"""Records that follow one another in plain bytes: an uncompressed file, or what a gzip member inflates to.

A header says how long its block is, and is not believed where the bytes show otherwise: where a record is cut, where
another begins inside its declared length, or where it goes on after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.extract.grammar import MAX_HEADER_BYTES, Grammar, Header
from tasks.extract.members import MAX_RECORD_BYTES, OPENING_BYTES, Buffer

Damage = Literal["truncated_record", "corrupt_record"]
LINE_ENDS = b"\r\n"
LINE_END_STEP = 64  # bytes looked at at once behind a block


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes [start, end): a record, or what lies between two of them (then it has no header)."""

    start: int
    end: int
    header: Header | None = None
    block: tuple[int, int] | None = None
    """Where its block is; None when there is no telling, or nothing worth reading."""
    damage: Damage | None = None
    detail: str = ""

    @property
    def is_gap(self) -> bool:
        """Whether no record begins here."""
        return self.header is None and self.damage is None


def walk(data: Buffer, position: int, grammar: Grammar) -> Iterator[Stretch]:
    """All stretches of `data` from `position` on: they cover it without a hole."""
    size = len(data)
    at: int | None = position
    while at is not None and at < size:
        stretch = _stretch(data, at, size, grammar)
        yield stretch
        at = stretch.end


def _stretch(data: Buffer, at: int, size: int, grammar: Grammar) -> Stretch:
    head = data[at : at + OPENING_BYTES]
    if not grammar.opens(head):
        following = grammar.next_opening(data, at)
        return Stretch(at, size if following is None else following)
    header = grammar.parse(head)
    if header is None and len(head) == OPENING_BYTES:
        header = grammar.parse(data[at : at + MAX_HEADER_BYTES])
    if header is None:
        following = grammar.next_opening(data, at + 1)
        damage: Damage = "truncated_record" if following is None else "corrupt_record"
        return Stretch(at, size if following is None else following, None, None, damage, "the header does not end")
    begin = at + header.size
    if header.length is not None:
        stop = begin + header.length
        after = _skip_line_ends(data, stop) if stop <= size else stop
        if after == size:
            return Stretch(at, after, header, (begin, stop))
        at_line = after > stop or data[after - 1 : after] == b"\n"  # or a byte is missing, and a URL begins with "ttp:"
        if after < size and at_line and grammar.opens(data[after : after + OPENING_BYTES]):
            return Stretch(at, after, header, (begin, stop))
    return _mended(data, at, begin, header, size, grammar)


def _mended(data: Buffer, at: int, begin: int, header: Header, size: int, grammar: Grammar) -> Stretch:
    """A record whose declared length does not lead to another one, nor to the end."""
    following = grammar.next_opening(data, begin)
    end = size if following is None else following
    if header.length is not None and begin + header.length <= end:
        stop = begin + header.length
        if data[stop : stop + len(grammar.tail)] == grammar.tail:  # it is as long as it says; a gap comes after it
            return Stretch(at, _skip_line_ends(data, stop), header, (begin, stop))
    closed = end - len(grammar.tail) >= begin and data[end - len(grammar.tail) : end] == grammar.tail
    stop = end - len(grammar.tail) if closed else end
    declared = "no length is declared" if header.length is None else f"{header.length} bytes are declared"
    # What is longer than declared lacks nothing. What is shorter does, unless the end of a record is there to be seen:
    # in ARC that is a mere line end, which proves nothing.
    whole = (closed and len(grammar.tail) > 1) or (header.length is not None and stop >= begin + header.length)
    return Stretch(
        at,
        end,
        header,
        (begin, stop),
        None if whole else "truncated_record",
        f"{declared}, {stop - begin} are there",
    )


def _skip_line_ends(data: Buffer, position: int) -> int:
    while piece := data[position : position + LINE_END_STEP]:
        rest = piece.lstrip(LINE_ENDS)
        position += len(piece) - len(rest)
        if rest:
            break
    return position


def too_large(block: tuple[int, int]) -> bool:
    """Whether a block is not to be held in memory."""
    return block[1] - block[0] > MAX_RECORD_BYTES
