"""FineWeb's own signals (Penedo et al. 2024, arXiv:2406.17557, section 3.6).

They were found by comparing the signals of a good crawl with those of a bad one. They are read as the code that made
the data set reads them (datatrove): lines are as written, without those of white space only, so that blanks behind a
full stop hide it and indentation makes a line longer. FineWeb counts them on the text that C4's line rules left, where
lines have no white space around them.

`repeated_line_char_fraction` is not Gopher's `duplicate_line_char_fraction`: it leaves out lines of blanks, and line
feeds in what it divides by.
"""

import numpy as np
import pyarrow as pa

from tasks.filters.gopher import FloatArray, IntArray, fraction, repeats
from tasks.filters.punctuation import TERMINAL_PUNCTUATION
from tasks.words import SplitText, WordBatch

SHORT_LINE_CHARS = 30  # section 3.6: "lines shorter than 30 characters"; the code that made the data set includes 30

SIGNALS: tuple[pa.Field, ...] = (
    pa.field("n_lines", pa.int32()),
    pa.field("terminal_line_fraction", pa.float32()),
    pa.field("short_line_fraction", pa.float32()),
    pa.field("repeated_line_char_fraction", pa.float32()),
    pa.field("newline_ratio", pa.float32()),
)


def line_signals(batch: WordBatch) -> dict[str, IntArray | FloatArray]:
    """FineWeb's signals for each document of a batch.

    Returns:
        name -> (n_documents,): `n_lines`; `terminal_line_fraction`, lines whose last character ends a sentence;
        `short_line_fraction`, lines of at most 30 characters; `repeated_line_char_fraction`, characters of the lines
        that are equal to an earlier one, of all but line feeds; `newline_ratio`, line feeds a word.
    """
    documents = batch.documents
    counts = np.array([_line_counts(document) for document in documents], np.int64).reshape(-1, 5)
    n_lines, terminal, short, repeated_chars, newlines = counts.T
    n_chars = np.array([len(document.text) for document in documents], np.int64)
    return {
        "n_lines": n_lines,
        "terminal_line_fraction": fraction(terminal, n_lines),
        "short_line_fraction": fraction(short, n_lines),
        "repeated_line_char_fraction": fraction(repeated_chars, n_chars - newlines),
        "newline_ratio": fraction(newlines, batch.n_words),
    }


def _line_counts(document: SplitText) -> tuple[int, int, int, int, int]:
    """(lines, those that end a sentence, short ones, characters of repeated ones, line feeds) of one document."""
    lines = document.raw_lines
    terminal = sum([line[-1] in TERMINAL_PUNCTUATION for line in lines])
    short = sum([len(line) <= SHORT_LINE_CHARS for line in lines])
    return len(lines), terminal, short, repeats(lines)[1], document.text.count("\n")
