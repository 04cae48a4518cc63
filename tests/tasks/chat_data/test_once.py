"""What counts as said before, by whom, and what does not."""

import pytest

from infra.split import Split
from tasks.chat import Message
from tasks.chat_data.once import Once, fingerprint
from tasks.chat_data.rows import Conversation, Preference

SENTENCE = "A heap is a tree whose parents are no larger than their children."


def turns(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(role=("user", "assistant")[n % 2], content=text) for n, text in enumerate(texts))


def said(*texts: str, split: Split = "train") -> Conversation:
    return Conversation(turns(*texts), "x", split, "given")


def pair(question: str, chosen: str, rejected: str = "No idea.", split: Split = "train") -> Preference:
    return Preference(turns(question), chosen, rejected, "x", split, "given")


def after(*taken: Conversation | Preference, mined: bool = False) -> Once:
    once = Once()
    for row in taken:
        assert once.refusal(row, mined) is None
        once.take(row, mined)
    return once


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is C?", "What is C++?"),
        ("What is C?", "What is C#?"),
        ("What is 3 + 4?", "What is 3 * 4?"),
        ("What is 5?", "What is 5!?"),
        ("f(a, b)", "f(a b)"),
        ("\U0001f44d", "\U0001f621"),
        ("किताब", "कातिब"),
        ("?", "."),
    ],
)
def test_a_sign_makes_another_text(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is  a\nheap?", " what is a heap"),
        ("Close it.", "close IT"),
        ("caf\u00e9", "Cafe\u0301"),
        ("Straße", "STRASSE"),
        ("什么是堆？", "什么是堆"),
    ],
)
def test_case_blanks_encoding_and_the_last_sign_make_no_other_text(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


def test_the_bounds_of_texts_count() -> None:
    assert fingerprint("a b", "c") != fingerprint("a", "b c")


@pytest.mark.parametrize(
    "first", [said("What is a heap?", "A tree.", split="test"), pair("What is a heap?", "A", "B", "test")]
)
def test_a_question_stays_on_the_side_that_asks_it_first(first: Conversation | Preference) -> None:
    once = after(first)
    for split in ("validation", "train"):
        assert once.refusal(said("what is a heap", "Another answer.", split=split), mined=False) == "held_out_question"
        assert once.refusal(pair("What is a heap?", "Another", split=split), mined=False) == "held_out_question"
        assert once.refusal(said("What is a heap?", SENTENCE, split=split), mined=True) == "held_out_question"
    assert once.refusal(said("What is a heap?", "Another answer.", split="test"), mined=False) is None


def test_each_turn_of_a_conversation_asks() -> None:
    once = after(
        said("What is a heap?", "A tree.", split="test"), said("Hi?", "Hello.", "And why?", "So.", split="test")
    )
    assert once.refusal(said("What is a heap?", "A tree.", "And why?", "So."), mined=False) == "held_out_question"
    assert once.refusal(said("What is a queue?", "A list.", "And why?", "So."), mined=False) is None
    assert once.refusal(said("Hi?", "Hello."), mined=False) is None


def test_given_conversations_may_share_an_answer_but_not_all_they_say() -> None:
    once = after(said("Is 1 even?", "No."), said("Is 2 even?", "Yes."), said("Is 3 even?", "No."))
    assert once.refusal(said("Is 3 even?", "Yes."), mined=False) is None
    assert once.refusal(said("Is 3  even", "no"), mined=False) == "duplicate_conversation"


def test_given_pairs_may_share_an_answer_but_not_all_they_say() -> None:
    once = after(pair("Is 1 even?", "No.", "Yes."), pair("Is 3 even?", "No.", "Yes."))
    assert once.refusal(pair("Is 1 even?", "No.", "Perhaps."), mined=False) is None
    assert once.refusal(pair("Is 1 even?", "No.", "Yes."), mined=False) == "duplicate_pair"
    assert once.refusal(said("Is 1 even?", "No."), mined=False) is None


def test_what_a_held_out_page_says_is_answered_nowhere_else() -> None:
    once = after(said("What is a heap?", SENTENCE, split="test"), mined=True)
    assert once.refusal(said("Define heaps.", SENTENCE), mined=True) == "held_out_answer"
    assert once.refusal(said("Define heaps.", SENTENCE), mined=False) == "held_out_answer"
    assert once.refusal(pair("Define heaps.", SENTENCE), mined=False) == "held_out_answer"
    assert once.refusal(pair("Define heaps.", "No idea.", SENTENCE), mined=False) is None


@pytest.mark.parametrize("first", [said("Heap?", SENTENCE, split="test"), pair("Heap?", SENTENCE, split="test")])
def test_a_pair_does_not_choose_what_a_held_out_row_answers_unless_it_is_a_label(
    first: Conversation | Preference,
) -> None:
    once = after(first, said("Is 1 even?", "No.", split="test"))
    assert once.refusal(pair("Define heaps.", SENTENCE), mined=False) == "held_out_answer"
    assert once.refusal(said("Define heaps.", SENTENCE), mined=True) == "held_out_answer"
    assert once.refusal(pair("Is 3 even?", "No.", "Yes."), mined=False) is None
    assert once.refusal(said("Define heaps.", SENTENCE), mined=False) is None


def test_mined_questions_and_answers_occur_once() -> None:
    once = after(said("What is a heap?", SENTENCE), mined=True)
    assert once.refusal(said("What is a heap?", "Something else."), mined=True) == "duplicate_question"
    assert once.refusal(said("Define heaps.", SENTENCE), mined=True) == "duplicate_answer"


def test_a_page_may_ask_what_a_pair_of_its_side_asks() -> None:
    once = after(pair("What is a heap?", SENTENCE, split="test"))
    assert once.refusal(said("What is a heap?", SENTENCE, split="test"), mined=True) is None
