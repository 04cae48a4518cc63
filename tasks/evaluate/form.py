"""Exact form: did the model answer the way it was taught to?

An answer has exact form when all four hold:

- it *ended*: the model itself closed its turn (`<|im_end|>`; for a plain prompt, the line's end) before the limit;
- it is *one or two sentences*, as the answers it was taught are: one line that begins with a letter, a digit, or an
  opening quote, bracket or backtick, ends with a full stop, question or exclamation mark (closing quotes and brackets
  may follow), and holds at most one other end of a sentence inside;
- it does *not repeat* itself: no word three times in a row and no four words twice;
- it is *clean*: no control or replacement character, no text that looks like a chat marker.

The measure looks at the form alone; whether the answer is right is what ROUGE-L estimates. The reference answers go
through the same test, so that the score a perfect pupil would get is known.
"""

import re
import unicodedata
from dataclasses import dataclass

_OPENERS = "\"'`([{<“‘«¿¡*_"
_CLOSERS = "\"'`)]}>”’»*_"
_LATIN_END = ".!?…"
_OTHER_END = "。！？।۔؟"
# Full stops that end no sentence, though a capital may follow. Lower case, without the final stop.
_ABBREVIATION = re.compile(
    r"e\.g|i\.e|u\.s|etc|cf|vs|al|fig|eq|sec|nos?|vol|pp|mrs?|ms|dr|prof|st|inc|ltd|jr|sr|approx|resp|refs?"
)
# Each run of marks is looked at once, from its beginning: answers of a thousand dots are no rarity.
_INNER_END = re.compile(
    rf"(?<![{re.escape(_LATIN_END)}])([{re.escape(_LATIN_END)}]++)[{re.escape(_CLOSERS)}]*+\s++"
    rf"(?=[{re.escape(_OPENERS)}]*(\S))"
)
_CHAT_MARKER = re.compile(r"<\|[a-z_]+\|>")
MAX_SENTENCES = 2
_REPEATED_WORDS = 4
_WORD_RUN = 3


@dataclass(frozen=True)
class Form:
    """The four conditions, each by itself, so that a report can say which one fails."""

    ended: bool
    is_sentences: bool
    no_repetition: bool
    clean: bool

    @property
    def exact(self) -> bool:
        """All of them."""
        return self.ended and self.is_sentences and self.no_repetition and self.clean


def form(answer: str, ended: bool) -> Form:
    """Judge `answer` (without its end-of-turn token); `ended` says whether the model closed the turn itself."""
    return Form(ended, is_short_prose(answer), not repeats_itself(answer), is_clean(answer))


def is_short_prose(text: str) -> bool:
    """Whether `text` is one line of one or two whole sentences, as defined above."""
    text = text.strip()
    if not text or "\n" in text or "\r" in text:
        return False
    if not (text[0].isalnum() or text[0] in _OPENERS) or not any(character.isalpha() for character in text):
        return False
    body = text.rstrip(_CLOSERS)
    if not body or body[-1] not in _LATIN_END + _OTHER_END:
        return False
    return sentences(text) <= MAX_SENTENCES


def sentences(text: str) -> int:
    """How many sentences a text that ends with one holds: ends inside it, and the last.

    An end is a mark that a blank and then no small letter follow, unless the stop belongs to an abbreviation or an
    initial; a mark of a script without capitals is always one.
    """
    inner = text.rstrip(_CLOSERS).rstrip(_LATIN_END + _OTHER_END)
    count = 1 + sum(mark in _OTHER_END for mark in inner)
    for match in _INNER_END.finditer(text):
        marks, following = match.groups()
        if following.islower():
            continue
        word = _word_before(text, match.start()).lstrip(_OPENERS).lower()
        is_initial = len(word) == 1 and word.isalpha()
        if marks == "." and (_ABBREVIATION.fullmatch(word) or is_initial):
            continue
        count += 1
    return count


def _word_before(text: str, place: int) -> str:
    """What stands between the last blank and a place."""
    start = place
    while start and not text[start - 1].isspace():
        start -= 1
    return text[start:place]


def repeats_itself(text: str) -> bool:
    """Whether a word stands three times in a row or four successive words occur twice (letter case ignored)."""
    tokens = text.lower().split()
    for i in range(len(tokens) - _WORD_RUN + 1):
        if len(set(tokens[i : i + _WORD_RUN])) == 1:
            return True
    grams = [tuple(tokens[i : i + _REPEATED_WORDS]) for i in range(len(tokens) - _REPEATED_WORDS + 1)]
    return len(set(grams)) < len(grams)


def is_clean(text: str) -> bool:
    """Whether `text` is free of control and replacement characters and of text that looks like a chat marker."""
    if _CHAT_MARKER.search(text):
        return False
    return not any(c == "\ufffd" or (unicodedata.category(c) == "Cc" and c not in "\n\r\t") for c in text)
