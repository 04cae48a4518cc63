"""HTTP responses as crawls store them: headers as sent, bodies often already decoded, sometimes half there.

The rule throughout: believe the bytes before the header. `codings.py` undoes what was done to a body.
"""

import re
from dataclasses import dataclass

from tasks.extract.codings import Decoded, is_text, undo
from tasks.extract.grammar import empty_line

MAX_HEAD_BYTES = 256 << 10  # of an HTTP header; servers refuse far smaller ones
MAX_CODINGS = 8  # of one body; a longer list is an attack or an accident
MAX_CHUNK_LINE_BYTES = 64  # of a line that should have been a chunk's size
_STATUS_LINE = re.compile(rb"^HTTP/\d(?:\.\d)? +(\d{3})(?: |\r|\n|$)")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]{0,1024})?\r?\n")
_NEXT_CHUNK = re.compile(rb"\r\n([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,1024})?(?=\r\n)")
_CHARSET = re.compile(r"charset\s*+=[\s\"']*+([^\s\"';,]+)", re.IGNORECASE)
_LINE_END = re.compile(rb"\r?\n")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Status and headers of a response, and its body as stored."""

    status: int | None
    """None: the page was stored without what the server said about it."""
    headers: list[tuple[str, str]]
    """(name in lower case, value), in order."""
    body: bytes
    complete_head: bool = True
    """Whether the empty line after the headers is there."""

    def get(self, name: str) -> str:
        """Value of the first header of this name; empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        """Values of all headers of this name."""
        return [value for key, value in self.headers if key == name]


def parse_response(block: bytes) -> HttpResponse | None:
    """Split the block of a `response` record; None when it does not begin with an HTTP status line."""
    status = _STATUS_LINE.match(block)
    if status is None:
        return None
    end, begin = empty_line(block, MAX_HEAD_BYTES)
    head, body = (block[:end], block[begin:]) if end >= 0 else (block[:MAX_HEAD_BYTES], b"")
    try:
        lines = head.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = [_header_text(line) for line in head.split(b"\n")]
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and headers:  # a folded line continues the one before (RFC 9112, 5.2)
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if colon:
            headers.append((name.strip().lower(), value.strip()))
    return HttpResponse(int(status[1]), headers, body, end >= 0)


def bare_response(content_type: str, block: bytes) -> HttpResponse:
    """A page stored without HTTP, as `resource` records and some ARC records are."""
    return HttpResponse(None, [("content-type", content_type)], block)


def _header_text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def media_type(value: str) -> str:
    """Type and subtype of a Content-Type in lower case, without parameters: `text/html`."""
    return value.partition(";")[0].partition(",")[0].strip().lower()


def charset_of(value: str) -> str:
    """The charset parameter of a Content-Type; empty when there is none."""
    found = _CHARSET.search(value)
    return found[1] if found else ""


def decode_body(response: HttpResponse, limit: int) -> Decoded:
    """Undo Transfer-Encoding and Content-Encoding (RFC 9112, 7; RFC 9110, 8.4), last applied first.

    What no header tells is undone where the bytes leave no doubt: a body that is chunks from end to end, and text that
    is gzip. Common Crawl stores bodies decoded and renames the header to X-Crawl-Content-Encoding; others leave it.

    Args:
        limit: bytes; a body that decodes to more is `oversized`, and no more than that is ever held.
    """
    data, cut = response.body, False
    transfer = [coding for coding in _codings(response.all("transfer-encoding")) if coding != "identity"]
    codings = [coding for coding in _codings(response.all("content-encoding")) if coding not in ("identity", "none")]
    if len(codings) + len(transfer) > MAX_CODINGS:
        return Decoded(b"", unknown=f"{len(codings) + len(transfer)} codings")
    codings += transfer or ["unsaid-chunks"]
    if media_type(response.get("content-type")).startswith("text/"):
        codings.insert(0, "gzip")
    for coding in reversed(codings):
        if coding == "chunked":
            data, broken = dechunk(data)
            cut |= broken
        elif coding == "unsaid-chunks":
            data = _unsaid_chunks(data)
        else:
            step = undo(coding, data, limit)
            if step.unknown or step.oversized:
                return step
            data, cut = step.data, cut or step.cut
    return Decoded(data, cut, oversized=len(data) > limit)


def _codings(values: list[str]) -> list[str]:
    return [coding for value in values for name in value.split(",") if (coding := name.strip().lower())]


def _unsaid_chunks(data: bytes) -> bytes:
    """The chunks joined if the whole body is chunks, the last of them empty; otherwise the body as it is."""
    if not _CHUNK_SIZE.match(data, 0, MAX_CHUNK_LINE_BYTES) or not data.rstrip(b"\r\n").endswith(b"\n0"):
        return data
    joined, broken = dechunk(data)
    return data if broken else joined


def dechunk(data: bytes) -> tuple[bytes, bool]:
    """Join a chunked body; (bytes, whether it breaks off or is wrongly chunked).

    A body that is not chunked comes back as it is. Where a chunk does not end as its size says, the next line that can
    be a size ends it.
    """
    pieces: list[bytes] = []
    position, wrong, hopeless = 0, False, False
    while position < len(data):
        size = _CHUNK_SIZE.match(data, position)
        if size is not None:
            begin = size.end()
            stop = begin + int(size[1], 16)
            if stop == begin:
                return b"".join(pieces), wrong
        elif pieces:  # a spoilt size: the chunk ends where the next one begins
            line = data.find(b"\r\n", position, position + MAX_CHUNK_LINE_BYTES)
            begin, stop = (line + 2 if line >= 0 else position), -1
        else:
            return data, False
        if stop != len(data) and (stop < 0 or not _LINE_END.match(data, stop)):
            following = -1 if hopeless else _next_chunk(data, begin)
            hopeless = following < 0  # not asked again: it would take a look at all the rest for every chunk
            if following >= 0:
                stop = following
            elif not pieces and not _is_cut_chunk(data, begin, stop):
                return data, False
            elif not begin <= stop <= len(data):
                stop = len(data)
            wrong = True
        pieces.append(data[begin:stop])
        line_end = _LINE_END.match(data, stop)
        position = line_end.end() if line_end else stop
    return b"".join(pieces), True


def _next_chunk(data: bytes, begin: int) -> int:
    """Where the line end stands before the next line that is a chunk's size and leads to another line end; -1: none."""
    # The line end before the place itself counts, too: a line that was no size may be followed by one that is.
    for size in _NEXT_CHUNK.finditer(data, max(0, begin - 2)):
        length = int(size[1], 16)
        stop = size.end() + 2 + length
        if not length or data[stop : stop + 2] == b"\r\n":
            return max(begin, size.start())
    return -1


def _is_cut_chunk(data: bytes, begin: int, stop: int) -> bool:
    """Whether a body is the beginning of one large chunk, and not text that begins with a hexadecimal word."""
    if stop <= len(data):
        return False
    if data[begin - 2 : begin] == b"\r\n" and (data[begin : begin + 1] == b"<" or not is_text(data[begin:])):
        return True
    return stop - len(data) <= len(data)
