import pytest

from tasks.filters import refinedweb
from tasks.filters.characters import Lines
from tasks.filters.refinedweb import REASONS, SIGNALS, clean_texts, judge_lines
from tasks.words import split_text
from tests.tasks.filters.prose import PROSE


def judged(*texts):
    return judge_lines(Lines.of([split_text(text) for text in texts]))


def reason(line):
    """The reason for which a line goes or is shortened, and what is left of it."""
    verdicts = judged(line)
    number = int(verdicts.reasons[0])
    left = verdicts.shortened.get(0, line if number == refinedweb.KEPT else "")
    return next((name for name, code in REASONS.items() if code == number), None), left


def signals(text):
    return {name: values[0] for name, values in refinedweb.signals(judged(text)).items()}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("BREAKING NEWS today", "uppercase"),  # 12 of 19
        ("ABCD efgh", None),  # 4 of 9
        ("AB CD", "uppercase"),
        ("ABC xyz", None),  # 3 of 7: white space counts
        ("AAA b", "uppercase"),
        ("AB c", None),  # exactly half
        ("2024", "numeric"),
        ("12 34", None),  # a space is no digit
        ("3 likes", "counter"),
        ("1.2K views", "counter"),
        ("• 1,024 Followers •", "counter"),
        ("3 people like this", None),
        ("I counted 3 likes", None),
        ("Home", "one_word"),
        ("Home page", None),
        ("東京都に行きました。", "one_word"),
        ("(0) Items in cart now", "phrase"),
        ("We went on a walk. Read more...", "phrase"),
        ("We went on a walk. Read more…", "phrase"),
        ("Read more... about it", None),
        ("Sign-in to your account", "phrase"),
        ("Please sign-in here", None),
        ("Sign-in is what you do when you want to read it all here", None),  # 13 words
    ],
)
def test_a_line_goes_for_the_first_reason_that_holds(line, expected):
    assert reason(line)[0] == (expected and f"refinedweb_{expected}_lines"), line


def test_phrases_are_cut_out_of_short_lines():
    assert reason("We went on a walk. Read more...")[1] == "We went on a walk."
    assert reason("Sign-in to your account")[1] == "to your account"
    assert reason("(2) items in cart checkout")[1] == "(2) checkout"
    assert reason("Sign-in Read more...") == ("refinedweb_phrase_lines", "")


def test_the_fraction_counts_the_words_of_lines_and_phrases():
    text = "one two three four five six seven eight\nHome\nBUY NOW\ngo on and read on Read more..."
    found = signals(text)
    assert found["refinedweb_one_word_lines"] == 1
    assert found["refinedweb_uppercase_lines"] == 1
    assert found["refinedweb_phrase_lines"] == 1
    assert found["refinedweb_removed_fraction"] == pytest.approx((1 + 2 + 2) / 18)


def test_prose_loses_nothing():
    found = signals(PROSE)
    assert found == dict.fromkeys([field.name for field in SIGNALS], 0)


def test_an_empty_text_has_lost_no_fraction():
    found = signals("")
    assert found["refinedweb_one_word_lines"] == 0
    assert found["refinedweb_removed_fraction"] != found["refinedweb_removed_fraction"]  # NaN


def test_cleaning_keeps_paragraphs_apart_by_one_empty_line():
    text = "Home\n\n  A first line here.\nAnd a second.\n\n\n\nMENU\n\nThe last one.\n5 shares\n"
    assert clean_texts(judged(text)) == ["A first line here.\nAnd a second.\n\nThe last one."]


def test_documents_are_judged_each_by_itself():
    texts = ["Home\nA line of prose.", "", "Another one. Read more...", "12345"]
    together = judged(*texts)
    assert clean_texts(together) == [clean_texts(judged(text))[0] for text in texts]
    assert clean_texts(together) == ["A line of prose.", "", "Another one.", ""]
    assert refinedweb.signals(together)["refinedweb_removed_fraction"][[0, 2, 3]] == pytest.approx([1 / 5, 2 / 4, 1])


def test_a_long_line_of_marks_costs_no_more_than_its_length():
    line = "- " * 3 + "1" * 200_000 + "," * 200_000 + " likes, not"
    assert reason(line)[0] is None
