"""Precision and recall on the table of cases, by kind and by exact place."""

from collections import Counter

import pytest

from tasks.pii.find import find
from tasks.pii.match import KINDS
from tests.tasks.pii.table import Case, cases

CASES = cases()
LEAST = 0.95  # precision and recall of every kind

# kind -> (found rightly, found wrongly, missed). A change here is a change of what the project promises.
EXPECTED = {
    "email": (33, 0, 1),  # "ann at example dot com", without brackets
    "phone": (42, 0, 1),  # ten digits between spaces, without a word before them
    "ipv4": (22, 0, 1),  # small numbers without a word before them
    "ipv6": (12, 0, 0),
    "card": (21, 0, 0),
    "iban": (10, 0, 0),
    "ssn": (16, 0, 0),
}


def account(table: list[Case]) -> dict[str, tuple[int, int, int]]:
    """Kind -> found rightly, found wrongly, missed; a wrong border or kind is both."""
    right, wrong, missed = Counter(), Counter(), Counter()
    for case in table:
        found, expected = set(find(case.text)), set(case.expected)
        right.update(match.kind for match in found & expected)
        wrong.update(match.kind for match in found - expected)
        missed.update(match.kind for match in expected - found)
    return {kind: (right[kind], wrong[kind], missed[kind]) for kind in KINDS}


def test_the_table_is_large_enough():
    assert sum(bool(case.expected) for case in CASES) >= 60
    assert sum(not case.expected for case in CASES) >= 60
    assert {match.kind for case in CASES for match in case.expected} == set(KINDS)
    assert len({case.text for case in CASES}) == len(CASES)


def test_precision_and_recall_of_every_kind():
    found = account(CASES)
    for kind, (right, wrong, missed) in found.items():
        precision, recall = right / (right + wrong), right / (right + missed)
        print(f"{kind:6} precision {precision:.3f} recall {recall:.3f} of {right + missed}")
    assert found == EXPECTED
    assert min(right / (right + wrong) for right, wrong, _ in found.values()) >= LEAST
    assert min(right / (right + missed) for right, _, missed in found.values()) >= LEAST


@pytest.mark.parametrize("case", [case for case in CASES if not case.expected], ids=lambda case: case.text[:40])
def test_nothing_is_found_where_nothing_is(case):
    assert find(case.text) == []


def test_an_account_sees_wrong_kinds_and_borders():
    case = CASES[0]
    shifted = Case(case.text, tuple(match._replace(end=match.end + 1) for match in case.expected))
    assert account([shifted])["email"] == (0, 1, 1)
    assert account([Case("SSN 123-45-6789", ())])["ssn"] == (0, 1, 0)
