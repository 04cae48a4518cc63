import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dedup.normalise import UNSPACED_BLOCKS, plain, simplify, text_digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("In 2024 there were 1,234 of 99", "in 0 there were 0 0 of 0"),
        ("numpy.linalg.norm(x_1)", "numpy linalg norm x 0"),
        ("Crème brûlée À LA CARTE", "creme brulee a la carte"),
        ("“quoted” — dash…", "quoted dash"),
        ("a\tb\n\nc\u00a0d\u2003e", "a b c d e"),
        ("soft\u00adhyphen zero\u200bwidth", "soft hyphen zero width"),
        ("١٢٣ ४५", "0 0"),
        ("$5 + 3 = 8 €", "0 0 0"),
        ("Ελληνικά κείμενα", "ελληνικα κειμενα"),
        ("", ""),
        (" .,;!? ", ""),
    ],
)
def test_simplify_forgets_case_digits_punctuation_accents_and_spacing(text: str, expected: str) -> None:
    assert simplify(text) == expected


def test_letters_of_unspaced_scripts_become_words() -> None:
    assert simplify("你好，world世界") == "你 好 world 世 界"
    assert simplify("한국어 문장") == simplify(unicodedata.normalize("NFD", "한국어 문장"))
    assert len(simplify("한국어 문장").split()) == 2  # Korean is written with spaces


@given(st.text(max_size=200))
def test_simplify_is_idempotent_and_single_spaced(text: str) -> None:
    once = simplify(text)
    assert once == " ".join(once.split())
    assert simplify(once) == once


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Z", "Mn", "Cc"]), max_size=100))
def test_simplify_equals_the_definition_character_by_character(text: str) -> None:
    pieces = []
    for character in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(character)
        if category == "Nd":
            pieces.append("0")
        elif category[0] in "PSZ" or category in ("Cc", "Cf"):
            pieces.append(" ")
        elif category != "Mn":
            alone = any(first <= ord(character) <= last for first, last in UNSPACED_BLOCKS)
            pieces.append(f" {character} " if alone else character)
    words = "".join(pieces).split()
    assert simplify(text) == " ".join(re.sub("0+", "0", word) for word in words)


def test_many_marks_over_one_letter_take_no_square_of_their_number() -> None:
    n = 500_000
    assert simplify("a" + "\u0301\u0323" * n + "b") == "ab"
    assert plain("a" + "\u0301\u0323" * n) == "\u1ea1" + "\u0323" * (n - 1) + "\u0301" * n


MARKS = st.text(alphabet="\u0301\u0323\u0327\u0344\u0f73\u0f81\u302e\u05b0\u0345\u3099", min_size=28, max_size=45)


@given(
    st.lists(st.one_of(MARKS, st.sampled_from(["a", "é", "ế", " ", "か", "가", "ག", "\u0301"])), max_size=6).map(
        "".join
    )
)
def test_marks_are_put_in_order_as_unicode_says(text: str) -> None:
    assert plain(text) == " ".join(unicodedata.normalize("NFC", text).split())
    kept = [c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn"]
    assert simplify(text).replace(" ", "") == "".join(kept).replace(" ", "")


def test_digest_sees_through_whitespace_and_composition_only() -> None:
    same = text_digest(plain("Caf\u00e9  au\nlait "))
    assert text_digest(plain("Cafe\u0301 au lait")) == same
    assert text_digest(plain("Café au lait.")) != same
    assert text_digest(plain("café au lait")) != same
    assert len(same) == 32 and int(same, 16) >= 0


def test_digits_matter_for_exact_but_not_for_near_duplicates() -> None:
    a, b = "Results of 2019: 35 points", "Results of 2020: 48 points"
    assert text_digest(plain(a)) != text_digest(plain(b))
    assert simplify(a) == simplify(b)
