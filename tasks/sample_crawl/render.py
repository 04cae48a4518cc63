"""Blocks to HTML: the article of a page. (Navigation, breadcrumbs and footers are laid around it in `site`.)

Headings inside an object's documentation name that object ("Parameters of json.loads"): many objects share a page,
and a reader who lands on a section should know whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape, unescape

from tasks.sample_crawl.blocks import (
    Block,
    Code,
    Definitions,
    Field,
    Fields,
    Formula,
    Heading,
    Items,
    Note,
    Paragraph,
    Table,
)
from tasks.sample_crawl.mathtext import plain_math

# A set of fields whose descriptions are this short reads well as a table; a longer one becomes a definition list.
_TABLE_WORDS = 14

SECTION_TITLES = {
    "Parameters": "Parameters of {}", "Args": "Arguments of {}", "Arguments": "Arguments of {}",
    "Other Parameters": "Other parameters of {}", "Returns": "What {} returns", "Return": "What {} returns",
    "Yields": "What {} yields", "Raises": "Errors raised by {}", "Raise": "Errors raised by {}",
    "Warns": "Warnings given by {}", "Attributes": "Attributes of {}", "Examples": "Examples of {}",
    "Example": "Example of {}", "Notes": "Notes on {}", "Note": "Note on {}", "See Also": "See also, for {}",
    "References": "References for {}", "Methods": "Methods of {}", "Usage": "Usage of {}",
}  # fmt: skip

NOTE_TITLES = {
    "versionadded": "New in version", "versionchanged": "Changed in version", "deprecated": "Deprecated since version",
    "versionremoved": "Removed in version", "seealso": "See also", "note": "Note", "warning": "Warning",
    "tip": "Tip", "important": "Important", "caution": "Caution", "attention": "Attention", "hint": "Hint",
}  # fmt: skip

_INLINE = re.compile(
    r"``(?P<literal>.+?)``"
    r"|:math:`(?P<math>[^`]+)`"
    r"|(?::[\w.+-]+)+:`(?P<role>[^`]+)`"
    r"|`(?P<named>[^`]+?)\s*&lt;(?P<target>[^`&]+(?:&amp;[^`&]+)*)&gt;`__?"
    r"|\[`(?P<mdcode>[^`\]]+)`\](?:\((?P<mdcodeurl>[^)\s]+)\))?"
    r"|`(?P<single>[^`]+)`(?:__?(?!\w))?"
    r"|\[(?P<cite>[\w#*.-]+)\]_(?!\w)"
    r"|\[(?P<md>[^\[\]]+)\]\((?P<mdurl>[^)\s]+)(?:\s+&quot;[^)]*&quot;)?\)"
    r"|\*\*(?P<strong>[^*\s](?:[^*]*[^*\s])?)\*\*"
    r"|(?<![\w*])\*(?P<em>[^*\s](?:[^*]*[^*\s])?)\*(?![\w*])"
    r"|(?P<url>https?://[^\s<>`'\")\]]*[\w/#=])"
    r"|\\(?P<escaped>[`*_|\\ ]|s\b)"
)
_CHOICES = re.compile(r"\{([^{}:]+)\}")
_ROLE_TARGET = re.compile(r"^(.*?)\s*&lt;.*&gt;$", re.DOTALL)


def inline(text: str) -> str:
    """The HTML of one run of text with reST or Markdown inline markup."""
    return _INLINE.sub(_inline_match, escape(text, quote=True).replace("&#x27;", "'"))


def _inline_match(match: re.Match[str]) -> str:
    kind, value = match.lastgroup or "", match[match.lastgroup or 0]
    if kind in ("literal", "single", "mdcode"):
        return f"<code>{value}</code>"
    if kind == "math":
        return f'<span class="math">{escape(plain_math(unescape(value)), quote=False)}</span>'
    if kind == "role":
        titled = _ROLE_TARGET.match(value)
        name = titled[1] if titled else value.lstrip("!")
        if not titled and name.startswith("~"):
            name = name.rpartition(".")[2]
        name = name.lstrip(".~")
        return f"<code>{name.rpartition('._')[2] if '._' in name else name.removeprefix('_')}</code>"
    if kind == "target":
        return _link(match["named"], value)
    if kind == "mdcodeurl":
        return _link(f"<code>{match['mdcode']}</code>", value)
    if kind == "mdurl":
        return _link(match["md"], value)
    if kind == "cite":
        return f'<a class="footnote" href="#ref-{value}">[{value}]</a>'
    if kind in ("strong", "em"):
        return f"<{kind}>{value}</{kind}>"
    if kind == "url":
        return _link(value, value)
    return "" if value == " " else value


def _link(text: str, target: str) -> str:
    if target.startswith(("http://", "https://", "#")):
        return f'<a href="{target}">{text}</a>'
    return text


def blocks_html(blocks: Iterable[Block], owner: str, level: int) -> str:
    """The HTML of `blocks`; `owner` names the documented object in section titles, `level` is their heading level."""
    return "\n".join(filter(None, (_block(block, owner, min(level, 6)) for block in blocks)))


def _block(block: Block, owner: str, level: int) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{inline(block.text)}</p>"
    if isinstance(block, Code):
        return f'<div class="highlight"><pre>{escape(block.text, quote=False)}\n</pre></div>'
    if isinstance(block, Formula):
        return f'<div class="math">{escape(block.text, quote=False)}</div>'
    if isinstance(block, Heading):
        depth = min(level + block.level - 1, 6)
        return f"<h{depth}>{inline(_titled(block.text, owner))}</h{depth}>"
    if isinstance(block, Items):
        tag = "ol" if block.ordered else "ul"
        items = "\n".join(f"<li>{_tight(item, owner, level)}</li>" for item in block.items)
        return f"<{tag}>\n{items}\n</{tag}>"
    if isinstance(block, Definitions):
        return _definition_list((inline(term), body) for term, body in block.entries)
    if isinstance(block, Fields):
        return _fields(block, owner, level)
    if isinstance(block, Note):
        return _note(block, owner, level)
    return _table(block)


def _titled(title: str, owner: str) -> str:
    pattern = SECTION_TITLES.get(title.strip().rstrip(":"))
    return pattern.format(owner) if pattern and owner else title


def _tight(blocks: Iterable[Block], owner: str, level: int) -> str:
    """A body whose only paragraph needs no <p> of its own (list items, cells)."""
    held = tuple(blocks)
    if len(held) == 1 and isinstance(held[0], Paragraph):
        return inline(held[0].text)
    return blocks_html(held, owner, level + 1)


def _definition_list(entries: Iterable[tuple[str, tuple[Block, ...]]]) -> str:
    body = "\n".join(f"<dt>{term}</dt>\n<dd>{blocks_html(blocks, '', 6)}</dd>" for term, blocks in entries)
    return f"<dl>\n{body}\n</dl>"


def _fields(block: Fields, owner: str, level: int) -> str:
    if not block.rows:
        return ""
    title = f"<h{level}>{inline(_titled(block.title, owner))}</h{level}>\n"
    if len(block.rows) == 1 and not block.rows[0].name and not block.rows[0].type:
        return title + blocks_html(block.rows[0].blocks, "", 6)
    if all(_is_short(row) for row in block.rows):
        cells = "\n".join(
            f"<tr><td><code>{escape(row.name or row.type)}</code></td>"
            f"<td>{inline(_choices(row.type) if row.name else '')}</td>"
            f"<td>{_tight(row.blocks, '', 6)}</td></tr>"
            for row in block.rows
        )
        return f'{title}<table class="fields"><tbody>\n{cells}\n</tbody></table>'
    items = "\n".join(f"<li>{_field(row)}</li>" for row in block.rows)
    return f'{title}<ul class="field-list">\n{items}\n</ul>'


def _is_short(row: Field) -> bool:
    if len(row.blocks) > 1:
        return False
    return all(isinstance(block, Paragraph) and len(block.text.split()) <= _TABLE_WORDS for block in row.blocks)


def _field(row: Field) -> str:
    """`name (type) – description`, on one line as documentation generators set it."""
    name = f"<strong>{escape(row.name)}</strong>" if row.name else ""
    kind = f"({inline(_choices(row.type))})" if row.type else ""
    head = " ".join(filter(None, (name, kind)))
    if row.blocks and isinstance(row.blocks[0], Paragraph):
        return f"{head} – {inline(row.blocks[0].text)}\n{blocks_html(row.blocks[1:], '', 6)}".strip()
    return f"{head}\n{blocks_html(row.blocks, '', 6)}".strip()


def _choices(kind: str) -> str:
    """numpydoc's `{'a', 'b'}` in words."""
    return _CHOICES.sub(r"one of \1", kind)


def _note(block: Note, owner: str, level: int) -> str:
    title = NOTE_TITLES.get(block.kind, block.kind.replace("-", " ").capitalize())
    if block.kind.startswith(("version", "deprecated")):
        return _version_note(block, title, level)
    head, rest = "", block.blocks
    paragraphs = [each.text for each in block.blocks if isinstance(each, Paragraph)]
    if block.kind == "seealso" and len(paragraphs) == len(block.blocks):
        head, rest = ", ".join(map(inline, paragraphs)), ()  # names, a paragraph each: one line says it
    elif rest and isinstance(rest[0], Paragraph):
        head, rest = inline(rest[0].text), rest[1:]
    elif owner:
        title = f"{title} on {escape(owner)}"
    return (
        f'<div class="admonition {escape(block.kind)}"><p><strong>{title}:</strong> {head}</p>\n'
        f"{blocks_html(rest, owner, level + 1)}</div>"
    )


def _version_note(block: Note, title: str, level: int) -> str:
    version, _, text = block.argument.partition(" ")
    rest = block.blocks
    if rest and isinstance(rest[0], Paragraph):
        text, rest = f"{text} {rest[0].text}", rest[1:]
    said = f": {inline(text.strip())}" if text.strip() else "."
    head = f'<p><span class="versionmodified">{title} {escape(version)}</span>{said}</p>'
    return f'<div class="{block.kind}">{head}{blocks_html(rest, "", level + 1)}</div>'


def _table(block: Table) -> str:
    rows = list(block.rows)
    head = ""
    if block.has_header and len(rows) > 1:
        cells = "".join(f"<th>{inline(cell)}</th>" for cell in rows.pop(0))
        head = f"<thead><tr>{cells}</tr></thead>"
    body = "\n".join("<tr>" + "".join(f"<td>{inline(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{head}<tbody>\n{body}\n</tbody></table>"
