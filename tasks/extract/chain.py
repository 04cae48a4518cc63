"""Gzip members that go on with one another: some writers cut them elsewhere than at records.

bgzip cuts at every 65,280 bytes, whatever is there. A record is then put together from the members it lies in, and no
more than that is held: what is complete comes out, and the members after it are joined to the record it ends in.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from tasks.extract.grammar import Grammar
from tasks.extract.members import (
    GZIP_MAGIC,
    MAX_RECORD_BYTES,
    OPENING_BYTES,
    Buffer,
    Inflated,
    Member,
    opens_record,
    read_member,
)
from tasks.extract.walk import LINE_ENDS, Stretch, walk


class Chain:
    """A sound member with those that go on with it, up to the next one that begins with a record.

    Args:
        offset: of the member in `data`.
        member: a sound one.
        border: from this offset of `data` on only as much is read as has to be.
    """

    def __init__(self, data: Buffer, offset: int, member: Member, grammar: Grammar, border: int) -> None:
        self.content: Buffer = member.data if member.whole else Inflated(data, offset, member)
        """What the stretches given last are places in."""
        self.end = offset if member.end is None else member.end
        """Offset after the last member that was joined."""
        self.ahead: Member | None = None
        """The member there, when it has been read already."""
        self._data, self._grammar, self._border = data, grammar, border
        self._begins, self._offsets = [0], [offset]  # of the members: in the content, in the file

    def stretches(self) -> Iterator[Stretch]:
        """The records and what lies between them, each a place in `content` as it is at that moment.

        Raises:
            OverBudget: the member is too long to be held, and its records are too broken.
        """
        going_on = True
        while going_on:
            last: Stretch | None = None
            for stretch in walk(self.content, 0, self._grammar):
                if last is not None:
                    yield last
                last = stretch
            going_on = last is not None and self._goes_on(last)
            if last is not None and not going_on:
                yield last

    def place(self, stretch: Stretch) -> tuple[int, int]:
        """Offset and length of the members that hold a stretch."""
        first = max(0, bisect_right(self._begins, stretch.start) - 1)
        stop = stretch.end
        if stretch.block is not None and not stretch.detail:  # more line ends than there have to be are no part of it
            stop = min(stop, stretch.block[1] + len(self._grammar.tail))
        after = bisect_left(self._begins, stop, first + 1)
        end = self._offsets[after] if after < len(self._offsets) else self.end
        return self._offsets[first], end - self._offsets[first]

    def _goes_on(self, last: Stretch) -> bool:
        """Join the members that the last stretch goes on in, and drop what is before it; False: there are none."""
        if isinstance(self.content, Inflated):
            return False
        pieces = [self.content[last.start :]]
        held = len(pieces[0])
        wanted, complete = self._wanted(last, held)
        begins, offsets = [], []
        while held < wanted and (more := self._next(held, complete)) is not None:
            pieces.append(more.data)
            begins.append(held)
            offsets.append(self.end)
            held += more.length
            self.end, self.ahead = more.end or self.end, None
        if not begins:
            return False
        first = max(0, bisect_right(self._begins, last.start) - 1)
        self._begins = [begin - last.start for begin in self._begins[first:]] + begins
        self._offsets = self._offsets[first:] + offsets
        self.content = b"".join(pieces)
        return True

    def _wanted(self, last: Stretch, held: int) -> tuple[int, bool]:
        """Bytes from the last stretch on with which it is worth looking again, and whether it lacks nothing now.

        Doubling where nothing tells how many: looking at every member would take quadratic time.
        """
        header = last.header
        if header is None or header.length is None:
            return 2 * held, False
        whole = header.size + header.length + len(self._grammar.tail)
        if not last.detail:
            return max(held + 1, whole), True
        return max(2 * held, whole) if held >= whole else whole, False

    def _next(self, held: int, complete: bool) -> Member | None:
        """The next member if it goes on with the last record; a complete one may lack a line end, and nothing else."""
        data, opens = self._data, self._grammar.opens
        if self.ahead is None:
            if data[self.end : self.end + len(GZIP_MAGIC)] != GZIP_MAGIC:
                return None
            if self.end >= self._border and opens_record(data, self.end, opens):
                return None
            self.ahead = read_member(data, self.end)
        more = self.ahead
        if more.end is None or held + more.length > MAX_RECORD_BYTES or opens(more.data[:OPENING_BYTES]):
            return None
        if complete:
            rest = more.data[:OPENING_BYTES].lstrip(LINE_ENDS)
            return None if rest and not opens(rest) else more
        return more
