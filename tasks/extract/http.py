"""HTTP responses as crawls store them: headers as sent, bodies often already decoded, sometimes half there.

The rule throughout: believe the bytes before the header. A coding that a body visibly does not have is ignored, and a
coded body that breaks off gives what could be decoded up to there.
"""

import io
import re
import zlib
from dataclasses import dataclass

MAX_HEAD_BYTES = 256 << 10  # of an HTTP header; servers refuse far smaller ones
_STATUS_LINE = re.compile(rb"^HTTP/\d(?:\.\d)? +(\d{3})(?: |\r|\n|$)")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n")
_EMPTY_LINE = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Status and headers of a response, and its body as stored."""

    status: int
    headers: list[tuple[str, str]]
    """(name in lower case, value), in order."""
    body: bytes

    def get(self, name: str) -> str:
        """Value of the first header of this name; empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        """Values of all headers of this name."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body without transfer and content codings."""

    data: bytes
    cut: bool = False
    """It breaks off: `data` is what could be decoded."""
    oversized: bool = False
    """It is longer than the limit; `data` is of no use then."""
    unknown: str = ""
    """Name of a coding that cannot be undone; `data` is of no use then."""


def parse_response(block: bytes) -> HttpResponse | None:
    """Split the block of a `response` record; None when it does not begin with an HTTP status line."""
    status = _STATUS_LINE.match(block)
    if status is None:
        return None
    end = _EMPTY_LINE.search(block, 0, MAX_HEAD_BYTES)
    head, body = (block[: end.start()], block[end.end() :]) if end else (block[:MAX_HEAD_BYTES], b"")
    headers: list[tuple[str, str]] = []
    for line in head.split(b"\n")[1:]:
        text = _header_text(line.rstrip(b"\r"))
        if text[:1] in (" ", "\t") and headers:  # a folded line continues the one before (RFC 9112, 5.2)
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {text.strip()}")
            continue
        name, colon, value = text.partition(":")
        if colon:
            headers.append((name.strip().lower(), value.strip()))
    return HttpResponse(int(status[1]), headers, body)


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
    found = re.search(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", value, re.IGNORECASE)
    return found[1] if found else ""


def decode_body(response: HttpResponse, limit: int) -> Decoded:
    """Undo Transfer-Encoding and Content-Encoding (RFC 9112, 7; RFC 9110, 8.4), last applied first.

    Args:
        limit: bytes; a body that decodes to more is `oversized`, and no more than that is ever held.
    """
    data, cut = response.body, False
    transfer = _codings(response.all("transfer-encoding"))
    for coding in reversed([*_codings(response.all("content-encoding")), *transfer]):
        if coding in ("", "identity"):
            continue
        if coding == "chunked":
            data, broken = dechunk(data)
            cut |= broken
            continue
        step = _undo(coding, data, limit)
        if step.unknown or step.oversized:
            return step
        data, cut = step.data, cut or step.cut
    return Decoded(data, cut, oversized=len(data) > limit)


def _codings(values: list[str]) -> list[str]:
    return [name.strip().lower() for value in values for name in value.split(",")]


def dechunk(data: bytes) -> tuple[bytes, bool]:
    """Join a chunked body; (bytes, whether it breaks off). A body that is not chunked comes back as it is."""
    pieces: list[bytes] = []
    position = 0
    while True:
        size = _CHUNK_SIZE.match(data, position)
        if size is None:
            return (data, False) if not pieces else (b"".join(pieces), True)
        length = int(size[1], 16)
        if length == 0:
            return b"".join(pieces), False
        piece = data[size.end() : size.end() + length]
        pieces.append(piece)
        if len(piece) < length:
            # A first "chunk" far larger than the body is a page whose text happens to begin with a hexadecimal word.
            return (data, False) if len(pieces) == 1 and length > 2 * len(data) else (b"".join(pieces), True)
        position = size.end() + length
        line_end = re.compile(rb"\r?\n").match(data, position)
        position = line_end.end() if line_end else position


def _undo(coding: str, data: bytes, limit: int) -> Decoded:
    if coding in ("gzip", "x-gzip"):
        return _inflate(data, 16 + zlib.MAX_WBITS, limit) if data[:2] == b"\x1f\x8b" else Decoded(data)
    if coding == "deflate":
        # Meant is zlib (RFC 9110, 8.4.1.2); some servers send bare deflate.
        zlib_header = len(data) > 1 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
        return _inflate(data, zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS, limit)
    if coding == "br":
        return _unbrotli(data, limit)
    if coding == "zstd":
        return _unzstd(data, limit) if data[:4] == b"\x28\xb5\x2f\xfd" else Decoded(data)
    return Decoded(b"", unknown=coding)


def _inflate(data: bytes, wbits: int, limit: int) -> Decoded:
    pieces: list[bytes] = []
    held = 0
    while data:
        inflater = zlib.decompressobj(wbits)
        fed = 0
        # In steps, since an error drops whatever the failing call had decoded.
        while fed < len(data) and not inflater.eof:
            step = data[fed : fed + 4096]
            fed += len(step)
            try:
                piece = inflater.decompress(step, limit + 1 - held)
            except zlib.error:
                # Never was deflate: take the body as it is. Broke later: take what there is.
                return Decoded(b"".join(pieces), cut=True) if held else Decoded(data)
            pieces.append(piece)
            held += len(piece)
            if held > limit:
                return Decoded(b"", oversized=True)
        if not inflater.eof:
            return Decoded(b"".join(pieces), cut=True)
        data = inflater.unused_data + data[fed:]
        if wbits < 16 or data[:2] != b"\x1f\x8b":  # only gzip has members that follow one another
            break
    return Decoded(b"".join(pieces))


def _unbrotli(data: bytes, limit: int) -> Decoded:
    import brotli

    decoder = brotli.Decompressor()
    pieces: list[bytes] = []
    held = 0
    try:
        feed = data
        while not decoder.is_finished():
            piece = decoder.process(feed, output_buffer_limit=1 << 16)
            feed = b""
            pieces.append(piece)
            held += len(piece)
            if held > limit:
                return Decoded(b"", oversized=True)
            if not piece and decoder.can_accept_more_data():
                return Decoded(b"".join(pieces), cut=True)
    except brotli.error:
        return Decoded(b"".join(pieces), cut=True) if held else Decoded(data)
    return Decoded(b"".join(pieces))


def _unzstd(data: bytes, limit: int) -> Decoded:
    from fastwarc.stream_io import ZstdReader

    pieces: list[bytes] = []
    held = 0
    try:
        with ZstdReader(io.BytesIO(data)) as reader:
            while piece := reader.read(1 << 16):
                pieces.append(piece)
                held += len(piece)
                if held > limit:
                    return Decoded(b"", oversized=True)
    except OSError:
        return Decoded(b"".join(pieces), cut=True) if held else Decoded(data)
    return Decoded(b"".join(pieces))
