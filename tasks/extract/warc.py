"""The grammar of WARC 1.0 and 1.1 (ISO 28500): `WARC/1.0`, named fields, an empty line, the block, two line ends."""

import re

from tasks.extract.grammar import MAX_HEADER_BYTES, Grammar, Header, empty_line, length_of
from tasks.extract.members import Buffer

MAGIC = b"WARC/"
_OPENING = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r?\n(?:warc|content)-", re.IGNORECASE)
_OPENING_BYTES = 32  # as many as `_OPENING` can need


def opens(head: bytes) -> bool:
    """Whether these bytes begin with a WARC header."""
    return head.startswith(MAGIC)


def parse(head: bytes) -> Header | None:
    """The header at the beginning of these bytes; None when its empty line is not among them.

    Nor may another header begin before it: then this one is cut, and what follows is about another page.
    """
    end, size = empty_line(head, MAX_HEADER_BYTES)
    if end < 0 or _opens_within(head, end):
        return None
    written = head[:end]
    try:
        text = written.decode()
    except UnicodeDecodeError:
        text = written.decode("latin-1")
    fields: dict[str, str] = {}
    last = ""
    for line in text.split("\n")[1:]:
        if line[:1] in (" ", "\t") and last:  # a folded line continues the one before (WARC 1.1, 4)
            fields[last] = f"{fields[last]} {line.strip()}"
            continue
        name, colon, value = line.partition(":")
        if colon:
            last = name.strip().lower()
            fields.setdefault(last, value.strip())
    return Header(size, length_of(fields.get("content-length", "")), fields)


def _opens_within(head: bytes, end: int) -> bool:
    at = head.find(MAGIC, 1, end)
    while at >= 0 and not _OPENING.match(head, at):
        at = head.find(MAGIC, at + 1, end)
    return at >= 0


def next_opening(data: Buffer, position: int) -> int | None:
    """Offset of the first place at or after `position` where a WARC header opens: its version and a first field.

    It need not begin a line: a crawler that crashed and was restarted writes on where it broke off.
    """
    while True:
        position = data.find(MAGIC, position)
        if position < 0:
            return None
        if _OPENING.match(data[position : position + _OPENING_BYTES]):
            return position
        position += 1


WARC = Grammar("warc", opens, parse, next_opening, b"\r\n\r\n")
