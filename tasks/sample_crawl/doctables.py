"""Tables drawn with characters in docstrings (reStructuredText specification, "Tables")."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.sample_crawl.blocks import Table

_SIMPLE_RULE = re.compile(r"=+(?:\s+=+)+\s*$")
_HEADER_RULE = re.compile(r"[-=\s]{3,}$")
_GRID_RULE = re.compile(r"\+(?:[-=]+\+)+\s*$")
_MAX_ROWS = 80  # between two rules; further apart they belong to different tables


def simple_table(lines: Sequence[str], at: int) -> tuple[int, Table] | None:
    """The table between `===  ===` rules that starts at line `at`; -> (line after it, table)."""
    if not _SIMPLE_RULE.match(lines[at]):
        return None
    starts = [match.start() for match in re.finditer(r"=+", lines[at])]
    rules = [index for index in range(at + 1, len(lines)) if _SIMPLE_RULE.match(lines[index])][:2]
    if not rules:
        return None
    has_header = (
        len(rules) == 2 and rules[1] - rules[0] < _MAX_ROWS and any(map(str.strip, lines[rules[0] + 1 : rules[1]]))
    )
    last = rules[1] if has_header else rules[0]
    rows: list[list[str]] = []
    for text in lines[at + 1 : last]:
        if not text.strip() or _HEADER_RULE.match(text):
            continue
        cells = [text[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        if rows and not cells[0]:  # a continuation line
            rows[-1] = _joined(rows[-1], cells)
        else:
            rows.append(cells)
    return last + 1, Table(tuple(map(tuple, rows)), has_header)


def grid_table(lines: Sequence[str], at: int) -> tuple[int, Table] | None:
    """The table drawn with `+---+` and `|` that starts at line `at`; -> (line after it, table)."""
    if not _GRID_RULE.match(lines[at]):
        return None
    rows: list[list[str]] = []
    fresh, has_header = True, False
    while at < len(lines) and lines[at].startswith(("+", "|")):
        line = lines[at]
        at += 1
        if line.startswith("+"):
            fresh = True
            has_header = has_header or ("=" in line and len(rows) > 0)
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if fresh or len(cells) != len(rows[-1]):
            rows.append(cells)
        else:
            rows[-1] = _joined(rows[-1], cells)
        fresh = False
    return at, Table(tuple(map(tuple, rows)), has_header)


def _joined(above: list[str], below: list[str]) -> list[str]:
    return [" ".join(filter(None, pair)) for pair in zip(above, below, strict=True)]
