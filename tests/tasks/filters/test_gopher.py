import random
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.filters.gopher import quality_signals, repetition_signals
from tasks.words import WordBatch, WordDefinition, split_text, split_words
from tests.tasks.filters import literal

WORDS = ["a", "b", "the", "The", "that,", "longer", "#", "...", "-", "•", "3.5", "x²", "½", "…", "naïve", "漢字"]
# Few words, so that n-grams repeat; line feeds are words too.
TEXTS = st.lists(st.sampled_from([*WORDS, "\n", "\n", "\n\n", "\r\n", " \n \n"]), max_size=60).map(" ".join)


def signals(*texts: str, words: WordDefinition = "whitespace") -> dict[str, list]:
    batch = WordBatch.of([split_text(text, words) for text in texts])
    return {name: values.tolist() for name, values in {**quality_signals(batch), **repetition_signals(batch)}.items()}


def one(text: str) -> dict[str, float]:
    return {name: values[0] for name, values in signals(text).items()}


def assert_as_written_down(texts: list[str], definition: WordDefinition = "whitespace") -> None:
    found = signals(*texts, words=definition)
    for d, text in enumerate(texts):
        words = split_words(text, definition)
        for name, value in {**literal.quality(text, words), **literal.repetition(text, words)}.items():
            expected = float("nan") if value is None else value
            assert found[name][d] == pytest.approx(expected, rel=1e-12, nan_ok=True), (name, text)


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.sampled_from(get_args(WordDefinition)))
def test_every_signal_is_what_its_definition_gives(texts, definition):
    assert_as_written_down(texts, definition)


def test_long_repetitive_documents_agree_with_the_definition():
    source = random.Random(5)
    phrases = [" ".join(source.choices("abcdefghij", k=source.randint(3, 14))) for _ in range(12)]
    texts = ["\n".join(source.choices(phrases, k=source.randint(1, 60))) for _ in range(40)]
    assert_as_written_down(texts)


def test_a_document_does_not_depend_on_its_neighbours_in_the_batch():
    texts = ["a b a", "b a b a b", "a b c d e f g h i j " * 3, "a b c d e f g h i j", ""]
    together = signals(*texts)
    for d, text in enumerate(texts):
        for name, value in one(text).items():
            assert np.isclose(together[name][d], value, equal_nan=True), (name, text)


def test_the_top_ngram_of_a_text_without_repetition_is_its_first():
    assert one("alpha beta gamma")["top_2gram_char_fraction"] == pytest.approx(10 / 16)
    assert one("alpha")["top_2gram_char_fraction"] == 0


def test_a_top_ngram_that_overlaps_itself_counts_as_often_as_it_occurs():
    assert one("aa aa aa x yy zz yy xx zz")["top_2gram_char_fraction"] == pytest.approx(2 * 5 / 25)
    assert one("aa aa aa")["top_2gram_char_fraction"] == 1.0  # and not 10 / 8


def test_of_equally_frequent_ngrams_the_earliest_counts():
    text = "a b x long words y a b z long words"
    assert one(text)["top_2gram_char_fraction"] == pytest.approx(2 * 3 / len(text))


def test_duplicate_ngrams_count_no_character_twice():
    text = "a b c d e\n" * 4
    assert one(text)["duplicate_5gram_char_fraction"] == pytest.approx(15 / 40)  # the first occurrence is free


def test_a_repeated_line_counts_from_its_second_occurrence_on():
    found = one("same line\nsame line\nother\nsame line")
    assert found["duplicate_line_fraction"] == 0.5
    assert found["duplicate_line_char_fraction"] == pytest.approx(18 / 35)


def test_lines_that_differ_in_indentation_are_no_duplicates():
    assert one("pass\n  pass\n    pass")["duplicate_line_fraction"] == 0


def test_empty_lines_are_no_duplicate_lines_but_lines_of_blanks_are():
    assert one("one\n\n\n\ntwo\n\n\n")["duplicate_line_fraction"] == 0
    assert one("one\n  \ntwo\n  ")["duplicate_line_fraction"] == 0.25


def test_a_repeated_paragraph_counts_with_the_line_feeds_in_it():
    found = one("a\nb\n\nc\n\n\na\nb")
    assert found["duplicate_paragraph_fraction"] == pytest.approx(1 / 3)
    assert found["duplicate_paragraph_char_fraction"] == pytest.approx(3 / 12)


def test_carriage_returns_make_no_other_lines_or_paragraphs():
    unix = "a b\nc\n\na b\nc\n\nd"
    found, expected = one(unix.replace("\n", "\r\n")), one(unix)
    for name in ("duplicate_line_fraction", "duplicate_paragraph_fraction"):
        assert found[name] == expected[name] > 0


def test_words_of_punctuation_only_count_in_no_length():
    found = one("- a bb — 3.5 ... ccc →")
    assert found["n_words"] == 8
    assert found["n_non_symbol_words"] == 5  # an arrow is no punctuation
    assert found["mean_word_length"] == pytest.approx((1 + 2 + 3 + 3 + 1) / 5)


def test_stop_words_count_once_each_as_words_of_their_own_in_lower_case():
    text = "the the with, The (of) that theme bee"
    assert one(text)["stop_words"] == 2
    assert signals(text, words="punctuation")["stop_words"] == [4]


def test_a_minus_sign_or_an_option_opens_no_list_item():
    assert one("-5 degrees\n--help prints\n*args\n- item\n• item")["bullet_line_fraction"] == pytest.approx(0.4)


def test_fractions_of_nothing_are_undefined():
    found = one("\n\n")
    assert found["n_words"] == 0
    assert np.isnan(
        [found["mean_word_length"], found["duplicate_line_fraction"], found["top_2gram_char_fraction"]]
    ).all()
