"""Content codings undone, within a limit of bytes: gzip, deflate, brotli, zstd (RFC 9110, 8.4; RFC 7932; RFC 8878).

The rule throughout: believe the bytes. A coding that a body does not have is ignored, and a coded body that breaks off
or is damaged gives what can be decoded up to there.
"""

import zlib
from dataclasses import dataclass

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
STEP = 1 << 16  # bytes of input decoded at once
ZSTD_STEP = 256  # of input: zstd makes 128 KiB of 4 bytes at best (a block of one repeated byte: RFC 8878, 3.1.1.2)
MAX_ZSTD_WINDOW = 1 << 27  # bytes, zstd's own default; HTTP allows 8 MiB (RFC 9659)
TEXT_BYTES = 512  # of a body looked at to tell whether it is text
# As many bytes of compressed data hold a control character but once in a thousand.
MIN_TEXT_BYTES = 64
_NO_TEXT = bytes(sorted(set(range(32)) - set(b"\t\n\f\r\x1b")))  # escape begins a shift in ISO 2022
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_ALIASES = {"x-gzip": "gzip", "gz": "gzip", "gunzip": "gzip", "brotli": "br", "x-deflate": "deflate", "zlib": "deflate"}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body without transfer and content codings."""

    data: bytes
    cut: bool = False
    """It breaks off or is damaged: `data` is what could be decoded."""
    oversized: bool = False
    """It is longer than the limit; `data` is of no use then."""
    unknown: str = ""
    """Name of a coding that cannot be undone; `data` is of no use then."""


def undo(coding: str, data: bytes, limit: int) -> Decoded:
    """Undo one coding.

    Args:
        coding: its name in lower case.
        limit: bytes; no more than that, and one step, is ever held of what comes out.
    """
    coding = _ALIASES.get(coding, coding)
    if coding == "gzip":
        return _inflate(data, 16 + zlib.MAX_WBITS, limit) if data.startswith(GZIP_MAGIC) else Decoded(data)
    if coding == "zstd":
        return _unzstd(data, limit) if data.startswith(ZSTD_MAGIC) else Decoded(data)
    # The others have no mark by which to know them, but text is text.
    if not data or is_text(data):
        return Decoded(data)
    if coding == "deflate":
        # Meant is zlib (RFC 9110, 8.4.1.2); some servers send bare deflate.
        zlib_header = len(data) > 1 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
        return _inflate(data, zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS, limit)
    if coding == "br":
        return _unbrotli(data, limit)
    return Decoded(b"", unknown=coding)


def is_text(data: bytes) -> bool:
    """Whether a body is readable as it is, and so has no coding."""
    head = data[:TEXT_BYTES]
    if head.startswith(_UTF16_BOMS):
        return True
    if len(head.translate(None, _NO_TEXT)) < len(head):
        return False
    return len(head) >= MIN_TEXT_BYTES or head.lstrip().startswith(b"<")


def _inflate(data: bytes, wbits: int, limit: int) -> Decoded:
    pieces: list[bytes] = []
    held = 0
    while data:
        inflater = zlib.decompressobj(wbits)
        fed = 0
        while fed < len(data) and not inflater.eof:
            before = inflater.copy()
            step = data[fed : fed + STEP]
            try:
                piece = inflater.decompress(step, limit + 1 - held)
            except zlib.error:
                pieces.append(_before_error(before, step, limit + 1 - held))
                held += len(pieces[-1])
                if held > limit:
                    return Decoded(b"", oversized=True)
                # Never was deflate: take the body as it is. Broke later: take what there is.
                return Decoded(b"".join(pieces), cut=True) if held else Decoded(data)
            fed += len(step)
            pieces.append(piece)
            held += len(piece)
            if held > limit:
                return Decoded(b"", oversized=True)
        if not inflater.eof:
            return Decoded(b"".join(pieces), cut=True)
        data = inflater.unused_data + data[fed:]
        if wbits < 16 or not data.startswith(GZIP_MAGIC):  # only gzip has members that follow one another
            break
    return Decoded(b"".join(pieces))


def _before_error(inflater: "zlib._Decompress", step: bytes, limit: int) -> bytes:
    """What comes out of a step before the byte that is wrong; zlib keeps back what a failing call had decoded."""
    out = bytearray()
    for k in range(len(step)):
        try:
            out += inflater.decompress(step[k : k + 1])
        except zlib.error:
            break
        if len(out) >= limit:
            break
    return bytes(out)


def _unbrotli(data: bytes, limit: int) -> Decoded:
    first = _brotli_pass(data, limit, len(data))
    if isinstance(first, Decoded):
        return first
    # A failing call keeps back what it had decoded: once more, byte by byte from where that call began.
    second = _brotli_pass(data, limit, first)
    return second if isinstance(second, Decoded) else Decoded(data)


def _brotli_pass(data: bytes, limit: int, sure: int) -> Decoded | int:
    """Decode in steps up to byte `sure` and then byte by byte. In vain: the first byte of the step that is wrong."""
    import brotli

    decoder = brotli.Decompressor()
    pieces: list[bytes] = []
    held, begun, fed = 0, 0, 0
    while not decoder.is_finished():
        feed = b""
        if decoder.can_accept_more_data():
            if fed == len(data):
                return Decoded(b"".join(pieces), cut=True)
            begun = fed
            fed += min(STEP, sure - fed) if fed < sure else 1
            feed = data[begun:fed]
        try:
            piece = decoder.process(feed, output_buffer_limit=STEP)
        except brotli.error:
            return Decoded(b"".join(pieces), cut=True) if held and begun >= sure else begun
        pieces.append(piece)
        held += len(piece)
        if held > limit:
            return Decoded(b"", oversized=True)
    return Decoded(b"".join(pieces))


def _unzstd(data: bytes, limit: int) -> Decoded:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
    pieces: list[bytes] = []
    held, fed = 0, 0
    while data[fed : fed + len(ZSTD_MAGIC)] == ZSTD_MAGIC:  # frames may follow one another
        frame = decompressor.decompressobj()
        while not frame.eof:
            step = data[fed : fed + ZSTD_STEP]
            if not step:
                return Decoded(b"".join(pieces), cut=True)
            fed += len(step)
            try:
                pieces.append(frame.decompress(step))
            except zstandard.ZstdError:
                return Decoded(b"".join(pieces), cut=True) if held else Decoded(data)
            held += len(pieces[-1])
            if held > limit:
                return Decoded(b"", oversized=True)
        fed -= len(frame.unused_data)
    return Decoded(b"".join(pieces))
