"""The structure of a piece of documentation, whatever markup it was written in.

`docmarkup` and `markdown` produce these blocks, `render` turns them into HTML. Text inside a block still carries
its inline markup (backquotes, roles, links); `render.inline` resolves that last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running prose: one or more sentences on one logical line."""

    text: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A section title inside a docstring or README; level 1 is the highest within that text."""

    text: str
    level: int


@dataclass(frozen=True, slots=True)
class Code:
    """Preformatted text: source code, doctests, tables drawn with characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Formula:
    """A displayed formula, in plain characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A bulleted or numbered list; each item is itself a sequence of blocks."""

    items: tuple[tuple[Block, ...], ...]
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Definitions:
    """Terms with their explanations."""

    entries: tuple[tuple[str, tuple[Block, ...]], ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter, return value, exception or attribute."""

    name: str
    type: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """A titled set of fields ("Parameters", "Returns", "Raises" ...)."""

    title: str
    rows: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """An admonition ("note", "warning", "versionadded" ...); `argument` is what stands beside its name."""

    kind: str
    argument: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A ruled table; the first row is its header when `has_header`."""

    rows: tuple[tuple[str, ...], ...]
    has_header: bool = True


Block = Paragraph | Heading | Code | Formula | Items | Definitions | Fields | Note | Table


def walk(blocks: Iterable[Block]) -> Iterator[Block]:
    """Every block of `blocks`, outer before inner, in reading order."""
    for block in blocks:
        yield block
        if isinstance(block, Items):
            for item in block.items:
                yield from walk(item)
        elif isinstance(block, Definitions):
            for _, body in block.entries:
                yield from walk(body)
        elif isinstance(block, Fields):
            for row in block.rows:
                yield from walk(row.blocks)
        elif isinstance(block, Note):
            yield from walk(block.blocks)


def prose_words(blocks: Iterable[Block]) -> int:
    """Whitespace-delimited words in the paragraphs of `blocks`; code, tables and headings do not count."""
    return sum(len(block.text.split()) for block in walk(blocks) if isinstance(block, Paragraph))


def first_sentence(blocks: Iterable[Block]) -> str:
    """The first sentence of the first paragraph, or "" when there is none."""
    for block in walk(blocks):
        if isinstance(block, Paragraph):
            end = block.text.find(". ")
            return block.text if end < 0 else block.text[: end + 1]
    return ""
