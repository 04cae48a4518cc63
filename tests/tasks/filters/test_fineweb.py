import numpy as np
import pytest

from tasks.filters.fineweb import line_signals
from tasks.words import WordBatch, split_text


def one(text):
    return {name: values[0] for name, values in line_signals(WordBatch.of([split_text(text)])).items()}


def test_lines_that_end_a_sentence():
    assert one("It ends.\nMenu\nなる。\nColon:")["terminal_line_fraction"] == 0.5


def test_lines_count_as_written():
    found = one("It ends. \nIt ends.\n  " + "x" * 29)
    assert found["terminal_line_fraction"] == pytest.approx(1 / 3)
    assert found["short_line_fraction"] == pytest.approx(2 / 3)


def test_a_line_of_thirty_characters_is_short():
    assert one("x" * 30 + "\n" + "x" * 31 + "\n\n" + "y" * 30)["short_line_fraction"] == pytest.approx(2 / 3)


def test_carriage_returns_hide_no_full_stop():
    assert one("It ends.\r\nMenu\r\n")["terminal_line_fraction"] == 0.5


def test_characters_of_repeated_lines():
    found = one("one two\n  \nother\none two\n  \none two")
    assert found["repeated_line_char_fraction"] == pytest.approx(14 / 30)
    assert one("one two\n  \n  \n  \nother")["repeated_line_char_fraction"] == 0


def test_fractions_of_nothing_are_undefined():
    found = one("\n\n")
    assert found["n_lines"] == 0
    assert all(np.isnan(value) for name, value in found.items() if name != "n_lines")


def test_line_feeds_a_word():
    assert one("one two\nthree\n\nfour")["newline_ratio"] == 0.75


def test_lines_are_counted_without_blank_ones():
    assert one("a\n\n \nb")["n_lines"] == 2
