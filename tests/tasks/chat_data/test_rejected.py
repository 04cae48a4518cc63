"""Worse answers: every kind is made, is worse, and is what it says."""

from collections import Counter

from tasks.chat_data.rejected import KINDS, reject

ANSWER = "Return the mask of a masked array as an ndarray of booleans with the same shape."
PAGE = ["Return the fill value of an array of any type that is given.", "Set the mask."]
OTHERS = [
    "A short one.",
    "Fold the dough gently so that the gas stays inside, and let it rest in a basket.",
    "Long " * 80,
]


def test_every_kind_occurs_about_equally_often() -> None:
    kinds = Counter(reject(f"What is name{index}?", ANSWER, PAGE, OTHERS)[0] for index in range(400))
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) > 60


def test_each_kind_is_what_it_says() -> None:
    for index in range(200):
        kind, worse = reject(f"What is name{index}?", ANSWER, PAGE, OTHERS)
        assert worse != ANSWER
        if kind == "other_page":
            assert worse == OTHERS[1]  # the nearest in length
        elif kind == "same_page":
            assert worse in PAGE
        elif kind == "truncated":
            assert ANSWER.startswith(worse) and 0.2 < len(worse) / len(ANSWER) < 0.8 and not worse.endswith(".")
        else:
            loop = worse.split()[: len(worse.split()) // worse.count("Return")]
            assert worse.split() == loop * worse.count("Return") and len(worse) > len(ANSWER)


def test_a_kind_that_cannot_be_made_gives_way_to_another() -> None:
    for index in range(50):
        kind, worse = reject(f"What is name{index}?", "Set it now.", [], [])
        assert (kind, worse) == ("repetition", "Set it now Set it now Set it now Set it now")
        assert reject(f"What is name{index}?", ANSWER, [ANSWER], [ANSWER])[0] in ("truncated", "repetition")


def test_the_same_question_gets_the_same_worse_answer() -> None:
    assert reject("What is it?", ANSWER, PAGE, OTHERS) == reject("What is it?", ANSWER, PAGE, OTHERS)
