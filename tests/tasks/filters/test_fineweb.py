import pytest

from tasks.filters.fineweb import TERMINAL_PUNCTUATION, line_signals
from tasks.words import WordBatch, split_text


def one(text):
    return {name: values[0] for name, values in line_signals(WordBatch.of([split_text(text)])).items()}


def test_terminal_punctuation_is_not_only_latin():
    assert {".", "!", "?", "。", "؟", "।", "։"} <= TERMINAL_PUNCTUATION
    assert not {",", ":", ";", '"', "…", "¿"} & TERMINAL_PUNCTUATION


def test_lines_that_end_a_sentence():
    assert one("It ends.\nMenu\nなる。\nColon:")["terminal_line_fraction"] == 0.5


def test_a_line_of_thirty_characters_is_short():
    assert one("x" * 30 + "\n" + "x" * 31 + "\n\n  " + "x" * 30)["short_line_fraction"] == pytest.approx(2 / 3)


def test_line_feeds_a_word():
    assert one("one two\nthree\n\nfour")["newline_ratio"] == 0.75


def test_lines_are_counted_without_blank_ones():
    assert one("a\n\n \nb")["n_lines"] == 2
