"""The records of a byte range of a WARC file, whatever state the file is in.

A crawl writes one gzip member a record, so a file can be cut at any byte into parts that are read on their own: a
record belongs to the part in whose range its member starts. This module frames members itself (zlib over a memory map)
and lets FastWARC parse what is inside, because three things need exact offsets:

- `offset` and `length` of a record are the bytes that give it back when read alone;
- the first member at or after a border has to be found without reading what comes before;
- after a damaged member reading goes on at the next sound one, and what was lost is reported with its place.

Uncompressed files are walked by Content-Length from their beginning, which needs no guessing at borders.
"""

import base64
import contextlib
import hashlib
import io
import mmap
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

GZIP_MAGIC = b"\x1f\x8b\x08"
WARC_MAGIC = b"WARC/"
GZIP_WBITS = 16 + zlib.MAX_WBITS
INFLATE_STEP = 1 << 16  # bytes of input a call to zlib; its output is at most 1032 times that (deflate's limit)
SALVAGE_STEP = 64  # of a damaged member, to read its header at least
MAX_RECORD_BYTES = 64 << 20  # a larger record is reported but not held in memory; Common Crawl cuts bodies at 5 MiB
MAX_HEADER_BYTES = 64 << 10  # of a WARC header
STORED_BLOCK_BYTES = 1 << 16  # deflate stores incompressible data in blocks of at most 65,535 bytes (RFC 1951, 3.2.4)
MIN_RECORD_BYTES = 64  # the mandatory header fields alone are longer; fewer stray bytes are no lost record
LOOK_BACK_BYTES = 8 << 20  # how far before a doubtful member one is looked for that encloses it

Damage = Literal["truncated_record", "corrupt_record"]


class Buffer(Protocol):
    """A file's bytes by slice and search: a memory map, bytes, or a remote file of which only some blocks are held."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: slice, /) -> bytes: ...
    def find(self, sub: bytes, start: int = ..., end: int = ..., /) -> int: ...


_CONTENT_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Record:
    """One WARC record, or a stretch of the file that should have been one."""

    offset: int
    """First byte of its gzip member (compressed) or of its header (uncompressed)."""
    length: int
    """Bytes of the file that hold it: read alone they give the record back."""
    kind: str
    """WARC-Type in lower case; `unknown` when it cannot be read."""
    headers: dict[str, str]
    """WARC header fields, names in lower case; the first of repeated ones."""
    block: bytes | None
    """Everything after the WARC header. None when it is damaged or larger than `MAX_RECORD_BYTES`."""
    damage: Damage | None = None
    detail: str = ""


def part_borders(size: int, part_bytes: int) -> list[tuple[int, int]]:
    """Cut a file of `size` bytes into ranges [start, end) of `part_bytes`, the last one shorter.

    >>> part_borders(10, 4)
    [(0, 4), (4, 8), (8, 10)]
    """
    return [(start, min(start + part_bytes, size)) for start in range(0, size, part_bytes)]


def looks_like_warc(head: bytes) -> bool:
    """Whether a file that begins with these bytes (some kB of them) is a WARC file, compressed or not."""
    if head.startswith(GZIP_MAGIC):
        return opens_record(head, 0)
    return head.startswith(WARC_MAGIC)


def read_records(source: Path | Buffer, start: int, end: int) -> Iterator[Record]:
    """The records whose first byte lies in [start, end), in file order, damaged stretches included.

    Raises:
        OSError: the file cannot be opened or read.
    """
    with _mapped(source) if isinstance(source, Path) else nullcontext(source) as data:
        compressed = data[: len(WARC_MAGIC)] != WARC_MAGIC
        yield from (_compressed if compressed else _plain)(data, start, min(end, len(data)))


@contextmanager
def _mapped(path: Path) -> Iterator[Buffer]:
    with path.open("rb") as file:
        if path.stat().st_size == 0:  # cannot be mapped
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


# --- Compressed: one gzip member a record ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Member:
    data: bytes  # inflated, at most a little over MAX_RECORD_BYTES of it
    end: int | None  # offset after its last byte; None when it does not end
    whole: bool  # `data` is all of it
    problem: str = ""
    broken: bool = False  # its bytes are wrong, and not merely missing


def _read_member(data: Buffer, offset: int) -> _Member:
    """Inflate the gzip member at `offset`; its CRC is checked by zlib."""
    inflater = zlib.decompressobj(GZIP_WBITS)
    pieces: list[bytes] = []
    held, used, problem, broken = 0, offset, "", False
    while not inflater.eof and not problem:
        chunk = data[used : used + INFLATE_STEP]
        if not chunk:
            problem = "the file ends inside the record"
            break
        used += len(chunk)
        try:
            piece = inflater.decompress(chunk)
        except zlib.error as error:
            problem, broken = str(error), True
            piece = _before_error(data, offset, used)[held:]
        if held <= MAX_RECORD_BYTES:
            pieces.append(piece)
        held += len(piece)
    end = used - len(inflater.unused_data) if inflater.eof else None
    return _Member(b"".join(pieces), end, held <= MAX_RECORD_BYTES, problem, broken)


def _before_error(data: Buffer, offset: int, end: int) -> bytes:
    """What a damaged member in [offset, end) inflates to before the damage; zlib itself keeps that back."""
    inflater = zlib.decompressobj(GZIP_WBITS)
    pieces = []
    with contextlib.suppress(zlib.error):
        for position in range(offset, end, SALVAGE_STEP):
            pieces.append(inflater.decompress(data[position : min(position + SALVAGE_STEP, end)]))
    return b"".join(pieces)


def _continued(data: Buffer, member: _Member) -> _Member:
    """A sound member with those that go on with it: some writers cut their gzip members elsewhere than at records."""
    while member.end is not None and member.whole and data[member.end : member.end + 3] == GZIP_MAGIC:
        if opens_record(data, member.end):
            break
        more = _read_member(data, member.end)
        if more.end is None:
            break
        whole = member.whole and more.whole and len(member.data) + len(more.data) <= MAX_RECORD_BYTES
        member = _Member(member.data + more.data, more.end, whole)
    return member


def _member_end(data: Buffer, offset: int) -> int | None:
    """Offset after the sound WARC member at `offset`; None when there is none."""
    return _read_member(data, offset).end if opens_record(data, offset) else None


def opens_record(data: Buffer, offset: int) -> bool:
    """Whether a gzip member starts at `offset` whose first bytes are `WARC/`."""
    if data[offset : offset + len(GZIP_MAGIC)] != GZIP_MAGIC:
        return False
    inflater = zlib.decompressobj(GZIP_WBITS)
    try:
        # A gzip header may carry a file name; 4 KiB of input yields the first bytes of any real member.
        return inflater.decompress(data[offset : offset + 4096], len(WARC_MAGIC)) == WARC_MAGIC
    except zlib.error:
        return False


def next_member(data: Buffer, offset: int) -> int | None:
    """Offset of the first WARC member at or after `offset`; None when there is no further one."""
    while True:
        offset = data.find(GZIP_MAGIC, offset)
        if offset < 0:
            return None
        if not opens_record(data, offset):
            offset += 1
            continue
        beyond = _end_of_encloser(data, offset)
        if beyond is None:
            return offset
        offset = beyond


def _end_of_encloser(data: Buffer, offset: int) -> int | None:
    """End of the member in whose body the one at `offset` lies: a page that is itself a `.warc.gz`. None: in no one's.

    Deflate cannot compress such a body and stores it, so that its members appear in the file verbatim. They are
    broken up at every stored block, though: a chain of sound members longer than one block is real. Where the chain
    breaks (damage, the end of a cut file, or an enclosed file) the members before it are asked whether one spans it.
    """
    position = offset
    while position - offset < STORED_BLOCK_BYTES:
        following = _member_end(data, position)
        if following is None:
            break
        if following == len(data):
            return None
        position = following
    else:
        return None
    earlier = data.find(GZIP_MAGIC, max(0, offset - LOOK_BACK_BYTES), offset)
    while earlier >= 0:
        end = _member_end(data, earlier)
        if end is not None and end > offset:
            return end
        earlier = data.find(GZIP_MAGIC, end or earlier + 1, offset)
    return None


def _compressed(data: Buffer, start: int, end: int) -> Iterator[Record]:
    position = 0 if start == 0 else next_member(data, start)
    while position is not None and position < end:
        following: int | None
        if not opens_record(data, position):
            following = next_member(data, position)
            yield from _gap(data, position, following)
            position = following
            continue
        member = _continued(data, _read_member(data, position))
        if member.end is not None:
            yield from _in_member(data, position, member)
            position = member.end
            if position >= end and position < len(data) and not opens_record(data, position):
                # The next part starts at its first sound member, so the gap up to it is this part's to report.
                yield from _gap(data, position, next_member(data, position))
        else:
            following = next_member(data, position + 1)
            length = (following or len(data)) - position
            damage: Damage = "truncated_record" if following is None else "corrupt_record"
            yield from _in_damaged_member(position, length, member, damage)
            position = following


def _in_member(data: Buffer, offset: int, member: _Member) -> Iterator[Record]:
    end = member.end or offset
    if member.whole:
        yield from _parse(io.BytesIO(member.data), offset, end - offset)
    else:
        yield from _parse(_Range(data, offset, end), offset, end - offset, compressed=True)


def _in_damaged_member(offset: int, length: int, member: _Member, damage: Damage) -> Iterator[Record]:
    """What is left of a member that does not end: the last record is lost, though its header may still be readable.

    Where bytes are wrong, and not merely missing, inflating goes on for a while and gives rubbish: then a record counts
    only if its own digest says so.
    """
    records = list(_parse(io.BytesIO(member.data), offset, length)) or [_lost(offset, length, "")]
    for record in records:
        if record is records[-1] or (member.broken and not _block_digest_holds(record)):
            yield replace(record, block=None, damage=damage, detail=member.problem)
            return
        yield record


def _block_digest_holds(record: Record) -> bool:
    """Whether WARC-Block-Digest (sha1, base 32) is there and fits the block."""
    algorithm, _, value = record.headers.get("warc-block-digest", "").strip().partition(":")
    if record.block is None or algorithm.lower() != "sha1":
        return False
    return base64.b32encode(hashlib.sha1(record.block, usedforsecurity=False).digest()).decode() == value.upper()


def _lost(offset: int, length: int, detail: str) -> Record:
    return Record(offset, length, "unknown", {}, None, "corrupt_record", detail)


def _gap(data: Buffer, offset: int, following: int | None) -> Iterator[Record]:
    """Bytes between records: a lost record, unless they are too few for one or mere padding."""
    length = (following if following is not None else len(data)) - offset
    if length >= MIN_RECORD_BYTES and any(data[offset : offset + INFLATE_STEP]):
        yield _lost(offset, length, "no WARC record here")


class _Range(io.RawIOBase):
    """Bytes [start, end) of the file as a stream, without holding them."""

    def __init__(self, data: Buffer, start: int, end: int) -> None:
        self._data, self._start, self._end, self._position = data, start, end, start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self._position - self._start

    def readinto(self, buffer: "io._WriteableBuffer") -> int:  # type: ignore[name-defined]
        target = memoryview(buffer).cast("B")
        piece = self._data[self._position : min(self._position + len(target), self._end)]
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


# --- Uncompressed ----------------------------------------------------------------------------------------------------


def _plain(data: Buffer, start: int, end: int) -> Iterator[Record]:
    position: int | None = 0
    while position is not None and position < end:
        if data[position : position + len(WARC_MAGIC)] != WARC_MAGIC:
            following = _next_plain(data, position)
            if position >= start:
                yield from _gap(data, position, following)
            position = following
            continue
        following, damage, detail = _plain_end(data, position)
        length = (following if following is not None else len(data)) - position
        if position >= start:
            held = length if length <= MAX_RECORD_BYTES + MAX_HEADER_BYTES and not damage else MAX_HEADER_BYTES
            piece = io.BytesIO(data[position : position + min(held, length)])
            record = next(_parse(piece, position, length), _lost(position, length, "no WARC header here"))
            if damage:
                record = replace(record, block=None, damage=damage, detail=detail)
            elif held < length:
                record = replace(record, block=None, damage=None, detail="")
            yield record
        position = following


def _plain_end(data: Buffer, position: int) -> tuple[int | None, Damage | None, str]:
    """Where reading goes on after the record at `position` (None: nowhere), and what is wrong with this one."""
    header_end, gap = _header_end(data, position)
    if header_end < 0:
        following = _next_plain(data, position + 1)
        return following, "truncated_record" if following is None else "corrupt_record", "the WARC header does not end"
    declared = _CONTENT_LENGTH.search(data[position:header_end])
    if declared is None:
        return _next_plain(data, header_end), "corrupt_record", "the WARC header has no Content-Length"
    stop = header_end + gap + int(declared[1])
    if stop <= len(data):
        while data[stop : stop + 1] in (b"\r", b"\n"):
            stop += 1
        if stop == len(data):
            return None, None, ""
        if data[stop : stop + len(WARC_MAGIC)] == WARC_MAGIC:
            return stop, None, ""
    following = _next_plain(data, header_end)
    if stop > len(data) and following is None:
        return None, "truncated_record", "the file ends inside the record"
    if following is not None and following < stop:
        return following, "corrupt_record", "Content-Length reaches into the next record"
    return stop, None, ""  # whole as declared; what lies between it and the next record is reported as a gap


def _header_end(data: Buffer, position: int) -> tuple[int, int]:
    """Offset of the empty line that ends a header (-1: none) and the length of that line end."""
    limit = position + MAX_HEADER_BYTES
    strict, loose = data.find(b"\r\n\r\n", position, limit), data.find(b"\n\n", position, limit)
    if strict >= 0 and (loose < 0 or strict < loose):
        return strict, 4
    return loose, 2


def _next_plain(data: Buffer, position: int) -> int | None:
    """Offset of the next line that opens a WARC header, after `position`."""
    while True:
        position = data.find(b"\n" + WARC_MAGIC, position)
        if position < 0:
            return None
        position += 1
        if b"\nWARC-Type:" in data[position : position + MAX_HEADER_BYTES]:
            return position


# --- What is inside --------------------------------------------------------------------------------------------------


def _parse(stream: io.IOBase, offset: int, length: int, compressed: bool = False) -> Iterator[Record]:
    """The records in a stream of WARC; all of them get the place of the whole.

    Several come only from files that were compressed as one stream, against the standard's advice (WARC 1.1, annex D):
    they cannot be read apart. A block shorter than its Content-Length makes the record damaged.
    """
    from fastwarc import ArchiveIterator

    quirks = not compressed and _line_feeds_only(stream)
    try:
        for parsed in ArchiveIterator(stream, parse_http=False, stream_detect=compressed, quirks_mode=quirks):
            headers: dict[str, str] = {}
            for name, value in parsed.headers.items():
                headers.setdefault(name.lower(), value)
            kind = headers.get("warc-type", "unknown").strip().lower()
            declared = headers.get("content-length", "").strip()
            if not declared.isdigit():
                yield Record(offset, length, kind, headers, None, "corrupt_record", "no Content-Length")
            elif int(declared) > MAX_RECORD_BYTES:
                yield Record(offset, length, kind, headers, None)
            else:
                block = parsed.reader.read()
                short = len(block) < int(declared)
                yield Record(
                    offset,
                    length,
                    kind,
                    headers,
                    None if short else block,
                    "truncated_record" if short else None,
                    f"{len(block)} of {declared} bytes are there" if short else "",
                )
    except OSError as error:  # FastWARC's word for whatever it cannot parse
        yield _lost(offset, length, str(error))


def _line_feeds_only(stream: io.IOBase) -> bool:
    """Whether the first header ends its lines with LF alone, as some old writers do."""
    line = stream.readline(MAX_HEADER_BYTES)
    stream.seek(0)
    return line.endswith(b"\n") and not line.endswith(b"\r\n")
