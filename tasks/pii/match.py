"""What is looked for, and the words around a number that say what the number is."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

Kind = Literal["email", "phone", "ipv4", "ipv6", "card", "iban", "ssn"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Match(NamedTuple):
    """One piece of personal data: code points [start, end) of a text."""

    start: int
    end: int
    kind: Kind


Run = tuple[int, int]  # code points [start, end) of a text in which digits are close together

# Between the digits of one number. No line break: nothing that is found crosses a line.
SPACES = " \u00a0\u2007\u2009\u202f"
HYPHENS = "\\-\u2010\u2011\u2012\u2013"
# Seven digits (a local telephone number; everything else has more) with at most three separators between two of them.
# One digit an iteration and separators that are no digits: the pattern reads every character a bounded number of times.
_RUN = re.compile(rf"[0-9](?:[{SPACES}{HYPHENS}.()/]{{0,3}}[0-9]){{6,}}")

# What no context reaches across: digits, "@" and brackets. Everything that is found holds one of the first two and
# every replacement one of the three, so that masking one number gives no other a new context.
GAP = r"[^0-9\n@\[\]]"
CONTEXT_CHARS = 48  # how far before a number its context is looked for
# A number that somebody issued, and no telephone, card or insurance number.
_ISSUED = re.compile(
    r"(?:\b(?:is[bs]n|doi|ean|upc|gtin|asin|sku|imei|orcid|pmid|oclc|lccn|issue|order|invoice|item|part|model|serial|"
    r"tracking|ticket|case|ref(?:erence)?|id|uuid|version|article|product|patent|batch|lot|job|build|bug|docket|page|pp)"
    r"(?:\s(?:no|nr|number|id|code))?s?|\bno|№|#)[^\w\n@\[\]]{0,4}\Z",
    re.IGNORECASE,
)


def digit_runs(text: str) -> list[Run]:
    """Where at least seven ASCII digits are close together, in order."""
    return [found.span() for found in _RUN.finditer(text)]


def before(text: str, position: int, size: int = CONTEXT_CHARS) -> str:
    """The last characters before a position."""
    return text[max(0, position - size) : position]


def is_issued_number(text: str, start: int) -> bool:
    """Whether the words before say that it is an ISBN, an order number and the like."""
    return _ISSUED.search(before(text, start)) is not None


def counts(matches: Sequence[Match]) -> dict[Kind, int]:
    """How many of each kind, zeros included."""
    return {kind: sum(match.kind == kind for match in matches) for kind in KINDS}
