"""Words, lines and paragraphs: the one tokenisation that every signal of a document is counted on.

The definitions, which matter more than any threshold built on them:

- a *word* is a run of characters between Unicode white space (`str.split()`), punctuation attached, as in Gopher
  (Rae et al. 2021, arXiv:2112.11446, A.1.1) and dolma. Tokenisers that make punctuation a word of its own fail most
  technical prose on Gopher's rules;
- a *line* is what stands between line feeds (and no other separator), stripped, blank lines left out;
- a *paragraph* is a run of lines with no blank line between them;
- the *characters* of any of these are the code points of its words: white space counts nowhere, so every fraction of
  characters lies in [0, 1] and does not change with indentation.

Documents are split once, each by itself, and then counted together: words become integers over a whole batch of
documents, so that numpy does the counting (`WordBatch`). No count of a document depends on its neighbours in a batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

# A batch is closed before it would exceed these. They bound memory (about 60 bytes a word) and keep the products
# documents x vocabulary x vocabulary that key n-grams below 2^63: 2^12 x 2^17 x 2^17 = 2^46.
MAX_BATCH_WORDS = 1 << 17
MAX_BATCH_DOCUMENTS = 1 << 12


@dataclass(frozen=True)
class SplitText:
    """One document's lines and words. `paragraphs[i]` is the index of the paragraph that line i belongs to."""

    text: str
    lines: list[str]
    line_words: list[list[str]]
    paragraphs: list[int]

    @property
    def n_words(self) -> int:
        return sum(map(len, self.line_words))


def split_text(text: str) -> SplitText:
    """Split a document into stripped non-blank lines, each line into words, and number its paragraphs from 0."""
    lines: list[str] = []
    paragraphs: list[int] = []
    paragraph = 0
    after_blank = False
    for raw in text.split("\n"):
        line = raw.strip()
        if not line:
            after_blank = True
            continue
        if after_blank and lines:
            paragraph += 1
        after_blank = False
        lines.append(line)
        paragraphs.append(paragraph)
    return SplitText(text, lines, [line.split() for line in lines], paragraphs)


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
    def char_starts(self) -> IntArray:
        """(n_words + 1,) characters before each word; differences give the characters of any run of words."""
        lengths = np.fromiter(map(len, self.vocabulary), np.int64, count=len(self.vocabulary))
        starts = np.zeros(len(self.ids) + 1, np.int64)
        np.cumsum(lengths[self.ids], out=starts[1:])
        return starts

    @cached_property
    def n_chars(self) -> IntArray:
        """(n_documents,) characters of each document's words."""
        return np.diff(self.char_starts[self.offsets])

    def count_words(self, counts: npt.NDArray[np.bool_]) -> IntArray:
        """(n_documents,) words of each document whose vocabulary entry is marked in `counts` (n_vocabulary,)."""
        running = np.zeros(len(self.ids) + 1, np.int64)
        np.cumsum(counts[self.ids], out=running[1:])
        return np.diff(running[self.offsets])


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
