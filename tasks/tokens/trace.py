"""From tokens back to the documents they are of.

trace(tokens, "general/train", 1234)            the document of token 1,234 of that stream
row_documents(tokens, position)                 the documents in one row of a training batch
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from infra.errors import BadInput
from infra.store import Artifact
from tasks.tokens.files import TokenFile, token_files


@dataclass(frozen=True)
class TracedDocument:
    """Where a document lies: in the corpus (part, row) and in the token file [token_start, token_end).

    `offset` is the place of the asked-for token inside the document, 0 for its first.
    """

    doc_id: str
    part: int
    row: int
    domain: str
    split: str
    file: str
    token_start: int
    token_end: int
    offset: int


@dataclass(frozen=True)
class Position:
    """Tokens [start, stop) of a split's stream (of one domain, if given), or of these files one after the other."""

    split: str
    start: int
    stop: int
    domain: str | None = None
    files: tuple[TokenFile, ...] | None = None


def parse_stream(name: str) -> tuple[str | None, str]:
    """(domain, split) of "domain/split", or (None, split) of "split": the streams of all domains in a row.

    Raises:
        BadInput: nothing before or after the slash.
    """
    domain, slash, split = name.rpartition("/")
    if not split or (slash and not domain):
        raise BadInput(f"{name!r} is not DOMAIN/SPLIT, such as general/train")
    return (domain if slash else None), split


def trace(tokens: Artifact, stream: str, offset: int) -> TracedDocument:
    """The document of one token.

    Args:
        stream: "domain/split", or "split" for all domains one after the other, as training reads them.
        offset: of the token in that stream, from 0.

    Raises:
        BadInput: no such stream, or it is shorter.
    """
    domain, split = parse_stream(stream)
    (found,) = row_documents(tokens, Position(split, offset, offset + 1, domain))
    return found


def row_documents(tokens: Artifact, position: Position) -> list[TracedDocument]:
    """The documents that a range of a stream touches, in order; `offset` is where the range enters each.

    Raises:
        BadInput: the range is empty or not inside the stream.
    """
    files = position.files or token_files(tokens, position.split, position.domain)
    ends = list(accumulate(file.tokens for file in files))
    if not 0 <= position.start < position.stop <= ends[-1]:
        raise BadInput(
            f"tokens [{position.start}, {position.stop}) are not in {tokens.ref}"
            f" {position.domain or 'all domains'}/{position.split}, which has {ends[-1]} tokens"
        )
    found: list[TracedDocument] = []
    number = bisect.bisect_right(ends, position.start)
    while number < len(files) and ends[number] - files[number].tokens < position.stop:
        before = ends[number] - files[number].tokens
        found += _documents_in(tokens, files[number], max(position.start - before, 0), position.stop - before)
        number += 1
    return found


def _documents_in(tokens: Artifact, file: TokenFile, start: int, stop: int) -> Sequence[TracedDocument]:
    """Documents of one file that touch its tokens [start, stop)."""
    table = tokens.read_part("documents", file.group)
    mine = table.filter(np.asarray(table["file"].to_pylist()) == file.file)
    starts, ends = mine["token_start"].to_numpy(), mine["token_end"].to_numpy()
    first, last = int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(starts, stop, side="left"))
    return [
        TracedDocument(
            **{name: entry[name] for name in ("doc_id", "part", "row", "domain", "split", "file")},
            token_start=entry["token_start"],
            token_end=entry["token_end"],
            offset=max(start - entry["token_start"], 0),
        )
        for entry in mine.slice(first, last - first).to_pylist()
    ]
