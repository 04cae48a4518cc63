"""Words, lines and paragraphs: the one tokenisation that every signal of a document is counted on.

The definitions, which matter more than any threshold built on them. A *word* is selectable (`WordDefinition`):

- ``whitespace`` (default): a run of characters between Unicode white space (`str.split()`), punctuation attached, as in
  Gopher (Rae et al. 2021, arXiv:2112.11446, A.1.1) and dolma;
- ``punctuation``: words and punctuation marks, as FineWeb's code counts them (datatrove with spaCy's blank English):
  before and behind a word each mark stands alone, and a word is cut at hyphens and commas between letters (well-known),
  at : < > = / before letters, at a full stop between two sentences (end.Start) and before English contractions (do
  n't, it 's). What has other marks inside stays whole (O'Brien, 3.14, file.txt, x[0), as do web and e-mail addresses,
  initials and abbreviations of single letters (U.S., e.g.), runs of dots, and - / | ~ ^ @ by themselves. spaCy also
  splits units (10 km) and knows lists of abbreviations and emoticons;
- ``unicode``: what the default word boundaries of Unicode Standard Annex 29 leave between them, if it holds a letter or
  digit: no punctuation, and each ideograph a word. Closest to DCLM. For text without spaces between its words.

Which one makes a difference: thresholds of one suit no other. Punctuation marks count as words without a letter, so
that technical prose falls under Gopher's share of alphabetic words sooner. All of them cut words out of what stands
between white space, never across it.

- a *line* is what stands between line feeds (a carriage return before one belongs to it). Empty lines are none.
  `SplitText.lines` leaves out lines of white space only, and strips the others; `raw_lines` are the same lines as
  written, `blank_lines` the ones left out, for the rules that look at them;
- a *paragraph* is a run of lines with no empty line between them; a line of blanks does not end one.

Documents are split once, each by itself, and then counted together: words become integers over a whole batch of
documents, so that numpy does the counting (`WordBatch`). No count of a document depends on its neighbours in a batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Literal

import numpy as np
import numpy.typing as npt
import regex

IntArray = npt.NDArray[np.int64]
WordDefinition = Literal["whitespace", "punctuation", "unicode"]

# A batch is closed before it would exceed these. They bound memory (about 60 bytes a word) and keep the products
# documents x vocabulary x vocabulary that key n-grams below 2^63: 2^12 x 2^17 x 2^17 = 2^46.
MAX_BATCH_WORDS = 1 << 17
MAX_BATCH_DOCUMENTS = 1 << 12

# Runs of characters whose words are remembered, since most of a text is said again and again; the longest of them.
CACHED_CHUNKS = 1 << 16
CACHED_CHARS = 64

# `punctuation`: what stands alone in front of a word, and what one is cut at inside. `regex`, not `re`: there the marks
# over a letter belong to the word. Nothing is given back, so that a megabyte of marks costs no more than its length.
_IN_FRONT = regex.compile(r"\.\.++|\+(?!\d)|[^\w\-/\\|~@^+.]|_")
_FRONT = regex.compile(f"(?:{_IN_FRONT.pattern})*+")
_BEHIND = regex.compile(r"[^\w\-/\\|~@^+.=$%]|_")
_INSIDE = regex.compile(
    r"(\.\.++|[…\p{So}]|(?<=\d)[+\-*^](?=[\d-])|(?<=[\p{Ll}\"'”’])\.(?=[\p{Lu}\"'“‘])"
    r"|(?<=\p{L})(?:,|-++|[–—~])(?=\p{L})|(?<=[\p{L}\d])[:<>=/](?=\p{L})|(?<=\p{L})(?i:n['’]t|['’](?:[smd]|re|ve|ll))$)",
)
_ADDRESS = regex.compile(
    r"[A-Za-z][\w+.-]*+://|www\.|[^@]++@[^@.]++\.|(?:[\w-]++\.)++(?:com|org|net|io|edu|gov)(?:$|/)"
)
_ABBREVIATION = regex.compile(r"(?:\p{L}\.)++")
_UNICODE_BOUNDARY = regex.compile(r"\b", flags=regex.WORD | regex.V1)
# Of many regional indicators in a row (halves of flags) an even number: leaving it out moves no other boundary, takes
# no word away, and spares `_UNICODE_BOUNDARY` counting them all again at each of them.
_MANY_FLAGS = regex.compile("(?:[\U0001f1e6-\U0001f1ff]{2})+(?=[\U0001f1e6-\U0001f1ff]{2})")


@dataclass(frozen=True)
class SplitText:
    """One document's lines and words.

    Attributes:
        text: the document.
        lines: the lines with anything but white space on them, stripped.
        raw_lines: the same lines as written.
        blank_lines: the lines of white space only, as written.
        line_words: words of each of `lines`; of a line of marks there may be none (`unicode`).
        paragraphs: the index of the paragraph that each of `lines` belongs to, from 0 and without gaps.
    """

    text: str
    lines: list[str]
    raw_lines: list[str]
    blank_lines: list[str]
    line_words: list[list[str]]
    paragraphs: list[int]

    @property
    def n_words(self) -> int:
        return sum(map(len, self.line_words))


def split_text(text: str, words: WordDefinition = "whitespace") -> SplitText:
    """Split a document into lines and paragraphs, and each line into words."""
    raw_lines: list[str] = []
    blank_lines: list[str] = []
    paragraphs: list[int] = []
    paragraph = 0
    after_empty = False
    for raw in (text.replace("\r\n", "\n") if "\r" in text else text).split("\n"):
        if not raw:
            after_empty = True
        elif raw.isspace():
            blank_lines.append(raw)
        else:
            paragraph += after_empty and bool(raw_lines)
            after_empty = False
            raw_lines.append(raw)
            paragraphs.append(paragraph)
    lines = [raw.strip() for raw in raw_lines]
    return SplitText(text, lines, raw_lines, blank_lines, _split_lines(lines, words), paragraphs)


def split_words(text: str, words: WordDefinition = "whitespace") -> list[str]:
    """The words of a text, in order, by one of the definitions."""
    if words == "whitespace":
        return text.split()
    cut = _words_and_marks if words == "punctuation" else _unicode_words
    found: list[str] = []
    for chunk in text.split():
        if chunk.isalpha() and (cut is _words_and_marks or chunk.isascii()):
            found.append(chunk)
        elif len(chunk) <= CACHED_CHARS:
            found.extend(cut(chunk))
        else:
            found.extend(cut.__wrapped__(chunk))
    return found


def _split_lines(lines: Sequence[str], words: WordDefinition) -> list[list[str]]:
    if words == "whitespace":
        return [line.split() for line in lines]
    return [split_words(line, words) for line in lines]


@lru_cache(CACHED_CHUNKS)
def _words_and_marks(chunk: str) -> tuple[str, ...]:
    front = _FRONT.match(chunk)
    start = front.end() if front else 0
    end, behind = _marks_behind(chunk, start)
    word = chunk[start:end]
    if not word:
        inside = []
    elif _ADDRESS.match(word) or word == "and/or":
        inside = [word]
    else:
        inside = [piece for piece in _INSIDE.split(word) if piece]
    return (*_IN_FRONT.findall(chunk[:start]), *inside, *behind)


def _marks_behind(chunk: str, start: int) -> tuple[int, list[str]]:
    """Where the word that begins at `start` ends, and the marks behind it."""
    end = len(chunk)
    initials = _ABBREVIATION.match(chunk, start)
    initials_end = initials.end() if initials else start
    marks: list[str] = []
    while end > start:
        last = chunk[end - 1]
        size = 1
        if last == ".":
            while end - size > start and chunk[end - size - 1] == ".":
                size += 1
            before = chunk[end - 2] if end - 2 >= start else ""
            if size == 1 and (not before or _keeps_full_stop(chunk, start, end, initials_end)):
                break
        elif not (_BEHIND.match(last) or (last in "%$" and chunk[end - 2 : end - 1].isdigit())):
            break
        marks.append(chunk[end - size : end])
        end -= size
    return end, marks[::-1]


def _keeps_full_stop(chunk: str, start: int, end: int, initials_end: int) -> bool:
    """Whether the full stop at the end belongs to the word: initials and abbreviations of single letters.

    `initials_end` is where the letters with a full stop each, from `start` on, end.
    """
    capitals = chunk[max(start, end - 3) : end - 1]
    if capitals[-1:].isupper() and not capitals.isupper():
        return True
    return end <= initials_end and (end - start) % 2 == 0 and (end - start > 2 or capitals.isupper())


@lru_cache(CACHED_CHUNKS)
def _unicode_words(chunk: str) -> tuple[str, ...]:
    if len(chunk) > CACHED_CHARS:
        chunk = _MANY_FLAGS.sub("", chunk)
    return tuple(piece for piece in _UNICODE_BOUNDARY.split(chunk) if any(map(str.isalnum, piece)))


class _Vocabulary(dict[str, int]):
    """word -> id in the order of first use."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


@dataclass(frozen=True)
class WordBatch:
    """The words of several documents, one after the other, as integers.

    Attributes:
        documents: the split texts, in order.
        vocabulary: the distinct words; `vocabulary[ids[i]]` is word i.
        ids: (n_words,) word ids.
        offsets: (n_documents + 1,) document d holds the words offsets[d]:offsets[d + 1].
    """

    documents: Sequence[SplitText]
    vocabulary: list[str]
    ids: IntArray
    offsets: IntArray

    @classmethod
    def of(cls, documents: Sequence[SplitText]) -> "WordBatch":
        """Number the words of split documents."""
        number = _Vocabulary()
        sizes = [document.n_words for document in documents]
        offsets = np.zeros(len(documents) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        words = chain.from_iterable(chain.from_iterable(document.line_words) for document in documents)
        ids = np.fromiter(map(number.__getitem__, words), np.int64, count=int(offsets[-1]))
        return cls(documents, list(number), ids, offsets)

    @cached_property
    def n_words(self) -> IntArray:
        """(n_documents,) words of each document."""
        return np.diff(self.offsets)

    @cached_property
    def document_of(self) -> IntArray:
        """(n_words,) the document that each word belongs to."""
        return np.repeat(np.arange(len(self.documents)), self.n_words)

    @cached_property
    def word_lengths(self) -> IntArray:
        """(n_vocabulary,) characters of each distinct word."""
        return np.fromiter(map(len, self.vocabulary), np.int64, count=len(self.vocabulary))

    @cached_property
    def char_starts(self) -> IntArray:
        """(n_words + 1,) characters before each word; differences give the characters of any run of words."""
        return _running_sums(self.word_lengths[self.ids])

    @cached_property
    def n_chars(self) -> IntArray:
        """(n_documents,) characters of each document's words."""
        return np.diff(self.char_starts[self.offsets])

    def sum_words(self, values: IntArray | npt.NDArray[np.bool_]) -> IntArray:
        """(n_documents,) sum over the words of each document of the value (n_vocabulary,) that each word has."""
        return np.diff(_running_sums(values[self.ids])[self.offsets])


def batches(documents: Iterable[SplitText]) -> Iterator[WordBatch]:
    """Number the words of split documents in batches of bounded size; a longer document is a batch of its own."""
    pending: list[SplitText] = []
    words = 0
    for document in documents:
        size = document.n_words
        if pending and (words + size > MAX_BATCH_WORDS or len(pending) == MAX_BATCH_DOCUMENTS):
            yield WordBatch.of(pending)
            pending, words = [], 0
        pending.append(document)
        words += size
    if pending:
        yield WordBatch.of(pending)


def _running_sums(values: IntArray | npt.NDArray[np.bool_]) -> IntArray:
    """(n + 1,) sums of the first 0, 1, ... n values."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums
