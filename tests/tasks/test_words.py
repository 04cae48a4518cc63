from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import words
from tasks.words import WordBatch, WordDefinition, batches, split_text, split_words

TEXTS = st.text(alphabet=st.sampled_from("ab.,'-:/1é \n\t\r\u00a0\u2028漢"), max_size=80)


def test_lines_are_stripped_and_blank_ones_left_out():
    document = split_text("  one two \n\n \t \nthree\r\nfour\n")
    assert document.lines == ["one two", "three", "four"]
    assert document.line_words == [["one", "two"], ["three"], ["four"]]


def test_lines_are_kept_as_written_too():
    document = split_text("  one two \n\n \t \nthree\r\nfour\n")
    assert document.raw_lines == ["  one two ", "three", "four"]
    assert document.blank_lines == [" \t "]


def test_paragraphs_are_separated_by_empty_lines_only():
    assert split_text("\n\na\nb\n\n\nc\n \t\nd\r\n\r\ne\n").paragraphs == [0, 0, 1, 1, 2]


def test_only_a_line_feed_ends_a_line():
    assert split_text("a\u2028b\x0bc\rd").lines == ["a\u2028b\x0bc\rd"]


@given(TEXTS)
def test_the_words_of_the_lines_are_the_words_of_the_text(text):
    document = split_text(text)
    assert [word for line in document.line_words for word in line] == text.split()
    assert document.n_words == len(text.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well, that's it! O'Brien doesn't.", ["Well", ",", "that", "'s", "it", "!", "O'Brien", "does", "n't", "."]),
        ("(see file.txt)... or and/or x/y", ["(", "see", "file.txt", ")", "...", "or", "and/or", "x", "/", "y"]),
        ("e.g. U.S. etc. a.b. J. i.", ["e.g.", "U.S.", "etc", ".", "a.b.", "J.", "i", "."]),
        ("----- | ~~ a//b x--y === .. -=-", ["-----", "|", "~~", "a//b", "x", "--", "y", *"===", "..", "-=-"]),
        ("end.Start 3.14 1,000 10:30 a,b k=v", ["end", ".", "Start", "3.14", "1,000", "10:30", *"a,b", "k", "=", "v"]),
        (
            "well-known #tag 50% $5 5$ foo_bar",
            ["well", "-", "known", "#", "tag", "50", "%", "$", "5", "5", "$", "foo_bar"],
        ),
        ("foo(x) [0] _a_ me@x.org", ["foo(x", ")", "[", "0", "]", "_", "a", "_", "me@x.org"]),
        ("<https://a.b/c?d=(1).>, www.x.org!", ["<", "https://a.b/c?d=(1", ")", ".", ">", ",", "www.x.org", "!"]),
        ("हिन्दी भाषा। e\u0301te\u0301.", ["हिन्दी", "भाषा", "।", "e\u0301te\u0301", "."]),
    ],
)
def test_punctuation_marks_can_be_words(text, expected):
    assert split_words(text, "punctuation") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well, that's 3.14 - not?", ["Well", "that's", "3.14", "not"]),
        ("漢字とカタカナ。", ["漢", "字", "と", "カタカナ"]),
        ("-- ... --", []),
    ],
)
def test_words_can_be_those_of_unicode(text, expected):
    assert split_words(text, "unicode") == expected


@given(TEXTS, st.sampled_from(get_args(WordDefinition)))
def test_the_words_of_a_document_are_those_of_its_text(text, definition):
    document = split_text(text, definition)
    assert [word for line in document.line_words for word in line] == split_words(text, definition)
    assert len(document.line_words) == len(document.lines) == len(document.raw_lines) == len(document.paragraphs)


@given(TEXTS)
def test_marks_and_words_together_are_the_text(text):
    assert "".join(split_words(text, "punctuation")) == "".join(text.split())


def test_a_word_longer_than_any_cache_is_cut_the_same_way():
    word = "a-" * words.CACHED_CHARS + "a"
    assert split_words(f"{word} a-b", "punctuation") == ["a", "-"] * words.CACHED_CHARS + ["a", "a", "-", "b"]


@pytest.mark.parametrize("run", [".", "a.'", "x://", "www.", "1,1:", "-", "a.", "-=", ".,", "a@", "a-"])
def test_a_megabyte_of_marks_is_cut_in_one_pass(run):
    # Quadratic backtracking would take hours here; the suite's timeout is the assertion.
    text = run * (1_000_000 // len(run))
    assert "".join(split_words(text, "punctuation")) == text


def test_initials_before_many_full_stops_are_read_once():
    n = 300_000
    assert split_words("a." * n + "a" + ".)" * n, "punctuation")[1:] == [")", *[".", ")"] * (n - 1)]


@given(st.text(alphabet="aB.)é漢\u0301", max_size=12))
def test_a_full_stop_belongs_to_initials_however_they_are_read(chunk):
    for start in range(len(chunk)):
        found = words._ABBREVIATION.match(chunk, start)
        for end in (stop + 1 for stop in range(start + 1, len(chunk)) if chunk[stop] == "."):
            whole = words._ABBREVIATION.fullmatch(chunk, start, end) is not None
            assert whole == ((end - start) % 2 == 0 and found is not None and end <= found.end())


def test_a_row_of_flags_is_cut_in_one_pass():
    n = 1_000_000
    assert split_words("a" + "🇦" * n + "b", "unicode") == ["a", "b"]


@given(st.lists(st.sampled_from(["🇦🇧" * 40, "🇦", "🇧", "a", "\u0301", "\u200d", "ﾞ", "漢", "1", "."]), max_size=12))
def test_flags_left_out_change_no_word(pieces):
    chunk = "a" + "".join(pieces)
    by_itself = [word for word in words._UNICODE_BOUNDARY.split(chunk) if any(map(str.isalnum, word))]
    assert [word.replace("🇦🇧" * 40, "") for word in split_words(chunk, "unicode")] == [
        word.replace("🇦🇧" * 40, "") for word in by_itself
    ]


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_a_batch_holds_each_documents_words_in_order(texts):
    batch = WordBatch.of([split_text(text) for text in texts])
    for d, text in enumerate(texts):
        ids = batch.ids[batch.offsets[d] : batch.offsets[d + 1]]
        assert [batch.vocabulary[i] for i in ids] == text.split()
    assert batch.n_words.tolist() == [len(text.split()) for text in texts]
    assert batch.n_chars.tolist() == [len("".join(text.split())) for text in texts]
    assert len(set(batch.vocabulary)) == len(batch.vocabulary)


def test_batches_are_bounded_and_keep_every_document_in_order(monkeypatch):
    monkeypatch.setattr(words, "MAX_BATCH_WORDS", 5)
    monkeypatch.setattr(words, "MAX_BATCH_DOCUMENTS", 3)
    texts = ["a b", "c d e", "f", "g h i j k l m", "", "", "", "n", "o"]
    made = list(batches(split_text(text) for text in texts))
    assert [[document.text for document in batch.documents] for batch in made] == [
        ["a b", "c d e"],  # five words
        ["f"],
        ["g h i j k l m"],  # longer than a batch may be: alone
        ["", "", ""],
        ["n", "o"],
    ]
