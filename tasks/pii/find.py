"""All personal data of a text: each kind by its own module, overlaps resolved.

Cheap looks come first: a text without "@", without seven digits close together, without dotted numbers and without
two colons costs a few scans of it.
"""

from collections.abc import Collection, Iterator

from tasks.pii.addresses import find_ipv4, find_ipv6
from tasks.pii.mail import find_emails
from tasks.pii.match import KINDS, Kind, Match, digit_runs
from tasks.pii.numbers import find_cards, find_ibans, find_ssns
from tasks.pii.phone import find_phones

# Of two matches that overlap the longer counts; of equally long ones the kind that is checked harder.
PRECEDENCE: tuple[Kind, ...] = ("email", "iban", "card", "ssn", "ipv6", "ipv4", "phone")
_RANK = {kind: rank for rank, kind in enumerate(PRECEDENCE)}
_NUMBERS = frozenset({"phone", "card", "iban", "ssn"})


def find(text: str, kinds: Collection[Kind] = KINDS) -> list[Match]:
    """The personal data of a text, in order, none overlapping another and none crossing a line.

    Args:
        kinds: what to look for. Of overlapping matches the longest stays, then the first in `PRECEDENCE`, then the
            first in the text.
    """
    found = list(_candidates(text, kinds))
    return without_overlaps(found) if len(found) > 1 else found


def without_overlaps(found: Collection[Match]) -> list[Match]:
    """The matches that overlap no better one, in order of their place. The order in which they come is irrelevant."""
    chosen: list[Match] = []
    taken: set[int] = set()  # every code point of a chosen match
    for match in sorted(set(found), key=lambda m: (m.start - m.end, _RANK[m.kind], m.start)):
        # one that was chosen is at least as long, so that it covers an end of whatever it overlaps
        if match.start not in taken and match.end - 1 not in taken:
            taken.update(range(match.start, match.end))
            chosen.append(match)
    return sorted(chosen)


def _candidates(text: str, kinds: Collection[Kind]) -> Iterator[Match]:
    if "email" in kinds:
        yield from find_emails(text)
    if "ipv4" in kinds:
        yield from find_ipv4(text)
    if "ipv6" in kinds:
        yield from find_ipv6(text)
    runs = digit_runs(text) if not _NUMBERS.isdisjoint(kinds) else []
    if not runs:
        return
    if "card" in kinds:
        yield from find_cards(text, runs)
    if "iban" in kinds:
        yield from find_ibans(text, runs)
    if "ssn" in kinds:
        yield from find_ssns(text, runs)
    if "phone" in kinds:
        yield from find_phones(text, runs)
