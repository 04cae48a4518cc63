"""Answers that are worse than the right one, in ways that models really fail.

    other_page   a sound answer to another question, from another page
    same_page    the page's answer to another of its questions
    truncated    the right answer, broken off in the middle of its sentence
    repetition   the beginning of the right answer over and over

Each is honest: it is text of the corpus, or what a failing generation of the right answer looks like, and the kind is
recorded. None gives itself away by length alone: truncated ones are shorter than the right answer, repetitions longer,
the others about as long.
"""

from collections.abc import Sequence

import xxhash

KINDS = ("other_page", "same_page", "truncated", "repetition")
SPOILT = ("truncated", "repetition")  # the right answer, written badly: not another answer
MIN_WORDS_TO_TRUNCATE = 6


def reject(question: str, answer: str, same_page: Sequence[str], other_pages: Sequence[str]) -> tuple[str, str] | None:
    """(kind, worse answer), or None when no kind is possible.

    Args:
        question: decides, by its hash, which kind is tried first and how it is made.
        answer: the right one.
        same_page: answers to the other questions of the page.
        other_pages: answers from pages before.
    """
    seed = xxhash.xxh3_64_intdigest(question.encode())
    for step in range(len(KINDS)):
        kind = KINDS[(seed + step) % len(KINDS)]
        worse = _make(kind, answer, same_page, other_pages, seed // len(KINDS))
        if worse is not None and worse.strip() != answer.strip():
            return kind, worse
    return None


def _make(kind: str, answer: str, same_page: Sequence[str], other_pages: Sequence[str], seed: int) -> str | None:
    if kind == "other_page":
        return _nearest(answer, other_pages)
    if kind == "same_page":
        return same_page[seed % len(same_page)] if same_page else None
    words = answer.split()
    if kind == "truncated":
        if len(words) < MIN_WORDS_TO_TRUNCATE:
            return None
        kept = len(words) * (35 + seed % 40) // 100  # 35 to 74 % of the words
        return " ".join(words[: max(kept, 2)]).rstrip(".!?,;:")
    length = min(3 + seed % 4, len(words))  # a loop of 3 to 6 words …
    loop = " ".join(words[:length]).rstrip(".!?,;:")
    return " ".join([loop] * (3 + len(words) // length))  # … that is longer than the answer


def _nearest(answer: str, others: Sequence[str]) -> str | None:
    """The answer nearest in length; of several the first."""
    different = [other for other in others if other != answer]
    return min(different, key=lambda other: abs(len(other) - len(answer)), default=None)
