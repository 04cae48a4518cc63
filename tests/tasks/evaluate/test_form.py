"""Exact form: what counts as an answer in the taught shape."""

import pytest

from tasks.evaluate.form import form, is_clean, is_short_prose, repeats_itself, sentences


@pytest.mark.parametrize(
    "text",
    [
        "Return the shape of the array.",
        "It closes the file, e.g. The default stream, and flushes it.",
        "`numpy.add` adds arguments element-wise.",
        "Written by J. R. Smith et al. In 2004, for Unix v. 7 machines.",
        "Is it open?",
        'He wrote "Stop!" and left.',
        "See RFC 3339 (section 5.6).",
        "The value is 3.14 by default.",
        "返回数组的形状。",
        "Version 1.2.3 of foo.bar is used!",
    ],
)
def test_a_sentence_is_recognised(text):
    assert is_short_prose(text) and sentences(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "No end",
        "One. Two. Three.",
        "Really? Yes. Indeed.",
        "First line.\nSecond line.",
        ", and then it ends.",
        "返回。数组。形状。",
        "It is. 3 of them. Gone.",
        "123.",
        "...",
    ],
)
def test_anything_else_is_no_short_prose(text):
    assert not is_short_prose(text)


def test_sentences_are_counted():
    assert sentences("Return the shape of the array.") == 1
    assert sentences("It closes the file, e.g. The stream. It then flushes it.") == 2
    assert sentences("返回数组。形状。") == 2
    assert sentences("Numbers follow. 3 of them. (All gone.)") == 3


def test_long_runs_of_marks_take_no_time():
    """Of `word?` once for each place and each mark, ten thousand took minutes."""
    dots = "." * 10_000
    assert sentences(f"Yes{dots}") == 1
    assert sentences(f"Yes{dots} No{dots} Yes.") == 3
    assert sentences(f"e.g. The one.{'.) ' * 5_000}") > 2
    assert sentences("a" * 100_000 + ".") == 1


def test_loops_are_repetition_and_ordinary_words_are_not():
    assert repeats_itself("the the the end.")
    assert repeats_itself("of the array of values of the array of values.")
    assert not repeats_itself("the array of the list of the tuple of the set.")
    assert not repeats_itself("")


def test_control_characters_and_chat_markers_are_not_clean():
    assert is_clean("a < b | c > d\tok")
    assert not is_clean("bad \x00 byte")
    assert not is_clean("broken \ufffd text")
    assert not is_clean("text <|im_start|>user")


def test_form_names_the_condition_that_fails():
    good = form("Return the shape.", ended=True)
    assert good.exact
    cut = form("Return the shape.", ended=False)
    assert not cut.exact and cut.is_sentences and not cut.ended
    assert not form("It is is is so.", ended=True).no_repetition
