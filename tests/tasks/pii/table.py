"""Reads the table of cases beside it."""

from dataclasses import dataclass
from pathlib import Path

from tasks.pii.match import KINDS, Match

TABLE = Path(__file__).with_name("cases.txt")
NOTHING = "-"


@dataclass(frozen=True)
class Case:
    """A text and what is to be found in it."""

    text: str
    expected: tuple[Match, ...]


def cases(path: Path = TABLE) -> list[Case]:
    """Every case of the table, in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_case(line) for line in lines if line and not line.startswith("# ") and line != "#"]


def _case(line: str) -> Case:
    kind, _, marked = line.partition(" | ")
    assert kind == NOTHING or kind in KINDS, line
    text, expected = "", []
    for number, piece in enumerate(marked.replace("\\n", "\n").replace("»", "«").split("«")):
        if number % 2:
            expected.append(Match(len(text), len(text) + len(piece), kind))
        text += piece
    assert bool(expected) == (kind != NOTHING), line
    return Case(text, tuple(expected))
