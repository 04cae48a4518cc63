"""Docstrings to blocks: reStructuredText, numpydoc, Google style, field lists and plain text, read tolerantly.

One function per construct, tried in order at each line; what nothing recognises is a paragraph. It is not a
validating parser: a docstring with broken markup still becomes readable blocks, because the pages made from it
should look like what documentation sites show.
"""

from __future__ import annotations

import re
from collections.abc import Callable

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
)
from tasks.sample_crawl.codelike import looks_like_code
from tasks.sample_crawl.doctables import grid_table, simple_table
from tasks.sample_crawl.docvocabulary import (
    CODE_DIRECTIVES,
    FIELD_SECTIONS,
    FIELD_TITLES,
    SKIPPED_DIRECTIVES,
    TEXT_SECTIONS,
)
from tasks.sample_crawl.mathtext import plain_math

_UNDERLINE = re.compile(r"([=\-~^*#+\"'`:.])\1{2,}$")
_DIRECTIVE = re.compile(r"\.\.\s+([A-Za-z][\w:-]*?)::\s*(.*)$")
_CITATION = re.compile(r"\.\. \[([\w.#*-]+)\]\s*(.*)$")
_FIELD = re.compile(r"[:@](\w+)((?:\s+[^:]+?)?)\s*:(?:\s+(.*)|$)")
_GOOGLE = re.compile(r"([A-Z][A-Za-z]+(?: [A-Za-z]+)?):\s*$")
_BULLET = re.compile(r"([-*+•])\s+(?=\S)")
_NUMBERED = re.compile(r"(?:\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})\)|(?:\d{1,2}|#)\.)\s+(?=\S)")
_GOOGLE_ITEM = re.compile(r"(\*{0,2}[\w.`,* /-]{1,60}?)\s*(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\))?\s*:(?:\s+(.*)|$)")
_ALERT = re.compile(r"\[!([A-Z]+)\]\s*$")
_PLACEHOLDER = re.compile(r"\s*%\(\w+\)s\s*$")  # text that a decorator would fill in
_MKDOCS_NOTE = re.compile(r"(?:!!!|\?\?\?\+?) (\w+)(?: \"(.*)\")?\s*$")


def parse(text: str) -> list[Block]:
    """The blocks of one docstring, already dedented (`inspect.cleandoc`)."""
    return _Parser([line for line in text.expandtabs(4).split("\n") if not _PLACEHOLDER.match(line)]).blocks()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _dedent(lines: list[str]) -> list[str]:
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    return [line[margin:].rstrip() for line in lines]


def _strip_blank(lines: list[str]) -> list[str]:
    start, end = 0, len(lines)
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return lines[start:end]


class _Parser:
    """A cursor over the lines of one text (or of one indented body inside it)."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0
        # Order matters: the earlier construct wins.
        self.constructs: tuple[Callable[[str], list[Block] | None], ...] = (
            self._indented, self._fence, self._quote, self._mkdocs_note, self._directive, self._doctest, self._heading,
            self._table, self._google,
            self._fields, self._list, self._definition,
        )  # fmt: skip

    def blocks(self) -> list[Block]:
        out: list[Block] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip():
                self.at += 1
                continue
            for construct in self.constructs:
                found = construct(line)
                if found is not None:
                    out.extend(found)
                    break
            else:
                out.extend(self._paragraph())
        return out

    # -- reading ahead ------------------------------------------------------------------------------------------

    def _peek(self, ahead: int = 1) -> str:
        index = self.at + ahead
        return self.lines[index] if index < len(self.lines) else ""

    def _body(self, margin: int = 1) -> list[str]:
        """Take the following lines while blank or indented by at least `margin`; dedented, outer blanks removed."""
        start = self.at
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and _indent(line) < margin:
                break
            self.at += 1
        return _strip_blank(_dedent(self.lines[start : self.at]))

    def _section(self) -> list[str]:
        """Take the lines up to the next underlined heading or the end."""
        start = self.at
        while self.at < len(self.lines) and not self._is_heading(self.at):
            self.at += 1
        return _strip_blank(self.lines[start : self.at])

    def _is_heading(self, index: int) -> bool:
        if index + 1 >= len(self.lines):
            return False
        title, rule = self.lines[index], self.lines[index + 1].rstrip()
        if not title.strip() or title[0] == " " or _UNDERLINE.match(title.rstrip()):
            return False
        return bool(_UNDERLINE.match(rule)) and len(rule) >= min(len(title.rstrip()), 4) and len(title) < 90

    # -- constructs ---------------------------------------------------------------------------------------------

    def _indented(self, line: str) -> list[Block] | None:
        if line[0] != " ":
            return None
        body = self._body()
        if looks_like_code(body) and not _BULLET.match(body[0]) and not body[0].startswith((".. ", ">>>")):
            return [Code("\n".join(body))]
        return list(_Parser(body).blocks())

    def _fence(self, line: str) -> list[Block] | None:
        if not line.startswith(("```", "~~~~")):
            return None
        mark = line[:3]
        self.at += 1
        start = self.at
        while self.at < len(self.lines) and not self.lines[self.at].startswith(mark):
            self.at += 1
        body = _strip_blank(self.lines[start : self.at])
        self.at += 1
        return [Code("\n".join(body))] if body else []

    def _quote(self, line: str) -> list[Block] | None:
        """A Markdown quotation; GitHub's `> [!TIP]` form is an admonition."""
        if not line.startswith("> "):
            return None
        start = self.at
        while self.at < len(self.lines) and self.lines[self.at].startswith(">"):
            self.at += 1
        body = [part.removeprefix(">").removeprefix(" ") for part in self.lines[start : self.at]]
        alert = _ALERT.match(body[0])
        inner = _Parser(body[1:] if alert else body).blocks()
        return [Note(alert[1].lower(), "", tuple(inner))] if alert and inner else inner

    def _mkdocs_note(self, line: str) -> list[Block] | None:
        match = _MKDOCS_NOTE.match(line)
        if not match:
            return None
        self.at += 1
        inner = _Parser(self._body()).blocks()
        return [Note(match[1], "", tuple(inner))] if inner else []

    def _directive(self, line: str) -> list[Block] | None:
        if not line.startswith(".."):
            return None
        citation = _CITATION.match(line)
        directive = _DIRECTIVE.match(line)
        if not (citation or directive or line.rstrip() == ".." or line.startswith((".. ", ".."))):
            return None
        if line.startswith("...") and not directive:
            return None
        self.at += 1
        body = self._body()
        if citation:
            text = " ".join([citation[2], *(part.strip() for part in body)]).strip()
            return [Items(((Paragraph(f"[{citation[1]}] {text}"),),))]
        if not directive:  # a comment, a target or a substitution
            return []
        name, argument = directive[1].lower().removeprefix("py:"), directive[2].strip()
        while body and re.match(r":[\w-]+:", body[0]):  # options of the directive
            body.pop(0)
        body = _strip_blank(body)
        if name in SKIPPED_DIRECTIVES:
            return []
        if name == "math":
            formula = plain_math(" ".join([argument, *body]))
            return [Formula(formula)] if formula else []
        if name in CODE_DIRECTIVES:
            return [Code("\n".join(body))] if body else []
        if name in ("rubric", "topic", "centered"):
            return [Heading(argument, 2), *_Parser(body).blocks()] if argument else _Parser(body).blocks()
        inner = _Parser(body).blocks()
        if name.startswith(("version", "deprecated")):
            return [Note(name, argument, tuple(inner))]
        if argument:  # the text of an admonition may start on the line of its name
            inner = _Parser([argument, *body]).blocks() if name != "admonition" else [Heading(argument, 3), *inner]
        return [Note(name, "", tuple(inner))] if inner else []

    def _doctest(self, line: str) -> list[Block] | None:
        if not line.startswith(">>>"):
            return None
        start = self.at
        while self.at < len(self.lines) and self.lines[self.at].strip():
            self.at += 1
        return [Code("\n".join(part.rstrip() for part in self.lines[start : self.at]))]

    def _heading(self, line: str) -> list[Block] | None:
        rule = line.rstrip()
        if _UNDERLINE.match(rule):  # an overline, or a rule between paragraphs
            if self._peek(2).rstrip() == rule and self._peek().strip():
                title = self._peek().strip()
                self.at += 3
                return [Heading(title, 1)]
            if len(set(rule)) == 1 and " " not in rule and not self._peek().strip():
                self.at += 1
                return []
        if not self._is_heading(self.at):
            return None
        level = 1 if self._peek()[0] == "=" else 2
        self.at += 2
        title = line.strip().rstrip(":")
        if title.lower() in FIELD_SECTIONS:
            return [Fields(title.title(), tuple(_numpy_fields(self._section())))]
        return [Heading(title, level)]

    def _table(self, _line: str) -> list[Block] | None:
        found = simple_table(self.lines, self.at) or grid_table(self.lines, self.at)
        if not found:
            return None
        self.at, table = found
        return [table] if table.rows else []

    def _google(self, line: str) -> list[Block] | None:
        match = _GOOGLE.match(line)
        if not match or match[1].lower() not in FIELD_SECTIONS | TEXT_SECTIONS:
            return None
        ahead = 1
        while self.at + ahead < len(self.lines) and not self._peek(ahead).strip():
            ahead += 1
        following = self._peek(ahead)
        if not following.startswith(" "):
            return None
        self.at += 1
        title, body = match[1], self._body()
        if title.lower() in FIELD_SECTIONS:
            return [Fields(title.title(), tuple(_google_fields(body)))]
        if title.lower() in ("note", "warning", "tip", "important", "caution"):
            return [Note(title.lower(), "", tuple(_Parser(body).blocks()))]
        return [Heading(title, 2), *_Parser(body).blocks()]

    def _fields(self, line: str) -> list[Block] | None:
        match = _FIELD.match(line)
        if not match or (match[1].lower() not in FIELD_TITLES and match[1].lower() not in ("type", "vartype", "since")):
            return None
        rows: dict[str, dict[str, Field]] = {}
        types: dict[str, str] = {}
        while self.at < len(self.lines):
            match = _FIELD.match(self.lines[self.at])
            if not match:
                if self.lines[self.at].strip():
                    break
                self.at += 1
                continue
            self.at += 1
            body = [match[3] or "", *self._continuation()]
            key, argument = match[1].lower(), match[2].strip()
            kind, _, name = argument.rpartition(" ")
            if key in ("type", "vartype"):
                types[argument] = " ".join(part.strip() for part in body).strip()
                continue
            if key not in FIELD_TITLES:
                continue
            title = FIELD_TITLES[key]
            blocks = tuple(_Parser(_strip_blank(body)).blocks())
            held = rows.setdefault(title, {})
            if key == "rtype":
                old = held.get("", Field("", "", ()))
                held[""] = Field("", " ".join(part.strip() for part in body).strip(), old.blocks)
            elif title == "Returns" and "" in held:
                held[""] = Field("", held[""].type, held[""].blocks + blocks)
            else:
                held[name] = Field(name, kind, blocks)
        out: list[Block] = []
        for title, held in rows.items():
            out.append(
                Fields(title, tuple(Field(f.name, f.type or types.get(f.name, ""), f.blocks) for f in held.values()))
            )
        return out

    def _continuation(self) -> list[str]:
        """The lines that continue a field: indented ones, and blank ones between them."""
        start = self.at
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and line[0] != " ":
                break
            self.at += 1
        return _strip_blank(_dedent(self.lines[start : self.at]))

    def _list(self, line: str) -> list[Block] | None:
        pattern = _BULLET if _BULLET.match(line) else _NUMBERED
        if not pattern.match(line):
            return None
        items: list[tuple[Block, ...]] = []
        while self.at < len(self.lines):
            match = pattern.match(self.lines[self.at])
            if not match:
                break
            head = self.lines[self.at][match.end() :]
            self.at += 1
            lazy = []  # text that goes on without the indent markup asks for
            if pattern is _BULLET:
                while self._goes_on(pattern):
                    lazy.append(self.lines[self.at])
                    self.at += 1
            items.append(tuple(_Parser([head, *lazy, *self._continuation()]).blocks()))
            while self.at < len(self.lines) and not self.lines[self.at].strip():
                self.at += 1
        return [Items(tuple(items), ordered=pattern is _NUMBERED)]

    def _goes_on(self, pattern: re.Pattern[str]) -> bool:
        if self.at >= len(self.lines):
            return False
        line = self.lines[self.at]
        return bool(line.strip()) and line[0] != " " and line[0].islower() and not pattern.match(line)

    def _definition(self, line: str) -> list[Block] | None:
        following = self._peek()
        if not following.startswith("  ") or not following.strip() or line.rstrip().endswith("::") or len(line) > 80:
            return None
        if line.rstrip().endswith((",", "(", "=", "\\")) or looks_like_code([line]):
            return None
        entries: list[tuple[str, tuple[Block, ...]]] = []
        while self.at < len(self.lines):
            term, following = self.lines[self.at], self._peek()
            if not term.strip() or term[0] == " " or not following.startswith("  ") or len(term) > 80:
                break
            if entries and (_BULLET.match(term) or term.startswith("..") or _FIELD.match(term)):
                break
            self.at += 1
            entries.append((term.strip(), tuple(_Parser(self._body()).blocks())))
        # One "term" that reads as the start of a sentence is a paragraph with a hanging indent.
        if len(entries) == 1 and len(entries[0][0].split()) > 6 and not entries[0][0].endswith(":"):
            term, body = entries[0]
            if body and isinstance(body[0], Paragraph):
                return [Paragraph(f"{term} {body[0].text}"), *body[1:]]
        return [Definitions(tuple(entries))]

    def _paragraph(self) -> list[Block]:
        start = self.at
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip() or line.startswith((".. ", ">>>", "```")) or _FIELD.match(line):
                break
            if self.lines[self.at - 1].rstrip().endswith(":") and (line[0] == " " or _BULLET.match(line)):
                break
            self.at += 1
        lines = [line.rstrip() for line in self.lines[start : self.at]]
        if len(lines) > 2 and looks_like_code(lines):
            return [Code("\n".join(_dedent(lines)))]
        text = " ".join(" ".join(lines).split())
        if not text.endswith("::"):
            return [Paragraph(text)]
        text = text[:-2].rstrip() if text[:-2].endswith(" ") or text == "::" else text[:-1]
        body = self._body()
        out: list[Block] = [Paragraph(text)] if text else []
        return [*out, Code("\n".join(body))] if body else out


def _numpy_fields(lines: list[str]) -> list[Field]:
    """`name : type` lines, each followed by an indented description (numpydoc guide, "Parameters")."""
    rows: list[Field] = []
    parser = _Parser(_dedent(lines))
    while parser.at < len(parser.lines):
        line = parser.lines[parser.at].strip()
        parser.at += 1
        if not line:
            continue
        body = parser._body()
        name, colon, kind = line.partition(" : ")
        rows.append(Field(name.strip(), kind.strip() if colon else "", tuple(_Parser(body).blocks())))
    return rows


def _google_fields(lines: list[str]) -> list[Field]:
    """`name (type): description` lines with hanging indents; prose without a name becomes one unnamed field."""
    rows: list[Field] = []
    parser = _Parser(lines)
    while parser.at < len(parser.lines):
        line = parser.lines[parser.at]
        match = _GOOGLE_ITEM.match(_BULLET.sub("", line, count=1))
        if not match:
            rows.append(Field("", "", tuple(_Parser(parser.lines[parser.at :]).blocks())))
            break
        parser.at += 1
        body = [match[3] or "", *parser._continuation()]
        rows.append(Field(match[1].strip("`* "), match[2] or "", tuple(_Parser(_strip_blank(body)).blocks())))
    return rows
