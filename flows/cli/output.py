"""How verbs print: text for people, or with --json one JSON value for programs."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

LINE, LONGEST_VALUE = 110, 160  # characters


def print_json(value: Any) -> None:
    """One line of JSON."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=str))


def print_table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> None:
    """Columns as wide as they need to be; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    widths = [max(len(header[i]), *(len(row[i]) for row in cells), 0) for i in range(len(header))]
    for line in [list(header), *cells]:
        shown = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        typer.echo("  ".join(shown).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)


def described(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested values as lines: `a.b = 1`, and a table of plain values whole, `a.c: x 1.5, y 2`, in as many as it takes.

    Other values are cut off where they grow long.
    """
    for key, value in values.items():
        name = f"{prefix}{key}"
        if not isinstance(value, Mapping) or not value:
            text = str(value)
            yield f"{name} = {text[:LONGEST_VALUE]}{'…' if len(text) > LONGEST_VALUE else ''}"
        elif any(isinstance(one, Mapping | list) for one in value.values()):
            yield from described(value, f"{name}.")
        else:
            entries = ", ".join(f"{one} {number}" for one, number in value.items())
            yield from textwrap.wrap(f"{name}: {entries}", LINE, subsequent_indent="  ", break_on_hyphens=False)
