"""READMEs and licence texts to blocks: the part of Markdown that project descriptions use, and plain text.

Badges, images and raw HTML are dropped, as they carry no prose; everything else keeps its order.
"""

from __future__ import annotations

import re

from tasks.sample_crawl.blocks import Block, Code, Heading, Items, Paragraph, Table

_ATX = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")
_SETEXT = re.compile(r"(=+|-+)\s*$")
_BULLET = re.compile(r"( {0,3})([-*+]|\d{1,3}[.)])\s+(?=\S)")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_IMAGE = re.compile(r"\[?!\[[^\]]*\]\s*[(\[][^)\]]*[)\]](?:\]\s*[(\[][^)\]]*[)\]])?")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
_LINK_TARGET = re.compile(r" {0,3}\[[^\]]+\]:\s+\S+")
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)+\|?\s*$")


def parse(text: str) -> list[Block]:
    """The blocks of a Markdown text."""
    lines = _IMAGE.sub("", text.replace("\r\n", "\n")).expandtabs(4).split("\n")
    out: list[Block] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        fence = _FENCE.match(line)
        if not line.strip() or _LINK_TARGET.match(line):
            at += 1
        elif fence:
            at, block = _code(lines, at + 1, fence[1])
            out.extend(block)
        elif heading := _ATX.match(line):
            out.extend(_heading(heading[2], len(heading[1])))
            at += 1
        elif at + 1 < len(lines) and _SETEXT.match(lines[at + 1]) and not _BULLET.match(line) and "|" not in line:
            out.extend(_heading(line, 1 if lines[at + 1].startswith("=") else 2))
            at += 2
        elif "|" in line and at + 1 < len(lines) and _TABLE_RULE.match(lines[at + 1]):
            at, block = _table(lines, at)
            out.extend(block)
        elif _BULLET.match(line):
            at, block = _list(lines, at)
            out.extend(block)
        elif line.startswith("    "):
            start = at
            while at < len(lines) and (line := lines[at], not line.strip() or line.startswith("    "))[1]:
                at += 1
            out.append(Code("\n".join(part[4:].rstrip() for part in lines[start:at]).strip("\n")))
        else:
            start = at
            at += 1
            while at < len(lines) and not _starts_block(lines, at):
                at += 1
            paragraph = _plain(" ".join(part.strip().lstrip("> ") for part in lines[start:at]))
            if paragraph:
                out.append(Paragraph(paragraph))
    return out


def parse_plain(text: str) -> list[Block]:
    """The blocks of a text without markup (licences): paragraphs between blank lines, short lone lines as headings."""
    out: list[Block] = []
    for chunk in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").expandtabs(4)):
        lines = [line.strip() for line in chunk.split("\n") if line.strip()]
        joined = " ".join(line for line in lines if not re.fullmatch(r"[-=*_~ ]{3,}", line))
        if not joined:
            continue
        if len(lines) == 1 and len(joined) < 60 and (joined.isupper() or joined.istitle()):
            out.append(Heading(joined, 2))
        else:
            out.append(Paragraph(joined))
    return out


def _plain(text: str) -> str:
    return " ".join(_TAG.sub("", text).split())


def _heading(text: str, level: int) -> list[Block]:
    title = _plain(text)
    return [Heading(title, level)] if title else []


def _starts_block(lines: list[str], at: int) -> bool:
    line = lines[at]
    if not line.strip() or _ATX.match(line) or _FENCE.match(line) or _BULLET.match(line):
        return True
    return at + 1 < len(lines) and bool(_SETEXT.match(lines[at + 1])) and len(lines[at + 1].strip()) > 2


def _code(lines: list[str], at: int, fence: str) -> tuple[int, list[Block]]:
    start = at
    while at < len(lines) and not lines[at].lstrip().startswith(fence):
        at += 1
    body = "\n".join(line.rstrip() for line in lines[start:at]).strip("\n")
    return at + 1, [Code(body)] if body else []


def _table(lines: list[str], at: int) -> tuple[int, list[Block]]:
    rows = [_cells(lines[at])]
    at += 2
    while at < len(lines) and "|" in lines[at]:
        rows.append(_cells(lines[at]))
        at += 1
    return at, [Table(tuple(rows))]


def _cells(line: str) -> tuple[str, ...]:
    return tuple(_plain(cell) for cell in line.strip().strip("|").split("|"))


def _list(lines: list[str], at: int) -> tuple[int, list[Block]]:
    items: list[tuple[Block, ...]] = []
    first = _BULLET.match(lines[at])
    ordered = bool(first) and lines[at].strip()[0].isdigit()
    while at < len(lines) and (match := _BULLET.match(lines[at])):
        body = [lines[at][match.end() :]]
        at += 1
        while at < len(lines):
            line = lines[at]
            if line.strip() and not line.startswith("  ") and (not lines[at - 1].strip() or _starts_block(lines, at)):
                break
            if not line.strip() and at + 1 < len(lines) and not lines[at + 1].startswith("  "):
                break
            body.append(line[min(4, len(line) - len(line.lstrip())) :])
            at += 1
        if blocks := tuple(parse("\n".join(body))):
            items.append(blocks)
        while at < len(lines) and not lines[at].strip():
            at += 1
    return at, [Items(tuple(items), ordered)] if items else []
