"""Gopher's quality and repetition signals (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 and Table A1).

The paper gives thresholds, not code, and published implementations differ by a factor of two on the same page. FineWeb
was made by one of them (datatrove), and where the paper is silent this follows its reading:

- characters are code points of the text, white space included; those of an n-gram are the characters of its words;
- the words that the bounds on their number and mean length look at, `n_non_symbol_words`, leave out those of nothing
  but punctuation;
- lines for repetition are as written, lines of blanks among them: code with indented empty lines is repetitive;
- a line or paragraph is a *duplicate* when an equal one came before it in the document: the first one is free;
- the *top n-gram* is the most frequent one, the earliest of those. In a text that says nothing twice it is the first
  one, so that a text of a few words fails by being short. Its characters, one space between two words, count as often
  as it occurs, also where it overlaps itself ("a a a" holds "a a" twice); at most the text's length;
- the *duplicate n-grams* are found in one pass from the left: an n-gram seen before counts with its characters and the
  pass goes on behind it, so no character is counted twice ("taking care not to count characters that occur in
  overlapping n-grams more than once"); any other is remembered and the pass goes on by one word;
- stop words count as they are written, in lower case and as words of their own ("The" and "the," do not).

Its plain slips are not followed: n-grams are equal when their words are ("a bc" is not "ab c"); bullets are more than
"•" and "-", but a minus sign is none; empty lines count in no fraction of lines, and the carriage return before a line
feed belongs to no line. On the 4,093 texts of a crawl of documentation none of this changed a single decision
(tests/benchmarks/bench_parity.py).

Fractions of nothing (a document without words or lines) are NaN, stored as null, and fire no rule.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.filters.punctuation import PUNCTUATION
from tasks.words import IntArray, SplitText, WordBatch

FloatArray = npt.NDArray[np.float64]

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # A.1.1, "at least two of"
ELLIPSES = ("...", "…")
# Characters that open a list item by themselves, and those that do so only when white space follows ("-5", "*args" and
# "--help" open none). The paper names no characters; extracted lists use "-".
BULLETS = frozenset("•‣◦▪▫■□▶◀●○∙⁃")
SPACED_BULLETS = frozenset("-*–—+·")
TOP_NGRAMS = (2, 3, 4)  # Table A1
DUPLICATE_NGRAMS = (5, 6, 7, 8, 9, 10)  # Table A1

SIGNALS: tuple[pa.Field, ...] = (
    pa.field("n_words", pa.int32()),
    pa.field("n_non_symbol_words", pa.int32()),
    pa.field("mean_word_length", pa.float32()),
    pa.field("hash_ratio", pa.float32()),
    pa.field("ellipsis_ratio", pa.float32()),
    pa.field("bullet_line_fraction", pa.float32()),
    pa.field("ellipsis_line_fraction", pa.float32()),
    pa.field("alpha_word_fraction", pa.float32()),
    pa.field("stop_words", pa.int32()),
    pa.field("duplicate_line_fraction", pa.float32()),
    pa.field("duplicate_paragraph_fraction", pa.float32()),
    pa.field("duplicate_line_char_fraction", pa.float32()),
    pa.field("duplicate_paragraph_char_fraction", pa.float32()),
    *(pa.field(f"top_{n}gram_char_fraction", pa.float32()) for n in TOP_NGRAMS),
    *(pa.field(f"duplicate_{n}gram_char_fraction", pa.float32()) for n in DUPLICATE_NGRAMS),
)

_PARAGRAPH_END = re.compile(r"\n{2,}")


def quality_signals(batch: WordBatch) -> dict[str, IntArray | FloatArray]:
    """The signals of A.1.1 for each document of a batch.

    Returns:
        name -> (n_documents,): `n_words`; `n_non_symbol_words`, those of more than punctuation, and
        their `mean_word_length`; `hash_ratio` and `ellipsis_ratio`, symbols a word; `bullet_line_fraction` and
        `ellipsis_line_fraction` of the lines that are not blank; `alpha_word_fraction`, words with a letter;
        `stop_words`, how many of `STOP_WORDS` occur.
    """
    documents = batch.documents
    n_lines = np.array([len(document.lines) for document in documents], np.int64)
    bullets = np.array([_bullet_lines(document) for document in documents], np.int64)
    ellipses = np.array([sum(map(document.text.count, ELLIPSES)) for document in documents], np.int64)
    ellipsis_lines = np.array([_ellipsis_lines(document) for document in documents], np.int64)
    hashes = np.array([document.text.count("#") for document in documents], np.int64)
    letters = np.array([word.isalpha() or any(map(str.isalpha, word)) for word in batch.vocabulary], bool)
    spoken = np.array([word.isalnum() or not PUNCTUATION.issuperset(word) for word in batch.vocabulary], bool)
    n_spoken = batch.sum_words(spoken)
    return {
        "n_words": batch.n_words,
        "n_non_symbol_words": n_spoken,
        "mean_word_length": fraction(batch.sum_words(spoken * batch.word_lengths), n_spoken),
        "hash_ratio": fraction(hashes, batch.n_words),
        "ellipsis_ratio": fraction(ellipses, batch.n_words),
        "bullet_line_fraction": fraction(bullets, n_lines),
        "ellipsis_line_fraction": fraction(ellipsis_lines, n_lines),
        "alpha_word_fraction": fraction(batch.sum_words(letters), batch.n_words),
        "stop_words": _distinct_stop_words(batch),
    }


def repetition_signals(batch: WordBatch) -> dict[str, IntArray | FloatArray]:
    """The signals of Table A1 for each document of a batch, as fractions in [0, 1].

    Returns:
        name -> (n_documents,): `duplicate_line_fraction`, `duplicate_line_char_fraction`, the same two for paragraphs,
        `top_{2,3,4}gram_char_fraction`, `duplicate_{5..10}gram_char_fraction`.
    """
    duplicates = np.array([_duplicate_blocks(document) for document in batch.documents], np.int64).reshape(-1, 6)
    lines, line_repeats, line_chars, paragraphs, paragraph_repeats, paragraph_chars = duplicates.T
    chars = np.array([len(document.text) for document in batch.documents], np.int64)
    signals: dict[str, IntArray | FloatArray] = {
        "duplicate_line_fraction": fraction(line_repeats, lines),
        "duplicate_line_char_fraction": fraction(line_chars, chars),
        "duplicate_paragraph_fraction": fraction(paragraph_repeats, paragraphs),
        "duplicate_paragraph_char_fraction": fraction(paragraph_chars, chars),
    }
    chars = np.where(batch.n_words > 0, chars, 0)  # no words: a fraction of nothing, whatever blanks there are
    repeated = _repeated_words(batch)
    for n in range(2, max(DUPLICATE_NGRAMS) + 1):
        repeated = _extend(batch, repeated)
        if n in TOP_NGRAMS:
            signals[f"top_{n}gram_char_fraction"] = fraction(np.minimum(_top_chars(batch, repeated), chars), chars)
        if n in DUPLICATE_NGRAMS:
            signals[f"duplicate_{n}gram_char_fraction"] = fraction(_duplicate_chars(batch, repeated), chars)
    return signals


def fraction(part: IntArray, whole: IntArray) -> FloatArray:
    """part / whole, NaN where there is no whole. Quotients of integers: the same bits on every machine."""
    quotient = np.full(len(whole), np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient


def repeats(blocks: Sequence[str]) -> tuple[int, int]:
    """How many blocks are equal to an earlier one, and their characters."""
    different = set(blocks)
    count = len(blocks) - len(different)
    return count, sum(map(len, blocks)) - sum(map(len, different)) if count else 0


def _bullet_lines(document: SplitText) -> int:
    return sum(
        line[0] in BULLETS or (line[0] in SPACED_BULLETS and (len(line) == 1 or line[1].isspace()))
        for line in document.lines
    )


def _ellipsis_lines(document: SplitText) -> int:
    return sum(line.endswith(ELLIPSES) for line in document.lines)


def _distinct_stop_words(batch: WordBatch) -> IntArray:
    bits = {word: 1 << bit for bit, word in enumerate(STOP_WORDS)}
    flags = np.array([bits.get(word, 0) for word in batch.vocabulary], np.int64)
    bits_of_words = flags[batch.ids]
    hits = np.flatnonzero(bits_of_words)
    seen = np.zeros(len(batch.documents), np.int64)
    np.bitwise_or.at(seen, batch.document_of[hits], bits_of_words[hits])
    return np.bitwise_count(seen).astype(np.int64)


def _duplicate_blocks(document: SplitText) -> tuple[int, int, int, int, int, int]:
    """(lines, duplicates, their characters, paragraphs, duplicates, their characters) of one document."""
    lines = document.raw_lines + document.blank_lines
    paragraphs = _paragraphs(document.text)
    return len(lines), *repeats(lines), len(paragraphs), *repeats(paragraphs)


def _paragraphs(text: str) -> list[str]:
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if "\n\n" not in text:
        return [] if not text or text.isspace() else [text]
    return [block for block in _PARAGRAPH_END.split(text.strip()) if block and not block.isspace()]


@dataclass(frozen=True)
class _Repeated:
    """The n-grams that occur more than once in their document.

    An n-gram can only be repeated where both (n-1)-grams inside it are, so each length looks at what the one before it
    left over; few positions survive the first lengths. `starts` are word positions in the batch, ascending; `groups`
    number equal n-grams of one document (exactly, no hashing), so equal groups mean equal words.
    """

    n: int
    starts: IntArray
    groups: IntArray


def _repeated_words(batch: WordBatch) -> _Repeated:
    positions = np.arange(len(batch.ids))
    return _group(1, positions, batch.document_of * np.int64(len(batch.vocabulary)) + batch.ids)


def _extend(batch: WordBatch, shorter: _Repeated) -> _Repeated:
    """The repeated (n+1)-grams, from the repeated n-grams: the group of the first n words and the word after them.

    The word after them must be in the same document: what runs over its end is no n-gram.
    """
    n = shorter.n
    follows = np.flatnonzero(np.diff(shorter.starts) == 1)
    starts = shorter.starts[follows]
    inside = batch.document_of[starts] == batch.document_of[starts + n]
    follows, starts = follows[inside], starts[inside]
    keys = shorter.groups[follows] * np.int64(len(batch.vocabulary)) + batch.ids[starts + n]
    return _group(n + 1, starts, keys)


def _group(n: int, starts: IntArray, keys: IntArray) -> _Repeated:
    """Number the keys that occur more than once and leave out the others."""
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    opens = np.ones(len(keys), bool)
    opens[1:] = in_order[1:] != in_order[:-1]
    ranks = np.cumsum(opens) - 1
    groups = np.empty(len(keys), np.int64)
    groups[order] = ranks
    keep = np.bincount(ranks)[groups] > 1
    return _Repeated(n, starts[keep], groups[keep])


def _top_chars(batch: WordBatch, repeated: _Repeated) -> IntArray:
    """(n_documents,) characters of each top n-gram, with a space between its words, times its occurrences."""
    n, before = repeated.n, batch.char_starts
    size = np.int64(len(batch.ids))
    # most frequent, then earliest; where none occurs twice that is the first
    long_enough = np.flatnonzero(batch.n_words >= n)
    best = np.zeros(len(batch.documents), np.int64)
    best[long_enough] = 2 * size - 1 - batch.offsets[long_enough]
    if len(repeated.starts):
        counts = np.bincount(repeated.groups)[repeated.groups]
        documents = batch.document_of[repeated.starts]  # ascending
        opens = np.flatnonzero(np.r_[True, documents[1:] != documents[:-1]])
        best[documents[opens]] = np.maximum.reduceat(counts * size + (size - 1 - repeated.starts), opens)
    chars = np.zeros(len(batch.documents), np.int64)
    counts, starts = best[long_enough] // size, size - 1 - best[long_enough] % size
    chars[long_enough] = counts * (before[starts + n] - before[starts] + n - 1)
    return chars


def _duplicate_chars(batch: WordBatch, repeated: _Repeated) -> IntArray:
    """(n_documents,) characters in duplicate n-grams. Only repeated n-grams can be hit: the pass visits no others."""
    covered = np.zeros(len(batch.documents), np.int64)
    n, before = repeated.n, batch.char_starts
    seen: set[int] = set()
    hits = []
    resume = 0
    for start, group in zip(repeated.starts.tolist(), repeated.groups.tolist(), strict=True):
        if start < resume:
            continue
        if group in seen:
            hits.append(start)
            resume = start + n
        else:
            seen.add(group)
    starts = np.array(hits, np.int64)
    np.add.at(covered, batch.document_of[starts], before[starts + n] - before[starts])
    return covered
