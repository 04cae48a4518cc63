"""A remote file that can be sliced and searched like a memory map, of which only some blocks are held.

A reader of records goes through its range once, looks a little beyond its end and, where a file is damaged, a little
back. So inside the range large blocks are fetched that end exactly with it, and outside small ones that grow only while
the reader goes on.
"""

from infra.remote.file import RemoteFile

BLOCK_BYTES = 8 << 20  # inside the range: some 20 s of extraction, so that requests are rare
FIRST_BYTES = 64 << 10  # outside: enough for a record of the usual size
HELD_BYTES = 24 << 20  # at most, and never less than two blocks


class RemoteBuffer:
    """Bytes of a remote file by slice and by search.

    Args:
        file: what is read.
        start: first byte of the range that will be read through.
        end: the byte after its last one.
    """

    def __init__(
        self, file: RemoteFile, start: int, end: int, block_bytes: int = BLOCK_BYTES, held_bytes: int = HELD_BYTES
    ) -> None:
        self.file = file
        self._range = (start, min(end, file.size))
        self._block_bytes = block_bytes
        self._held_bytes = held_bytes
        self._blocks: dict[int, bytes] = {}  # by first byte; the one used last is last
        self._step = FIRST_BYTES
        self._next = -1  # where the block that was fetched last ends

    def __len__(self) -> int:
        return self.file.size

    def __getitem__(self, place: slice) -> bytes:
        start, stop, step = place.indices(self.file.size)
        if step != 1:
            raise ValueError("a remote file is read forwards, byte by byte")
        pieces = []
        while start < stop:
            first, block = self._block(start)
            piece = block[start - first : stop - first]
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:
        """Offset of the first `sub` that lies in [start, end), or -1; offsets count from the beginning."""
        end = self.file.size if end is None else min(end, self.file.size)
        while start + len(sub) <= end:
            first, block = self._block(start)
            found = block.find(sub, start - first, end - first)
            if found >= 0:
                return first + found
            border = first + len(block)
            if border >= end:
                return -1
            # One that lies across the border begins in the last bytes of this block.
            start = max(start, border - len(sub) + 1)
            across = self[start : min(border + len(sub) - 1, end)].find(sub)
            if across >= 0:
                return start + across
            start = border
        return -1

    def _block(self, position: int) -> tuple[int, bytes]:
        """A held block with the byte at `position`, fetched if there is none."""
        for first, block in self._blocks.items():
            if first <= position < first + len(block):
                self._blocks[first] = self._blocks.pop(first)
                return first, block
        stop = self._stop(position)
        held = sum(map(len, self._blocks.values()))
        while len(self._blocks) > 1 and held + stop - position > self._held_bytes:
            held -= len(self._blocks.pop(next(iter(self._blocks))))
        block = self._blocks[position] = self.file.read(position, stop)
        self._next = stop
        return position, block

    def _stop(self, position: int) -> int:
        """Where the block from `position` on shall end: no byte of the range or of a held block is fetched twice."""
        start, end = self._range
        if start <= position < end:
            self._step = FIRST_BYTES
            stop = min(position + self._block_bytes, end)
        else:
            going_on = position == self._next and position != end
            self._step = min(2 * self._step, self._block_bytes) if going_on else FIRST_BYTES
            stop = min(position + self._step, self.file.size)
            if position < start:
                stop = min(stop, start)
        return min([stop, *(first for first in self._blocks if first > position)])
