from hypothesis import given
from hypothesis import strategies as st

from tasks import words
from tasks.words import WordBatch, batches, split_text

TEXTS = st.text(alphabet=st.sampled_from("ab.é \n\t\r\u00a0\u2028漢"), max_size=80)


def test_lines_are_stripped_and_blank_ones_left_out():
    document = split_text("  one two \n\n \t \nthree\r\nfour\n")
    assert document.lines == ["one two", "three", "four"]
    assert document.line_words == [["one", "two"], ["three"], ["four"]]


def test_paragraphs_are_separated_by_blank_lines_only():
    assert split_text("\n\na\nb\n\n\nc\n \t\nd\n").paragraphs == [0, 0, 1, 2]


def test_only_a_line_feed_ends_a_line():
    assert split_text("a\u2028b\x0bc\rd").lines == ["a\u2028b\x0bc\rd"]


@given(TEXTS)
def test_the_words_of_the_lines_are_the_words_of_the_text(text):
    document = split_text(text)
    assert [word for line in document.line_words for word in line] == text.split()
    assert document.n_words == len(text.split())


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
