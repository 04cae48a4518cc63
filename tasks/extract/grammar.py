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
