"""How many characters of each kind the lines of documents hold, counted for many documents at once.

The kinds are Python's: upper case (`str.isupper`), digit (`str.isdigit`), symbol (neither letter, digit nor white
space), by the Unicode of the running interpreter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from tasks.words import IntArray, SplitText

UPPER, DIGIT, SYMBOL, SPACE = 1, 2, 4, 8
CODE_POINTS = 0x110000
# Behind it lie no letters, digits or spaces up to Unicode 17 (the last ideograph is U+33479): the table need not
# ask the interpreter about a million empty places in every process.
LAST_LETTERS = 0x33500


@dataclass(frozen=True)
class Lines:
    """The lines of several documents, one after the other, and what they hold.

    Attributes:
        texts: the lines.
        offsets: (n_documents + 1,) document d has the lines offsets[d]:offsets[d + 1].
        n_words: (n_lines,) words of each line.
        n_chars: (n_lines,) code points of each line, white space between its words included.
        n_upper, n_digits, n_symbols, n_spaces: (n_lines,) how many of these are of one kind.
    """

    documents: Sequence[SplitText]
    texts: list[str]
    offsets: IntArray
    n_words: IntArray
    n_chars: IntArray
    n_upper: IntArray
    n_digits: IntArray
    n_symbols: IntArray
    n_spaces: IntArray

    @classmethod
    def of(cls, documents: Sequence[SplitText]) -> "Lines":
        """Count the lines of split documents."""
        sizes = [len(document.lines) for document in documents]
        lines = list(chain.from_iterable(document.lines for document in documents))
        n_words = map(len, chain.from_iterable(document.line_words for document in documents))
        starts = _starts(np.fromiter(map(len, lines), np.int64, count=len(lines)))
        kinds = _kinds().take(np.frombuffer("".join(lines).encode("utf-32-le"), np.uint32))

        def count(kind: int) -> IntArray:
            return np.diff(np.searchsorted(np.flatnonzero((kinds & kind) != 0), starts))  # of booleans: thrice as fast

        return cls(
            documents=documents,
            texts=lines,
            offsets=_starts(np.array(sizes, np.int64)),
            n_words=np.fromiter(n_words, np.int64, count=len(lines)),
            n_chars=np.diff(starts),
            n_upper=count(UPPER),
            n_digits=count(DIGIT),
            n_symbols=count(SYMBOL),
            n_spaces=count(SPACE),
        )

    @cached_property
    def document_of(self) -> IntArray:
        """(n_lines,) the document that each line belongs to."""
        return np.repeat(np.arange(len(self.documents)), np.diff(self.offsets))

    def per_document(self, counts: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> IntArray:
        """(n_documents,) sums of (n_lines,) counts."""
        return np.diff(_starts(counts)[self.offsets])


def _starts(counts: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> IntArray:
    """(n + 1,) running sums, from 0."""
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """(0x110000,) kinds of each code point, as bits."""
    kinds = np.full(CODE_POINTS, SYMBOL, np.uint8)
    kinds[:LAST_LETTERS] = np.frombuffer(bytes(map(_kind, map(chr, range(LAST_LETTERS)))), np.uint8)
    return kinds


def _kind(character: str) -> int:
    if not character.isalnum():
        # A few upper-case symbols are no letters to Python (Ⓐ); they are both.
        return (SPACE if character.isspace() else SYMBOL) | (UPPER if character.isupper() else 0)
    return (UPPER if character.isupper() else 0) | (DIGIT if character.isdigit() else 0)
