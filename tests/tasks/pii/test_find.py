import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.pii.addresses import find_ipv4
from tasks.pii.calling_codes import NATIONAL_DIGITS, calling_code
from tasks.pii.find import find, without_overlaps
from tasks.pii.mail import top_level_domains
from tasks.pii.match import KINDS, Match
from tasks.pii.numbers import IBAN_LENGTHS, is_card, is_iban, luhn
from tests.tasks.pii.table import cases

DATA = [case.text[m.start : m.end] for case in cases() for m in case.expected]
NOISE = [
    " ",
    "\n",
    ", ",
    "-",
    ".",
    "/",
    ":",
    "@",
    "(",
    ")",
    "+",
    "0",
    "7",
    "12",
    "Tel. ",
    "SSN ",
    "version ",
    "IP ",
    "ü",
    "x",
    "电话",
]
MIXTURES = st.lists(st.sampled_from(DATA + NOISE * 3), max_size=12).map("".join)
SCRAMBLED = st.text(alphabet="0123456789 .-()/+@:[]abcdefAF\nü", max_size=120)
A_MEGABYTE = 1_000_000


def found(text, *kinds):
    return [(m.kind, text[m.start : m.end]) for m in find(text, kinds or KINDS)]


@given(st.one_of(MIXTURES, SCRAMBLED))
def test_matches_lie_in_the_text_in_order_apart_and_within_a_line(text):
    matches = find(text)
    assert all(0 <= m.start < m.end <= len(text) and "\n" not in text[m.start : m.end] for m in matches)
    assert all(first.end <= second.start for first, second in pairwise(matches))


@given(MIXTURES, st.permutations(KINDS))
def test_the_order_of_the_kinds_is_irrelevant(text, kinds):
    assert find(text, kinds) == find(text)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.sampled_from(KINDS)), max_size=12), st.randoms())
def test_overlaps_are_resolved_alike_in_any_order(places, order):
    matches = [Match(start, start + size, kind) for start, size, kind in places]
    shuffled = list(matches)
    order.shuffle(shuffled)
    chosen = without_overlaps(matches)
    assert chosen == without_overlaps(shuffled)
    apart = [m for m in matches if all(m.end <= c.start or m.start >= c.end for c in chosen)]
    assert not apart  # whatever is left out overlaps one that is at least as long
    for match in set(matches) - set(chosen):
        rivals = [c for c in chosen if match.start < c.end and match.end > c.start]
        assert max(c.end - c.start for c in rivals) >= match.end - match.start


def test_the_longest_of_two_stays():
    assert found("0044 2079 4609 58@example.com") == [("phone", "0044 2079 4609 58")]
    assert found("12345678@example.com") == [("email", "12345678@example.com")]


def test_kinds_that_are_not_asked_for_hide_nothing():
    text = "DE89 3704 0044 0532 0130 00, phone 4111 1111 1111 1111"
    assert found(text) == [("iban", "DE89 3704 0044 0532 0130 00"), ("card", "4111 1111 1111 1111")]
    assert found(text, "card") == [("card", "4111 1111 1111 1111")]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "hostile",
    [
        "a@" * (A_MEGABYTE // 2),
        "@" * A_MEGABYTE,
        "a." * (A_MEGABYTE // 2) + "@x",
        "!" * A_MEGABYTE + "@x.org",
        "ann@" + "a." * (A_MEGABYTE // 2),
        "ann@" + "a-" * (A_MEGABYTE // 2),
        "a (at) " * (A_MEGABYTE // 7),
        "a(at)b(dot)" * (A_MEGABYTE // 11),
        "1" * A_MEGABYTE,
        "1 " * (A_MEGABYTE // 2),
        "1.1." * (A_MEGABYTE // 4),
        "(1" * (A_MEGABYTE // 2),
        "+1 (2" * (A_MEGABYTE // 5),
        "Tel. 1" * (A_MEGABYTE // 6),
        "4111 " * (A_MEGABYTE // 5),
        "01.01.01.01." * (A_MEGABYTE // 12),
        "2001:" * (A_MEGABYTE // 5),
        ":" * A_MEGABYTE,
        "2001::" * (A_MEGABYTE // 6),
        "DE89 " * (A_MEGABYTE // 5) + "1234567",
        "DE89 1234567 " * (A_MEGABYTE // 13),
        "123-45-6789-" * (A_MEGABYTE // 12),
        "123-45-6789 " * (A_MEGABYTE // 12) + "1",
        "4111 1111 1111 1111 " * (A_MEGABYTE // 20) + "1234",
        "label:2600:" * (A_MEGABYTE // 11),
        "ann@x.com-" * (A_MEGABYTE // 10),
        "://" * (A_MEGABYTE // 3) + "a@b.org",
        "version " * (A_MEGABYTE // 8) + "1.2.3.4",
    ],
    ids=lambda text: text[:12],
)
def test_time_grows_with_the_text_and_not_with_its_square(hostile):
    assert len(find(hostile)) <= len(hostile) // 6


def test_texts_without_at_signs_and_digits_hold_nothing():
    assert find("") == []
    assert find("No digits here; none at all.\n" * 1000) == []


def test_check_digits_of_cards():
    assert luhn("4111111111111111") and not luhn("4111111111111112")
    assert is_card("378282246310005")
    assert not is_card("0000000000000000")  # Luhn's digit is right, but nobody issues it
    assert not is_card("41111111111111")  # fourteen digits are no Visa


def test_every_single_wrong_digit_of_an_iban_is_seen():
    good = "GB29NWBK60161331926819"
    assert is_iban(good)
    for place in range(2, len(good)):
        for digit in "0123456789":
            if good[place].isdigit() and good[place] != digit:
                assert not is_iban(good[:place] + digit + good[place + 1 :])
    assert not is_iban(good + "0") and not is_iban("ZZ" + good[2:])
    assert len(IBAN_LENGTHS) == 89 and min(IBAN_LENGTHS.values()) == 15 and max(IBAN_LENGTHS.values()) == 33


def test_no_calling_code_begins_another():
    codes = sorted(NATIONAL_DIGITS)
    assert len(codes) == 215
    assert not [(a, b) for a in codes for b in codes if a != b and b.startswith(a)]
    assert (calling_code("3531234567"), calling_code("12024561111"), calling_code("2101234")) == ("353", "1", None)


def test_top_level_domains_come_in_both_spellings():
    assert {"com", "museum", "рф", "xn--p1ai", "org"} <= top_level_domains()
    assert not {"png", "method", "localhost", "tgz"} & top_level_domains()


def test_random_addresses_are_found_without_any_word():
    source = random.Random(1)
    addresses = [".".join(str(source.randint(1, 254)) for _ in range(4)) for _ in range(4000)]
    public = [a for a in addresses if list(find_ipv4(f"Host {a}"))]
    plain = [a for a in public if list(find_ipv4(f"was {a} then"))]
    assert len(public) > 3300  # the rest is private, multicast or reserved
    assert 0.985 < len(plain) / len(public) < 1  # what looks like a version needs a word
