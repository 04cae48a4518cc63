import pytest

from tasks.filters.c4 import clean_text, count_sentences, judge_lines, page_signals
from tasks.words import split_text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Too short", "short"),
        ("Please enable Javascript to see this page.", "javascript"),
        ("By using this site you accept our Terms of Use.", "policy"),
        ("This site uses cookies to serve you.", "policy"),
        ("Here is a word: " + "x" * 1001, "long_word"),
        ("[1] [2] [3]", "short"),
    ],
)
def test_a_line_goes_for_its_reason(line, reason):
    judged = judge_lines(split_text(f"This line stays where it is.\n{line}"))
    assert judged.kept == ["This line stays where it is."]
    assert judged.dropped == {reason: 1}


@pytest.mark.parametrize("line", ["This one has no end", "This one trails off ...", "This one trails off…"])
def test_lines_without_terminal_punctuation_go_only_when_asked(line):
    assert judge_lines(split_text(line)).kept == [line]
    assert judge_lines(split_text(line), terminal_punctuation=True).dropped == {"no_terminal": 1}


@pytest.mark.parametrize(
    "line", ["It ends well.", "Does it end?", "It surely does!", 'She said "it does"', "She said “it does”"]
)
def test_terminal_punctuation_includes_closing_quotes(line):
    assert judge_lines(split_text(line), terminal_punctuation=True).kept == [line]


def test_the_shortest_line_that_stays_is_a_parameter():
    assert judge_lines(split_text("four words are here"), min_line_words=5).dropped == {"short": 1}


def test_citation_marks_are_cut_out_of_the_lines_that_stay():
    judged = judge_lines(split_text("Water boils at 100 degrees.[1][23][citation needed] See also[edit] steam."))
    assert clean_text(judged.kept) == "Water boils at 100 degrees. See also steam."


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One. Two! Three? Four", 4),
        ("It is e.g. this one, about 3.14 in all.", 1),
        ("“Really?!” (Yes.) Well...", 3),
        ("no mark at all", 1),
        ("一つ。二つ。三つ", 3),
        ("…", 1),
    ],
)
def test_sentences_are_counted_by_their_ends(line, sentences):
    assert count_sentences(line) == sentences


def test_only_the_sentences_of_lines_that_stay_count():
    document = split_text("One here now. Two here now.\nUse of cookies: A. B. C.")
    assert page_signals(judge_lines(document))["c4_sentences"] == 2


def test_page_signals_count_the_page_before_cleaning():
    document = split_text("Lorem Ipsum {a} dolor sit amet.\nfunction() { javascript }\nEnds here.")
    counted = page_signals(judge_lines(document))
    assert counted["c4_lorem_ipsum"] == 1
    assert counted["c4_curly_brackets"] == 1
    assert counted["c4_javascript_lines"] == 1
    assert counted["c4_short_lines"] == 1
    assert counted["c4_terminal_lines"] == 2


@pytest.mark.parametrize(
    ("line", "brackets"),
    [
        ("int main() {", 1),
        ("main() {", 0),  # short
        ("in JavaScript write {}", 0),
        ("we use cookies {}", 1),  # looked at after the brackets
        ("{ " + "x" * 1001 + " y", 0),
    ],
)
def test_brackets_count_in_lines_that_get_so_far(line, brackets):
    assert page_signals(judge_lines(split_text(line)))["c4_curly_brackets"] == brackets


@pytest.mark.parametrize("line", ["Lorem ipsum", "lorem[1] ipsum javascript", "LOREM IPSUM dolor {}"])
def test_lorem_ipsum_counts_in_lines_that_are_long_enough(line):
    assert page_signals(judge_lines(split_text(line)))["c4_lorem_ipsum"] == (len(line.split()) >= 3)


def test_words_of_lines_are_white_space_delimited_whatever_the_page_is_split_into():
    assert judge_lines(split_text("a, b", "punctuation")).dropped == {"short": 1}
    assert judge_lines(split_text("- — -", "unicode")).kept == ["- — -"]


def test_a_line_of_a_million_marks_is_read_once():
    # Quadratic backtracking would take hours here; the suite's timeout is the assertion.
    assert count_sentences("." * 1_000_000 + "x") == 1
    assert count_sentences("." + " " * 1_000_000 + "x") == 1
