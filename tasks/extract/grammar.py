"""What the formats of archived crawls have in common: a header that says how long the block after it is."""

from collections.abc import Callable
from dataclasses import dataclass

from tasks.extract.members import Buffer

MAX_HEADER_BYTES = 64 << 10  # of a record's own header
MAX_LENGTH_DIGITS = 18  # of a length in bytes: an exabyte


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a record, in the words of WARC."""

    size: int
    """Bytes of it, with what separates it from the block."""
    length: int | None
    """Bytes of the block as declared; None: not declared, or no number."""
    fields: dict[str, str]
    """Names in lower case; the first of repeated ones."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """How the records of one format are told apart."""

    name: str
    opens: Callable[[bytes], bool]
    """Whether bytes begin with a record's header; some kB of them are given if there are so many."""
    parse: Callable[[bytes], Header | None]
    """The header that bytes begin with; None when it does not end in them."""
    next_opening: Callable[[Buffer, int], int | None]
    """Offset of the first line at or after a place that begins a header; None when there is none."""
    tail: bytes
    """What follows every block."""


def length_of(text: str) -> int | None:
    """A declared length in bytes; None when it is no number, negative or absurd.

    >>> length_of("12"), length_of("-1"), length_of("9" * 30)
    (12, None, None)
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_LENGTH_DIGITS else None


def empty_line(head: bytes, limit: int) -> tuple[int, int]:
    """Where the lines before the first empty one end, and where what follows it begins; (-1, -1): there is none.

    Lines end with CR LF, or with LF alone as some old writers have them.

    >>> empty_line(b"a\\r\\n\\r\\nb", 100), empty_line(b"a\\n\\nb", 100), empty_line(b"a", 100)
    ((1, 5), (1, 3), (-1, -1))
    """
    end = head.find(b"\n\r\n", 0, limit)
    bare = head.find(b"\n\n", 0, end if end >= 0 else limit)
    if bare >= 0:
        return bare, bare + 2
    if end < 0:
        return -1, -1
    return end - (head[end - 1 : end] == b"\r"), end + 3
