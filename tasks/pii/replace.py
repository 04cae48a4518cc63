"""What stands in the place of personal data, and the edits that put it there.

Where a value exists that is set aside for examples and that everybody knows, it is used, so that the text keeps its
form: an address at example.com (RFC 2606), an address of the documentation networks (RFC 5737, RFC 3849). Telephone
numbers, cards, accounts and insurance numbers have no such value in all countries; a typed placeholder is put there:
[PHONE], [CARD], [IBAN], [SSN].

A pseudonym is a function of the data, its kind and the seed alone: not of its place, its document or what came before
(a counter makes the same page differ between runs). Equal data get equal pseudonyms, in any document. There are few
of them (10,000 e-mail addresses, 762 IPv4 and 65,535 IPv6 addresses), so that many data share one: a pseudonym tells
two people of one page apart, and proves nobody's address.

Masking is idempotent: nothing that is put in place is found again, and `edits` looks again at what it has made until
there is nothing left to replace.
"""

import hashlib
from collections.abc import Callable, Collection
from typing import NamedTuple

from tasks.pii.find import find
from tasks.pii.match import KINDS, Kind, Match

IPV4_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")  # RFC 5737
IPV4_HOSTS = 254  # of a /24, without the network and the broadcast address
EMAILS = 10_000
IPV6_HOSTS = 0xFFFF  # the last group of 2001:db8::/32 (RFC 3849)

PLACEHOLDERS: dict[Kind, str] = {"phone": "[PHONE]", "card": "[CARD]", "iban": "[IBAN]", "ssn": "[SSN]"}
_PSEUDONYMS: dict[Kind, Callable[[int], str]] = {
    "email": lambda number: f"user{number % EMAILS:04d}@example.com",
    "ipv4": lambda number: f"{IPV4_NETWORKS[number % 3]}.{number // 3 % IPV4_HOSTS + 1}",
    "ipv6": lambda number: f"2001:db8::{number % IPV6_HOSTS + 1:x}",
}


class Edit(NamedTuple):
    """Code points [start, end) of a text become `replacement`."""

    start: int
    end: int
    kind: Kind
    replacement: str


def replacement(data: str, kind: Kind, seed: int) -> str:
    """What stands in the place of one piece of personal data; capitals make no difference."""
    if kind in PLACEHOLDERS:
        return PLACEHOLDERS[kind]
    digest = hashlib.sha256(f"{seed}\n{kind}\n{data.casefold()}".encode("utf-8", "surrogatepass")).digest()
    return _PSEUDONYMS[kind](int.from_bytes(digest[:8], "big"))


def edits(text: str, kinds: Collection[Kind] = KINDS, seed: int = 0) -> list[Edit]:
    """The edits after which a text holds no personal data of these kinds, in order, none overlapping another."""
    made: list[Edit] = []
    masked = text
    while matches := find(masked, kinds):
        made = _merge(text, made, matches, seed)
        masked = mask(text, made)
    return made


def mask(text: str, made: Collection[Edit]) -> str:
    """A text with edits applied that do not overlap."""
    pieces: list[str] = []
    position = 0
    for edit in sorted(made):
        pieces += (text[position : edit.start], edit.replacement)
        position = edit.end
    return "".join(pieces) + text[position:]


def _merge(text: str, made: list[Edit], matches: list[Match], seed: int) -> list[Edit]:
    """Edits of `text`, given those made and what was found in the text with them applied.

    A match that touches a replacement takes the place of that edit, so that every round removes more of the text.
    """
    merged, kept = [], list(made)
    for match in matches:
        start, end = _origin(made, match.start, after=False), _origin(made, match.end, after=True)
        kept = [edit for edit in kept if edit.end <= start or edit.start >= end]
        merged.append(Edit(start, end, match.kind, replacement(text[start:end], match.kind, seed)))
    return sorted(merged + kept)


def _origin(made: list[Edit], position: int, after: bool) -> int:
    """Where a place of the edited text was before; inside a replacement: one end of what it replaced."""
    shift = 0  # of the edited text against the original, up to here
    for edit in made:
        start = edit.start + shift
        end = start + len(edit.replacement)
        if position < start or (position == start and after):
            break
        if position < end:
            return edit.end if after and position > start else edit.start
        shift += len(edit.replacement) - (edit.end - edit.start)
    return position - shift
