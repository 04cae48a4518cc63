"""Documented objects to pages: what stands together, what gets a page of its own, and each page's article as HTML.

A module whose documentation is short is one page. A long one is split as documentation sites do: large classes and
functions get pages of their own, large methods of large classes too, and the module's page keeps the rest with a table
of contents. Modules with next to nothing to say share a page with their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape

from tasks.sample_crawl.blocks import Block, Code, Field, Fields, Heading, Note, Paragraph, first_sentence, prose_words
from tasks.sample_crawl.docmarkup import parse
from tasks.sample_crawl.docstrings import DocObject
from tasks.sample_crawl.render import blocks_html, inline

# An object's documentation up to this many words of prose stays on one page (three screens).
PAGE_WORDS = 900
# On a longer one, a member with this many words of its own moves to a page of its own.
OWN_PAGE_WORDS = 280
# Longer code blocks, and those with braces (which the usual rules take for a sign of a script), move to the module's
# page of examples, so that articles stay prose.
INLINE_CODE_LINES = 8
# A paragraph of fewer words may stand on a page twice ("Returns self.").
_MIN_REPEATED_WORDS = 4
# A page of examples with fewer lines than this is not made: the code is left out.
MIN_EXAMPLE_LINES = 60
# Rows of a page's table of contents.
MAX_CONTENTS = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """An object with its docstring parsed; `total` counts the words of prose of its members too."""

    item: DocObject
    blocks: tuple[Block, ...]
    members: tuple[Entry, ...]
    words: int
    total: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page before navigation is laid around it. `name` is its address inside the distribution, without ".html"."""

    kind: str
    name: str
    title: str
    parent: str  # dotted path of what it belongs to, for breadcrumbs
    sections: tuple[tuple[Entry, int], ...] = ()  # (entry, heading level)
    contents: tuple[Entry, ...] = ()
    extra: tuple[tuple[str, tuple[Block, ...]], ...] = ()  # (heading, blocks) for pages not made from objects
    words: int = field(default=0, compare=False)


def make_entry(item: DocObject) -> Entry:
    """Parse the docstrings of `item` and of its members."""
    blocks = tuple(parse(item.doc)) if item.doc else ()
    members = tuple(make_entry(member) for member in item.members)
    words = prose_words(blocks)
    return Entry(item, blocks, members, words, words + sum(member.total for member in members))


def paginate(entry: Entry, parent: str = "") -> Iterator[Page]:
    """The pages of one module, class or function, outermost first."""
    item = entry.item
    if entry.total <= PAGE_WORDS or not entry.members:
        yield Page(item.kind, item.path, item.path, parent, tuple(_flat(entry, 1)), words=entry.total)
        return
    moved = [member for member in entry.members if member.total >= OWN_PAGE_WORDS]
    moved_paths = {member.item.path for member in moved}
    sections: list[tuple[Entry, int]] = [(replace(entry, members=()), 1)]
    for member in entry.members:
        if member.item.path not in moved_paths:
            sections.extend(_flat(member, 2))
    for number, chunk in enumerate(_chunks(sections), start=1):
        words = sum(held.words for held, _ in chunk)
        if number == 1:
            yield Page(item.kind, item.path, item.path, parent, tuple(chunk), tuple(moved[:MAX_CONTENTS]), words=words)
        else:
            title = f"{item.path}, part {number}"
            yield Page(item.kind, f"{item.path}-{number}", title, item.path, tuple(chunk), words=words)
    for member in moved:
        yield from paginate(member, item.path)


def examples_page(module: Entry) -> Page | None:
    """The code blocks of a module that are too long for its articles, or None when they are few."""
    held = [(entry, code) for entry, _ in _flat(module, 1) if (code := tuple(filter(_is_example, entry.blocks)))]
    if sum(block.text.count("\n") for _, code in held for block in code if isinstance(block, Code)) < MIN_EXAMPLE_LINES:
        return None
    path = module.item.path
    extra = tuple((entry.item.path, tuple(code)) for entry, code in held)
    return Page("examples", f"{path}.examples", f"Examples: {path}", path, extra=extra)


def gather(entries: Iterable[Entry], min_words: int) -> tuple[list[Page], int]:
    """Shared pages for modules of fewer than `min_words` words; -> (pages, modules left out).

    Modules go to a page of their package; what is still too little there goes to the package above.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.item.path.rpartition(".")[0], []).append(entry)
    pages: list[Page] = []
    dropped = 0
    while groups:
        package = max(groups, key=lambda name: (name.count("."), name))  # the deepest first
        held = sorted(groups.pop(package), key=lambda entry: entry.item.path)
        if sum(entry.total for entry in held) < min_words:
            if package:
                groups.setdefault(package.rpartition(".")[0], []).extend(held)
            else:
                dropped += len(held)
            continue
        sections = [section for entry in held for section in _flat(entry, 2)]
        name = package or "modules"
        for number, chunk in enumerate(_chunks(sections), start=1):
            title = f"Smaller modules of {name}" if package else "Smaller modules"
            suffix = "" if number == 1 else f", part {number}"
            words = sum(entry.words for entry, _ in chunk)
            pages.append(
                Page("gathered", f"{name}.smaller-{number}", title + suffix, package, tuple(chunk), words=words)
            )
    return pages, dropped


def article(page: Page, archived: bool = False) -> str:
    """The article of `page`. An archived version lacks what newer ones added: version notes and the last section."""
    parts: list[str] = []
    sections = page.sections[:-1] if archived and len(page.sections) > 4 else page.sections
    if not sections or sections[0][1] != 1:
        parts.append(f"<h1>{escape(page.title)}</h1>")
    seen: set[Block | Field] = set()
    for entry, level in sections:
        parts.append(_section(entry, level, archived, seen))
    if page.contents:
        parts.append(_contents(page.contents))
    for heading, blocks in page.extra:
        if heading:
            parts.append(f"<h2>{escape(heading)}</h2>")
        parts.append(blocks_html(blocks, "", 2))
    return "\n".join(parts)


def _flat(entry: Entry, level: int) -> Iterator[tuple[Entry, int]]:
    """`entry` and its members, each as a section of its own; headings go no deeper than h3."""
    if entry.blocks or entry.members:
        yield replace(entry, members=()), level
    for member in entry.members:
        yield from _flat(member, min(level + 1, 3))


def _chunks(sections: Sequence[tuple[Entry, int]]) -> Iterator[list[tuple[Entry, int]]]:
    chunk: list[tuple[Entry, int]] = []
    words = 0
    for section in sections:
        if chunk and words + section[0].words > PAGE_WORDS:
            yield chunk
            chunk, words = [], 0
        chunk.append(section)
        words += section[0].words
    if chunk:
        yield chunk


def _is_example(block: Block) -> bool:
    return isinstance(block, Code) and (block.text.count("\n") >= INLINE_CODE_LINES or "{" in block.text)


def _section(entry: Entry, level: int, archived: bool, seen: set[Block | Field]) -> str:
    item = entry.item
    owner = item.name if item.name != "__init__" else item.path.rsplit(".", 2)[-2]
    blocks = [block for block in entry.blocks if not (_is_example(block) or (archived and _is_version_note(block)))]
    parts = [f'<h{level} id="{escape(item.path)}">{escape(_heading(item, level))}</h{level}>']
    if item.signature:
        parts.append(f'<pre class="signature">{escape(item.signature)}</pre>')
    parts.append(blocks_html(_without_repeats(blocks, owner, seen), owner, level + 1))
    return "\n".join(filter(None, parts))


def _without_repeats(blocks: Iterable[Block], owner: str, seen: set[Block | Field]) -> list[Block]:
    """`blocks` without what the page has said before, and without headings that nothing follows any more.

    Members of a class repeat each other's parameters and notes; gathered on one page, once is enough.
    """
    out: list[Block] = []
    for block in blocks:
        if isinstance(block, Fields):
            fresh = tuple(row for row in block.rows if row not in seen)
            seen.update(block.rows)
            if fresh or not block.rows:
                out.append(Fields(block.title, fresh))
            elif block.title not in ("Returns", "Return"):
                out.append(Paragraph(f"The {block.title.lower()} of {owner} are those described above."))
            continue
        if block in seen and not isinstance(block, Heading):
            continue
        if not isinstance(block, Paragraph) or len(block.text.split()) >= _MIN_REPEATED_WORDS:
            seen.add(block)
        if isinstance(block, Heading) and out and isinstance(out[-1], Heading) and out[-1].level >= block.level:
            out.pop()
        out.append(block)
    while out and isinstance(out[-1], Heading):
        out.pop()
    return out


def _is_version_note(block: Block) -> bool:
    return isinstance(block, Note) and block.kind.startswith("version")


def _heading(item: DocObject, level: int) -> str:
    if item.name == "__init__":
        return f"Constructor of {item.path.rsplit('.', 2)[-2]}"
    if level == 1 or item.kind != "method":
        return item.path
    return ".".join(item.path.rsplit(".", 2)[-2:])


def _contents(entries: Iterable[Entry]) -> str:
    rows = "\n".join(
        f'<tr><td><a href="{escape(entry.item.path)}.html">{escape(entry.item.name)}</a></td>'
        f"<td>{inline(first_sentence(entry.blocks))}</td></tr>"
        for entry in entries
    )
    return f'<table class="autosummary"><tbody>\n{rows}\n</tbody></table>'
