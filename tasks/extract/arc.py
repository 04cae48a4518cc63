"""The grammar of ARC, the Internet Archive's format before WARC; Common Crawl wrote it from 2008 to 2012.

A record is one line (`URL address date type length`; version 2 has five more fields before the length), the block as
it came from the server, and a line end. The header is put into WARC's words, so that all that follows knows one format:
`Content-Type` then is the type from the line, since there is no other place for it.

Source: M. Burner, B. Kahle, Arc File Format, Internet Archive 1996.
"""

import re
from collections.abc import Iterator

from tasks.extract.grammar import MAX_HEADER_BYTES, Grammar, Header, length_of
from tasks.extract.members import Buffer

SEARCH_STEP = 1 << 16  # bytes searched at once for a header
MAX_SCHEME_BYTES = 32
MAX_LINE_BYTES = 4096  # of a header line where one is searched for
_ADDRESS_DATE_TYPE = rb"(?:[0-9a-fA-F.:]{2,45}|-) \d{12,17} [^ \r\n]{0,128}"
_LENGTHS = rb"(?: [^ \r\n]{1,10} [^ \r\n]{1,100} [^ \r\n]{1,4096} \d{1,18} [^ \r\n]{1,1024})? \d{1,18}\r?(?:\n|$)"
# Schemes that crawlers of that time knew: a byte too many before one, or too few, must not make another.
_SCHEMES = ("http", "https", "ftp", "dns", "filedesc", "whois", "gopher", "nntp", "wais", "mms", "rtsp")
_URL = rf"(?:{'|'.join(_SCHEMES)}):".encode()
_OPENING = re.compile(rb"(" + _URL + rb"[^\r\n]{0,2048}?) " + _ADDRESS_DATE_TYPE + _LENGTHS, re.IGNORECASE)
_INSIDE_LINE = re.compile(_URL + rb"[^\r\n ]{4,2048} " + _ADDRESS_DATE_TYPE + _LENGTHS, re.IGNORECASE)
_SCHEME = re.compile(rf"(?:{'|'.join(_SCHEMES)})$".encode(), re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$")


def opens(head: bytes) -> bool:
    """Whether these bytes begin with the header line of an ARC record."""
    found = _OPENING.match(head, 0, MAX_LINE_BYTES)
    return found is not None and not _is_cut(found[1])


def _is_cut(url: bytes) -> bool:
    """Whether what should be a URL is a cut header line and the URL of the next record, which follows it directly."""
    return b"://" in url.partition(b" ")[2]


def parse(head: bytes) -> Header | None:
    """The header line at the beginning of these bytes; None when it does not end, or is none."""
    end = head.find(b"\n", 0, MAX_HEADER_BYTES)
    if end < 0:
        return None
    line = head[:end].rstrip(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    parts = text.split(" ")
    # Counted from the end, since a URL may hold blanks. What tells the versions apart is where the date stands.
    at = next((k for k in (-3, -8) if len(parts) + k >= 2 and parts[k].isdigit() and len(parts[k]) >= 12), None)
    if at is None or _is_cut(" ".join(parts[: at - 1]).encode()):
        return None
    url, (address, written, mime) = " ".join(parts[: at - 1]), parts[at - 1 :][:3]
    date = _DATE.match(written)
    fields = {
        "warc-type": "warcinfo" if url.startswith("filedesc:") else "response",
        "warc-target-uri": url,
        "warc-ip-address": address,
        "warc-date": "{}-{}-{}T{}:{}:{}Z".format(*date.groups()) if date else written,
        "content-type": "" if mime == "-" else mime,
        "content-length": parts[-1],
    }
    return Header(end + 1, length_of(parts[-1]), fields)


def next_opening(data: Buffer, position: int) -> int | None:
    """Offset of the first place at or after `position` where a header begins.

    It need not begin a line, since the record before it may be cut: then it is the last thing in its line that looks
    like a header, for a page may end with an address.
    """
    while piece := data[position : position + SEARCH_STEP]:
        found, line_end = -1, 0
        for at in _addresses(piece):
            start = position + at
            if found >= 0 and start >= line_end:
                return found
            head = data[start : start + MAX_LINE_BYTES]
            if start == 0 or data[start - 1 : start] == b"\n":
                if opens(head):
                    return found if found >= 0 else start
            elif inside := _INSIDE_LINE.match(head):
                found, line_end = start, start + inside.end()
        if found >= 0:
            return found
        if len(piece) < SEARCH_STEP:
            return None
        position += len(piece) - MAX_SCHEME_BYTES  # a scheme may be cut by the end of the piece
    return None


def _addresses(piece: bytes) -> Iterator[int]:
    """Where URLs with one of the schemes begin. The colon is searched first, which is many times as fast."""
    colon = piece.find(b":")
    while colon >= 0:
        if piece[colon + 1 : colon + 3] == b"//" or piece[colon - 3 : colon] == b"dns":
            begin = max(0, colon - MAX_SCHEME_BYTES)
            if scheme := _SCHEME.search(piece[begin:colon]):
                yield begin + scheme.start()
        colon = piece.find(b":", colon + 1)


ARC = Grammar("arc", opens, parse, next_opening, b"\n")
