"""What the files of chat data hold already, so that nothing is in them twice and no side asks another one's questions.

The stage reads all its sources once a side, test before validation before train, and asks here before it writes:

    held_out_question       another side has asked it, in a conversation or in a pair
    held_out_answer         a page of another side has said it; and, of what is mined or a pair, a row of another side
    duplicate_question      what is mined: a conversation of this side has asked it
    duplicate_answer        what is mined: a page of this side has said it
    duplicate_conversation  a given row: the same one is there, as a whole
    duplicate_pair          a given pair: the same

Given conversations may share an answer: a set of questions answered "Yes." or "No." is a set like any other. For the
same reason an answer that a row gives is held out only if it has MIN_ANSWER_CHARS characters. In a conversation of
several turns each question counts, since each of its answers is learnt.

Held in memory are a few 64-bit numbers a row, no text.
"""

import unicodedata
from collections.abc import Iterable

import xxhash

from infra.split import Split
from tasks.chat import Message
from tasks.chat_data.mine import MIN_ANSWER_CHARS
from tasks.chat_data.rows import Conversation, Preference

FINAL_SIGNS = (".", "?", "…", "。", "？", "؟", "।")  # one of them at the end makes no other text


class Once:
    """The rows taken so far, by hashes."""

    def __init__(self) -> None:
        self._rows: set[int] = set()
        self._questions: set[int] = set()  # of conversations
        self._sides: dict[int, Split] = {}  # of questions, those of pairs included
        self._mined: dict[int, Split] = {}  # answers of pages
        self._given: dict[int, Split] = {}  # answers of held-out rows, no labels

    def refusal(self, row: Conversation | Preference, mined: bool) -> str | None:
        """Why a row has to be left out, or None."""
        if any(_elsewhere(self._sides, asked, row.split) for asked in _questions(row)):
            return "held_out_question"
        said, is_pair = fingerprint(_answer(row)), isinstance(row, Preference)
        if _elsewhere(self._mined, said, row.split):
            return "held_out_answer"
        if (mined or is_pair) and _elsewhere(self._given, said, row.split):
            return "held_out_answer"
        if mined and _questions(row)[-1] in self._questions:
            return "duplicate_question"
        if mined and said in self._mined:
            return "duplicate_answer"
        if not mined and _whole(row) in self._rows:
            return "duplicate_pair" if is_pair else "duplicate_conversation"
        return None

    def take(self, row: Conversation | Preference, mined: bool) -> None:
        """Remember a row that is written."""
        asked, answer = _questions(row)[-1], _answer(row)
        self._rows.add(_whole(row))
        self._sides[asked] = row.split
        if isinstance(row, Conversation):
            self._questions.add(asked)
        if mined:
            self._mined[fingerprint(answer)] = row.split
        elif row.split != "train" and len(answer) >= MIN_ANSWER_CHARS:
            self._given.setdefault(fingerprint(answer), row.split)

    def take_built(self, pair: Preference) -> bool:
        """Remember a pair built from a conversation that is taken; False if a file has given the same one."""
        new = (whole := _whole(pair)) not in self._rows
        self._rows.add(whole)
        return new


def fingerprint(*texts: str) -> int:
    """A hash of texts in which case, blanks and a last full stop or question mark make no difference.

    Every other sign does: "What is C?" and "What is C++?" are two questions.
    """
    return xxhash.xxh3_64_intdigest("\x1f".join(map(_plain, texts)).encode())


def _plain(text: str) -> str:
    text = " ".join(unicodedata.normalize("NFC", text.casefold()).split())
    return text[:-1].rstrip() if len(text) > 1 and text.endswith(FINAL_SIGNS) else text


def _answer(row: Conversation | Preference) -> str:
    return row.answer if isinstance(row, Conversation) else row.chosen


def _elsewhere(sides: dict[int, Split], number: int, split: Split) -> bool:
    return sides.get(number, split) != split


def _questions(row: Conversation | Preference) -> list[int]:
    """What each turn of a user asks, with all before it: "And why?" asks another thing after another answer."""
    prompt = row.prompt
    return [fingerprint(*_contents(prompt[: n + 1])) for n in range(len(prompt)) if prompt[n]["role"] == "user"]


def _whole(row: Conversation | Preference) -> int:
    if isinstance(row, Conversation):
        return fingerprint("conversation", *_contents(row.messages))
    return fingerprint("pair", *_contents(row.prompt), row.chosen, row.rejected)


def _contents(messages: Iterable[Message]) -> list[str]:
    return [message["content"] for message in messages]
