"""The records of a byte range of a crawl's file, whatever format it has and whatever state it is in.

A file is WARC (WET and WAT are that too) or ARC, compressed member by member, as one stream, or not at all. Everything
that is there comes out: a record, or a stretch that should have been one, with its place. The rule for damage: believe
the bytes before the header. A record that is cut off keeps what is there and says so; one whose bytes are wrong loses
its block, unless its own digest says that nothing is wrong with it; a false length is mended where the next record
shows what it should have been. Reading goes on at the next sound record.

A record belongs to the range in which its first byte lies (compressed: its member's), and what follows it and is no
record belongs to the same range, so that ranges that cover a file give every record once.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from infra.stage.source import mapped
from tasks.extract.arc import ARC
from tasks.extract.chain import Chain
from tasks.extract.grammar import Grammar
from tasks.extract.members import (
    GZIP_MAGIC,
    INFLATE_STEP,
    OPENING_BYTES,
    Buffer,
    Inflated,
    Member,
    OverBudget,
    cut_at,
    ends_with_size,
    next_holding,
    next_member,
    opens_record,
    read_member,
)
from tasks.extract.provenance import digest_fits
from tasks.extract.walk import Damage, Stretch, too_large, walk
from tasks.extract.warc import WARC

FORMATS = (WARC, ARC)
HEAD_BYTES = 8192  # of a file, enough to tell its format
SEARCHED_BYTES = 1 << 20  # of a file whose beginning is damaged, searched for its first record
MIN_RECORD_BYTES = 64  # the shortest header alone is longer; fewer stray bytes are no lost record
# How far before a border of an uncompressed file a record is looked for whose length leads over it. Only a page that
# is itself an uncompressed file of a crawl, and longer than this, could be taken for records.
RUN_UP_BYTES = 1 << 20
PADDING = b"\0\r\n\t "
LABYRINTH = "its records are too broken to find a way through them"
_EMPTY_LINE = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Record:
    """One record, or a stretch of the file that should have been one."""

    offset: int
    """First byte of its gzip member (compressed) or of its header (uncompressed)."""
    length: int
    """Bytes of the file that hold it: read alone they give the record back."""
    kind: str
    """WARC-Type in lower case; `unknown` when it cannot be read."""
    headers: dict[str, str]
    """WARC header fields, names in lower case; the first of repeated ones. An ARC record has those it can have."""
    block: bytes | None
    """Everything after the header, as far as it is there. None when its bytes are wrong, or too many to be held."""
    damage: Damage | None = None
    detail: str = ""
    """What is wrong with it, or was and has been mended."""


def part_borders(size: int, part_bytes: int) -> list[tuple[int, int]]:
    """Cut a file of `size` bytes into ranges [start, end) of `part_bytes`, the last one shorter.

    >>> part_borders(10, 4)
    [(0, 4), (4, 8), (8, 10)]
    """
    return [(start, min(start + part_bytes, size)) for start in range(0, size, part_bytes)]


def format_of(head: bytes) -> str | None:
    """`warc` or `arc` when a file that begins with these bytes (some kB of them) is one, compressed or not."""
    grammar = _grammar_at(head, 0)
    return grammar.name if grammar else None


def _grammar_at(data: Buffer, offset: int) -> Grammar | None:
    head = data[offset : offset + OPENING_BYTES]
    if head.startswith(GZIP_MAGIC):
        return next((grammar for grammar in FORMATS if opens_record(head, 0, grammar.opens)), None)
    return next((grammar for grammar in FORMATS if grammar.opens(head)), None)


def _first_record(data: Buffer) -> tuple[Grammar, bool]:
    """The format of a file and whether it is compressed, by its first bytes or, where these are damaged, the next."""
    grammar = _grammar_at(data, 0)
    if grammar:
        return grammar, data[: len(GZIP_MAGIC)] == GZIP_MAGIC
    head = data[:SEARCHED_BYTES]
    found = []
    for grammar in FORMATS:
        found.append((grammar.next_opening(head, 0), grammar, False))
        found.append((_first_member(head, grammar), grammar, True))
    sound = [(offset, grammar, compressed) for offset, grammar, compressed in found if offset is not None]
    _, grammar, compressed = min(sound, key=lambda one: one[0], default=(0, WARC, True))
    return grammar, compressed


def _first_member(head: bytes, grammar: Grammar) -> int | None:
    offset = head.find(GZIP_MAGIC)
    while offset >= 0 and not opens_record(head, offset, grammar.opens):
        offset = head.find(GZIP_MAGIC, offset + 1)
    return offset if offset >= 0 else None


def read_records(file: Path | Buffer, start: int, end: int) -> Iterator[Record]:
    """The records whose first byte lies in [start, end), in file order, damaged stretches included.

    Raises:
        OSError: the file cannot be opened or read.
    """
    if isinstance(file, Path):
        with mapped(file) as data:
            yield from read_records(data, start, end)
        return
    grammar, compressed = _first_record(file)
    yield from (_compressed if compressed else _plain)(file, start, min(end, len(file)), grammar)


# --- Compressed ------------------------------------------------------------------------------------------------------


def _compressed(data: Buffer, start: int, end: int, grammar: Grammar) -> Iterator[Record]:
    opens = grammar.opens
    position = 0 if start == 0 else next_member(data, start, opens)
    ahead: Member | None = None  # the member at `position`, when it has been read already
    # What follows a record of this range and begins none is this range's, too: the next one starts at its first record.
    while position is not None and (
        position < end or (position < len(data) and not opens_record(data, position, opens))
    ):
        member, ahead = ahead, None
        if member is None and data[position : position + len(GZIP_MAGIC)] == GZIP_MAGIC:
            member = read_member(data, position)
        begins = member is not None and opens(member.data[:OPENING_BYTES])
        goes = begins or position == 0  # what a record's place alone is read from may begin within the one before
        if member is not None and member.end is not None and (goes or _holds_record(member, grammar)):
            chain = Chain(data, position, member, grammar, end)
            yield from _in_chain(chain, position)
            position, ahead = chain.end, chain.ahead
            continue
        following = _next_start(data, position + 1, grammar)
        if member is not None and begins:
            yield from _in_damaged_member(data, position, following, member, grammar)
        else:
            yield from _gap(data, position, following)
        position = following


def _next_start(data: Buffer, offset: int, grammar: Grammar) -> int | None:
    """Where reading can go on: at the next member that begins with a record, or holds one and is sound."""
    following = next_member(data, offset, grammar.opens, offset - 1)
    until = len(data) if following is None else following
    holding = next_holding(data, offset, until, lambda member: _holds_record(member, grammar))
    return following if holding is None else holding


def _holds_record(member: Member, grammar: Grammar) -> bool:
    """Whether there is a record in a member that does not begin with one: it was spoilt before it was packed."""
    return grammar.next_opening(member.data, 0) is not None


def _in_chain(chain: Chain, offset: int) -> Iterator[Record]:
    try:
        for stretch in chain.stretches():
            yield from _record(chain.content, stretch, *chain.place(stretch))
    except OverBudget:
        yield _lost(offset, chain.end - offset, LABYRINTH)


def _in_damaged_member(
    data: Buffer, offset: int, following: int | None, member: Member, grammar: Grammar
) -> Iterator[Record]:
    """What is left of a member that does not end.

    Where bytes are merely missing, what was inflated is right, and the last record is cut. Where they are wrong,
    inflating goes on for a while and gives rubbish: then the last record counts only if its own digest says so, and the
    ones before it unless theirs speak against them.
    """
    end = len(data) if following is None else following
    length, broken, problem = end - offset, member.broken, member.problem
    content: Buffer = member.data if member.whole else Inflated(data, offset, member)
    if broken and following is not None and (cut := cut_at(data, offset, following)) is not None:
        content, broken, problem = cut, False, "another record begins inside the record"
    last: Stretch | None = None
    try:
        for stretch in walk(content, 0, grammar):
            if last is not None:
                for record in _record(content, last, offset, length):
                    yield _without_block(record, problem) if broken and _digest_fits(record) is False else record
            last = stretch
    except OverBudget:
        yield _lost(offset, length, LABYRINTH)
    if last is None:
        yield _lost(offset, length, problem)
        return
    for record in _record(content, last, offset, length):
        if _digest_fits(record):
            yield replace(record, damage=None, detail=problem)
        elif broken or _is_rubbish(data, end, last, grammar):
            yield _without_block(record, problem)
        else:
            yield replace(record, detail=problem)


def _is_rubbish(data: Buffer, end: int, last: Stretch, grammar: Grammar) -> bool:
    """Whether the last record of a member that does not end was spoilt, though inflating it made no error.

    A wrong bit can hide the end of the compressed data. Then the trailer is there and tells the size that the record
    declares, or more comes out than is declared.
    """
    if last.header is None or last.header.length is None:
        return False  # there is no telling
    size = last.start + last.header.size + last.header.length + len(grammar.tail)
    return ends_with_size(data, end, size) or last.end > size


def _without_block(record: Record, problem: str) -> Record:
    return replace(record, block=None, damage="corrupt_record", detail=problem)


def _digest_fits(record: Record) -> bool | None:
    """Whether the record's sha1 fits, of the block or of the HTTP body in it; None: there is none."""
    if record.block is None:
        return None
    declared = record.headers.get("warc-block-digest", "")
    if declared:
        return digest_fits(declared, hashlib.sha1(record.block, usedforsecurity=False).digest())
    declared = record.headers.get("warc-payload-digest", "")
    head = _EMPTY_LINE.search(record.block)
    body = record.block[head.end() :] if head and record.block.startswith(b"HTTP/") else record.block
    return digest_fits(declared, hashlib.sha1(body, usedforsecurity=False).digest()) if declared else None


def _gap(data: Buffer, offset: int, following: int | None) -> Iterator[Record]:
    end = len(data) if following is None else following
    yield from _record(data, Stretch(offset, end), offset, end - offset)


# --- Uncompressed ----------------------------------------------------------------------------------------------------


def _plain(data: Buffer, start: int, end: int, grammar: Grammar) -> Iterator[Record]:
    run_up = max(0, start - RUN_UP_BYTES)
    position = grammar.next_opening(data, run_up) if run_up else 0
    if position is None:
        return
    mine = start == 0  # the record before, or the beginning of the file
    for stretch in walk(data, position, grammar):
        if not stretch.is_gap:
            mine = stretch.start >= start
        if stretch.start >= end and not (stretch.is_gap and mine):
            return
        if mine:
            yield from _record(data, stretch, stretch.start, stretch.end - stretch.start)


# --- Both ------------------------------------------------------------------------------------------------------------


def _record(content: Buffer, stretch: Stretch, offset: int, length: int) -> Iterator[Record]:
    """The record of a stretch; none for a gap that is too small for one, or mere padding."""
    if stretch.is_gap:
        piece = content[stretch.start : min(stretch.end, stretch.start + INFLATE_STEP)]
        if stretch.end - stretch.start >= MIN_RECORD_BYTES and piece.strip(PADDING):
            yield _lost(offset, length, "no record here")
        return
    fields = stretch.header.fields if stretch.header else {}
    held = stretch.block is not None and not too_large(stretch.block)
    yield Record(
        offset,
        length,
        fields.get("warc-type", "unknown").lower(),
        fields,
        content[slice(*stretch.block)] if stretch.block and held else None,
        stretch.damage,
        stretch.detail,
    )


def _lost(offset: int, length: int, detail: str) -> Record:
    return Record(offset, length, "unknown", {}, None, "corrupt_record", detail)
