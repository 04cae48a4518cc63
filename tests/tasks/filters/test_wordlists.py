import random

import pytest

from tasks.filters import wordlists
from tasks.filters.wordlists import SIGNALS, WordLists, find, parse_list, signals, spam_terms
from tests.tasks.filters.prose import PROSE


def hits(text, *entries, **lists):
    (found,) = find([text.lower()], WordLists.of(lists or {"list": entries}))
    return found


@pytest.mark.parametrize(
    ("entry", "text", "places"),
    [
        ("ass", "The class of Scunthorpe passes.", 0),
        ("ass", "An ass, an ASS! (ass)", 3),
        ("ass", "ass-hat half-ass", 2),
        ("bang bang", "bang-bang, Bang\nbang: bang", 4),  # places overlap
        ("bang bang", "bang a bang", 0),
        ("free spins", "free free spins", 1),
        ("f-word", "the f word", 1),
        ("été", "L'ÉTÉ en été; étés", 2),
        ("हिन्दी", "यह हिन्दी है, हिन्दीभाषा", 1),
        ("हिन", "हिन्दी", 0),  # a mark belongs to its word
        ("赌场", "在线赌场和赌场", 2),
        ("คาสิโน", "เว็บคาสิโนออนไลน์", 1),
        ("snake_case", "snake case snake_case", 1),
        ("...", "dots ... and dots", 0),
        ("2 girls", "12 girls or 2 girls", 1),
    ],
)
def test_where_an_entry_is_found(entry, text, places):
    assert hits(text, entry).by_list.total() == places


def test_each_entry_counts_as_a_term_once():
    found = hits("one two one two three", "one", "one two", "four")
    assert (found.by_list.total(), found.terms) == (4, 2)


def test_entries_that_differ_in_case_or_punctuation_are_one():
    assert len(WordLists.of({"a": ["Free Spins", "free-spins", " free spins ", "", "!!"]}).entries) == 1


def test_the_worst_list_is_that_with_the_most_places_and_of_equals_the_first():
    assert hits("a b b", x=["a"], y=["b"]).worst == "y"
    assert hits("a b", y=["b"], x=["a"]).worst == "x"
    assert hits("c", y=["b"], x=["a"]).worst is None


def test_files_have_comments_and_blank_lines():
    assert parse_list("# a comment\n\n one \r\ntwo words\n") == ["one", "two words"]


def test_the_screen_lets_no_text_through_that_holds_an_entry(monkeypatch):
    rng = random.Random(7)
    words = ["ab", "b-c", "É", "東京", "x'y", "z_z", "a.b"]
    entries = [" ".join(rng.choices(words, k=rng.randint(1, 3))) for _ in range(40)]
    texts = [rng.choice(["", "\n", "¿"]).join(rng.choices([*words, " ", "A"], k=12)).lower() for _ in range(300)]
    lists = WordLists.of({"list": entries})
    screened = find(texts, lists)
    monkeypatch.setattr(wordlists, "MAX_SCREENED", 0)
    unscreened = WordLists.of({"list": entries})
    assert unscreened.patterns == []
    assert find(texts, unscreened) == screened
    assert 10 < sum(one.terms > 0 for one in screened) < 300


def test_many_entries_are_asked_for_in_several_patterns():
    lists = WordLists.of({"many": [f"word{k}" for k in range(1_200)]})
    assert len(lists.patterns) == 3
    assert [one.terms for one in find(["word3 word1199 word1200", "nothing"], lists)] == [2, 0]


def test_without_lists_of_the_users_their_columns_are_null():
    found = signals([PROSE, ""], None)
    assert list(found) == [field.name for field in SIGNALS]
    assert found == {
        "spam_terms": [0, 0],
        "word_list_hits": [None, None],
        "word_list_terms": [None, None],
        "word_list": [None, None],
    }


def test_spam_is_told_by_several_different_terms():
    spam = "Buy Viagra online! Cheap viagra, no prescription needed. Casino bonus: free spins."
    found = signals([spam, "He wrote about the casino of Monte Carlo, and about casinos.", ""], WordLists.of({}))
    assert found["spam_terms"][0] >= 4
    assert found["spam_terms"][1:] == [0, 0]
    assert found["word_list_hits"] == [0, 0, 0]
    assert found["word_list"] == [None, None, None]


def test_the_built_in_list_is_small_and_whole_words():
    entries = spam_terms().entries
    assert 40 < len(entries) < 200
    assert all(len(entry.runs) > 1 or len(entry.text) > 5 for entry in entries)
