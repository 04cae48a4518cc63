import ipaddress
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.documents import apply_spans
from tasks.pii.addresses import SPECIAL_IPV4
from tasks.pii.find import find
from tasks.pii.match import KINDS
from tasks.pii.replace import PLACEHOLDERS, Edit, edits, mask, replacement
from tests.tasks.pii.table import cases
from tests.tasks.pii.test_find import MIXTURES, SCRAMBLED

SEEDS = st.integers(0, 2**32)
SOME_KINDS = st.sets(st.sampled_from(KINDS), min_size=1)


def masked(text, kinds=KINDS, seed=0):
    return mask(text, edits(text, kinds, seed))


@given(st.one_of(MIXTURES, SCRAMBLED), SOME_KINDS, SEEDS)
@example("4111 1111 1111 1111+49 30 182722720", KINDS, 0)
@example("Tel. 4111 1111 1111 1111 030 182722720 12", KINDS, 0)
@example("ann@example.com-45-6789", KINDS, 0)
def test_masking_twice_is_masking_once(text, kinds, seed):
    once = masked(text, kinds, seed)
    assert find(once, kinds) == []
    assert masked(once, kinds, seed) == once
    assert masked(once, kinds, seed + 1) == once  # whatever the seed


@given(MIXTURES, SEEDS)
def test_edits_lie_in_the_text_and_apart_and_apply_as_the_lineage_does(text, seed):
    made = edits(text, KINDS, seed)
    assert all(0 <= edit.start < edit.end <= len(text) for edit in made)
    assert all(first.end <= second.start for first, second in pairwise(made))
    assert apply_spans(text, [(edit.start, edit.end, edit.replacement) for edit in made]) == mask(text, made)
    assert made == edits(text, KINDS, seed)


@given(MIXTURES)
def test_what_is_no_personal_data_stays_as_it_was(text):
    made = edits(text)
    position, rest = 0, masked(text)
    for edit in made:
        between = text[position : edit.start] + edit.replacement
        assert rest.startswith(between)
        rest, position = rest[len(between) :], edit.end
    assert rest == text[position:]


def test_every_case_of_the_table_loses_what_is_marked():
    for case in cases():
        after = masked(case.text)
        for match in find(case.text):
            assert case.text[match.start : match.end] not in after


@pytest.mark.parametrize("kind", KINDS)
def test_a_replacement_is_a_function_of_the_data_the_kind_and_the_seed(kind):
    assert replacement("Ann@Example.org", kind, 7) == replacement("ann@example.org", kind, 7)
    if kind not in PLACEHOLDERS:
        assert len({replacement(f"{n}@example.org", kind, 7) for n in range(100)}) > 80
        assert len({replacement("ann@example.org", kind, seed) for seed in range(100)}) > 80


@pytest.mark.parametrize("kind", KINDS)
def test_a_replacement_is_never_found_again(kind):
    for n in range(2000):
        made = replacement(str(n), kind, 0)
        assert find(f"Tel. {made}, IP {made} {made}; card {made}") == []


def test_pseudonyms_are_of_what_is_set_aside_for_examples():
    for n in range(500):
        address = ipaddress.IPv4Address(replacement(str(n), "ipv4", 0))
        assert any(first < int(address) < last for first, last in SPECIAL_IPV4) and not address.is_global
        assert ipaddress.IPv6Address(replacement(str(n), "ipv6", 0)) in ipaddress.IPv6Network("2001:db8::/32")
        assert replacement(str(n), "email", 0).endswith("@example.com")


def test_the_same_address_has_the_same_pseudonym_anywhere():
    one, other, again = edits("ann@x.org wrote to bob@x.org, and Ann@X.org again")
    assert one.replacement == again.replacement != other.replacement
    (elsewhere,) = edits("On another page: ann@x.org")
    assert elsewhere.replacement == one.replacement


def test_what_only_shows_after_masking_is_masked_too():
    # the card ends where the telephone number begins, which is seen once the card is gone
    text = "4111 1111 1111 1111 (202) 456-1111"
    assert masked(text) == "[CARD] [PHONE]"


def test_masking_keeps_the_line_around():
    text = "Ann, ann@example.org, +1 202-456-1111, 72.15.99.187\nand 4111 1111 1111 1111"
    made = edits(text, ("phone", "card"))
    assert mask(text, made) == "Ann, ann@example.org, [PHONE], 72.15.99.187\nand [CARD]"
    assert [text[edit.start : edit.end] for edit in made] == ["+1 202-456-1111", "4111 1111 1111 1111"]
    assert made[0] == Edit(22, 37, "phone", "[PHONE]")
