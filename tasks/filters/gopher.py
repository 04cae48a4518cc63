"""Gopher's quality and repetition signals (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 and Table A1).

The paper gives thresholds, not code, and published implementations differ by a factor of two on the same page. What is
counted here:

- words, lines, paragraphs and characters as `tasks/words.py` defines them (white space counts nowhere);
- a line or paragraph is a *duplicate* when an equal one came before it in the document: the first one is free;
- the *top n-gram* is the most frequent one, the longest in characters of those, the earliest of those; its fraction is
  that of the characters it covers, self-overlaps counted once ("a a a" holds "a a" twice and three characters of it);
  one that occurs once is no repetition and counts 0;
- the *duplicate n-grams* are found in one pass from the left: an n-gram seen before counts with its characters and the
  pass goes on behind it, so no character is counted twice ("taking care not to count characters that occur in
  overlapping n-grams more than once"); any other is remembered and the pass goes on by one word.

Fractions of nothing (a document without words or lines) are NaN, stored as null, and fire no rule.
"""

import string
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.words import IntArray, SplitText, WordBatch

FloatArray = npt.NDArray[np.float64]

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # A.1.1, "at least two of"
ELLIPSES = ("...", "…")
# Characters that open a list item by themselves, and those that do so only when white space follows ("-5", "*args" and
# "--help" open none). The paper names no characters; extracted lists use "-".
BULLETS = frozenset("•‣◦▪▫■□▶◀●○∙⁃")
SPACED_BULLETS = frozenset({"-", "*", "–", "—", "+", "·"})
TOP_NGRAMS = (2, 3, 4)  # Table A1
DUPLICATE_NGRAMS = (5, 6, 7, 8, 9, 10)  # Table A1

SIGNALS: tuple[pa.Field, ...] = (
    pa.field("n_words", pa.int32()),
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

_PUNCTUATION = string.punctuation + "“”‘’‚„«»‹›…–—•·"  # cut off around a word before it is compared with a stop word


def quality_signals(batch: WordBatch) -> dict[str, IntArray | FloatArray]:
    """The signals of A.1.1 for each document of a batch.

    Returns:
        name -> (n_documents,): `n_words`; `mean_word_length` in characters; `hash_ratio` and `ellipsis_ratio`, symbols
        a word; `bullet_line_fraction` and `ellipsis_line_fraction` of the lines; `alpha_word_fraction`, words with a
        letter; `stop_words`, how many of `STOP_WORDS` occur (in any case, punctuation around them ignored).
    """
    documents = batch.documents
    n_lines = np.array([len(document.lines) for document in documents], np.int64)
    bullets = np.array([_bullet_lines(document) for document in documents], np.int64)
    ellipsis_lines = np.array([sum(line.endswith(ELLIPSES) for line in document.lines) for document in documents])
    hashes = np.array([document.text.count("#") for document in documents], np.int64)
    ellipses = np.array([sum(map(document.text.count, ELLIPSES)) for document in documents], np.int64)
    letters = np.array([word.isalpha() or any(map(str.isalpha, word)) for word in batch.vocabulary], bool)
    return {
        "n_words": batch.n_words,
        "mean_word_length": fraction(batch.n_chars, batch.n_words),
        "hash_ratio": fraction(hashes, batch.n_words),
        "ellipsis_ratio": fraction(ellipses, batch.n_words),
        "bullet_line_fraction": fraction(bullets, n_lines),
        "ellipsis_line_fraction": fraction(ellipsis_lines, n_lines),
        "alpha_word_fraction": fraction(batch.count_words(letters), batch.n_words),
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
    signals: dict[str, IntArray | FloatArray] = {
        "duplicate_line_fraction": fraction(line_repeats, lines),
        "duplicate_line_char_fraction": fraction(line_chars, batch.n_chars),
        "duplicate_paragraph_fraction": fraction(paragraph_repeats, paragraphs),
        "duplicate_paragraph_char_fraction": fraction(paragraph_chars, batch.n_chars),
    }
    repeated = _repeated_words(batch)
    for n in range(2, max(DUPLICATE_NGRAMS) + 1):
        repeated = _extend(batch, repeated)
        if n in TOP_NGRAMS:
            signals[f"top_{n}gram_char_fraction"] = fraction(_top_chars(batch, repeated), batch.n_chars)
        if n in DUPLICATE_NGRAMS:
            signals[f"duplicate_{n}gram_char_fraction"] = fraction(_duplicate_chars(batch, repeated), batch.n_chars)
    return signals


def fraction(part: IntArray, whole: IntArray) -> FloatArray:
    """part / whole, NaN where there is no whole. Quotients of integers: the same bits on every machine."""
    quotient = np.full(len(whole), np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient


def _bullet_lines(document: SplitText) -> int:
    return sum(words[0] in SPACED_BULLETS or words[0][0] in BULLETS for words in document.line_words)


def _distinct_stop_words(batch: WordBatch) -> IntArray:
    bits = {word: 1 << bit for bit, word in enumerate(STOP_WORDS)}
    flags = np.array([bits.get(word.strip(_PUNCTUATION).lower(), 0) for word in batch.vocabulary], np.int64)
    bits_of_words = flags[batch.ids]
    hits = np.flatnonzero(bits_of_words)
    seen = np.zeros(len(batch.documents), np.int64)
    np.bitwise_or.at(seen, batch.document_of[hits], bits_of_words[hits])
    return np.bitwise_count(seen).astype(np.int64)


def _duplicate_blocks(document: SplitText) -> tuple[int, int, int, int, int, int]:
    """(lines, duplicates, their characters, paragraphs, duplicates, their characters) of one document."""
    sizes = [sum(map(len, words)) for words in document.line_words]
    line_repeats, line_chars = _repeats(zip(document.lines, sizes, strict=True))
    n_paragraphs = document.paragraphs[-1] + 1 if document.paragraphs else 0
    texts: list[list[str]] = [[] for _ in range(n_paragraphs)]
    paragraph_sizes = [0] * n_paragraphs
    for line, size, paragraph in zip(document.lines, sizes, document.paragraphs, strict=True):
        texts[paragraph].append(line)
        paragraph_sizes[paragraph] += size
    paragraph_repeats, paragraph_chars = _repeats(zip(map("\n".join, texts), paragraph_sizes, strict=True))
    return len(document.lines), line_repeats, line_chars, n_paragraphs, paragraph_repeats, paragraph_chars


def _repeats(blocks: Iterable[tuple[str, int]]) -> tuple[int, int]:
    seen: set[str] = set()
    count = chars = 0
    for block, size in blocks:
        if block in seen:
            count += 1
            chars += size
        else:
            seen.add(block)
    return count, chars


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
    """(n_documents,) characters that the top n-gram of each document covers."""
    covered = np.zeros(len(batch.documents), np.int64)
    if not len(repeated.starts):
        return covered
    n, before = repeated.n, batch.char_starts
    order = np.argsort(repeated.groups, kind="stable")  # by group, positions ascending within
    starts, groups = repeated.starts[order], repeated.groups[order]
    first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    counts = np.diff(np.r_[first, len(groups)])
    chars = before[starts[first] + n] - before[starts[first]]
    documents = batch.document_of[starts[first]]
    ranked = np.lexsort((-starts[first], chars, counts, documents))
    best = ranked[np.r_[documents[ranked][1:] != documents[ranked][:-1], True]]  # the last of each document
    chosen = np.zeros(len(first), bool)
    chosen[best] = True
    mine = np.repeat(chosen, counts)
    starts, groups = starts[mine], groups[mine]
    ends = starts + n
    ends[:-1] = np.where(groups[1:] == groups[:-1], np.minimum(ends[:-1], starts[1:]), ends[:-1])
    np.add.at(covered, batch.document_of[starts], before[ends] - before[starts])
    return covered


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
