"""Sizes and distributions: what sets a page apart from the others in its corpus.

There are no thresholds for these in the papers; they are for looking at (the curation report draws them) and for rules
of one's own, by value or by quantile. Repetitive pages compress well and have a low entropy; encoded data, tables and
pages of tags the other way round. Characters are code points without white space, as everywhere.

Both dear ones are the same on every machine: entropy is summed in integers, and compression is by the zstd inside
pyarrow, whose behaviour `compression_probe` puts into the artifact's version.
"""

import hashlib
import struct
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from tasks.filters.characters import Lines
from tasks.filters.gopher import FloatArray, IntArray, fraction
from tasks.words import SplitText, WordBatch

SIGNALS: tuple[pa.Field, ...] = (
    pa.field("n_chars", pa.int32()),  # code points of the text, white space included
    pa.field("n_paragraphs", pa.int32()),
    pa.field("longest_word", pa.int32()),  # characters; 0 without words
    pa.field("upper_char_fraction", pa.float32()),  # of the characters
    pa.field("digit_char_fraction", pa.float32()),
    pa.field("symbol_char_fraction", pa.float32()),  # neither letter nor digit
    pa.field("unique_word_fraction", pa.float32()),  # different words / words
    pa.field("unigram_entropy", pa.float32()),  # bits a word
    pa.field("compression_ratio", pa.float32()),  # UTF-8 bytes / bytes of a zstd frame of them
)

ZSTD_LEVEL = 3  # zstd's own default
# Entropy's logarithms in fixed point: sums of integers do not depend on their order, and 2^20 a bit is finer than
# float32 for every text of less than 2^23 words.
FIXED_POINT = 1 << 20


def size_signals(documents: Sequence[SplitText]) -> dict[str, IntArray | FloatArray]:
    """`n_chars`, `n_paragraphs` and `compression_ratio` of each document, (n_documents,)."""
    encoded = [document.text.encode() for document in documents]
    return {
        "n_chars": np.array([len(document.text) for document in documents], np.int64),
        "n_paragraphs": np.array([_paragraphs(document) for document in documents], np.int64),
        "compression_ratio": fraction(
            np.array([len(data) for data in encoded], np.int64),
            np.array([_compressed_bytes(data) if data else 0 for data in encoded], np.int64),
        ),
    }


def character_signals(lines: Lines) -> dict[str, FloatArray]:
    """The fractions of upper case, digits and symbols among the characters of each document, (n_documents,)."""
    characters = lines.per_document(lines.n_chars - lines.n_spaces)
    return {
        "upper_char_fraction": fraction(lines.per_document(lines.n_upper), characters),
        "digit_char_fraction": fraction(lines.per_document(lines.n_digits), characters),
        "symbol_char_fraction": fraction(lines.per_document(lines.n_symbols), characters),
    }


def word_signals(batch: WordBatch) -> dict[str, IntArray | FloatArray]:
    """What the words of each document are like, (n_documents,).

    Returns:
        `longest_word`; `unique_word_fraction`; `unigram_entropy` (Shannon 1948, section 6), H = log2 N - (sum of
        c log2 c) / N over the counts c of the document's N words: 0 where one word is said over and over, log2 N where
        none is said twice. RedPajama-Data-v2's signal of this name is in nats.
    """
    keys = np.sort(batch.document_of * np.int64(len(batch.vocabulary)) + batch.ids)
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    counts = np.diff(np.r_[first, len(keys)])
    of_document = np.searchsorted(first, batch.offsets)  # keys ascend by document, and so do their first places
    repeated = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(_c_log2_c(counts), out=repeated[1:])
    bits = _c_log2_c(batch.n_words) - np.diff(repeated[of_document])
    lengths = np.fromiter(map(len, batch.vocabulary), np.int64, count=len(batch.vocabulary))[batch.ids]
    longest = np.zeros(len(batch.documents), np.int64)
    filled = batch.n_words > 0
    if filled.any():
        longest[filled] = np.maximum.reduceat(lengths, batch.offsets[:-1][filled])
    return {
        "longest_word": longest,
        "unique_word_fraction": fraction(np.diff(of_document), batch.n_words),
        "unigram_entropy": fraction(bits, batch.n_words) / FIXED_POINT,
    }


@cache
def compression_probe() -> str:
    """Digest of what the compressor makes of a fixed text: another one where `compression_ratio` might be another."""
    words = [struct.pack(">H", k * k % 65_521).hex() for k in range(2_000)]
    return hashlib.sha256(_codec().compress(" ".join(words).encode(), asbytes=True)).hexdigest()


def _compressed_bytes(data: bytes) -> int:
    return int(_codec().compress(data).size)


@cache
def _codec() -> pa.Codec:
    return pa.Codec("zstd", ZSTD_LEVEL)


def _c_log2_c(counts: IntArray) -> IntArray:
    """c log2 c in fixed point, 0 for 0."""
    some = np.maximum(counts, 1)
    return np.rint(some * np.log2(some) * FIXED_POINT).astype(np.int64)


def _paragraphs(document: SplitText) -> int:
    return document.paragraphs[-1] + 1 if document.paragraphs else 0
