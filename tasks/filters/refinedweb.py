"""RefinedWeb's line rules (Penedo et al. 2023, arXiv:2306.01116, appendix G.2), counted and, on demand, applied.

The paper gives the rules in words. The constants are those of DCLM's reproduction (Li et al. 2024, arXiv:2406.11794,
section 4, and its published configuration). The first that holds of a line:

    uppercase             more than half of its characters (white space included) are upper case
    numeric               all of its characters are digits
    counter               it is a counter: "3 likes", "1.2K views"
    one_word              it has fewer than 2 words
    phrase                it has at most 10 words and, in any case, holds "items in cart", ends in "Read more..." or
                          begins with "Sign-in": the phrase is cut out, and the line goes when nothing is left

A page that loses more than 5 % of its words so is no page of prose, and goes as a whole: the rule is in
`presets/refinedweb.yaml`, on `refinedweb_removed_fraction`. Counts and fraction are those of the page before cleaning,
the same whether it is cleaned or not.

Lines are the stripped non-blank ones of `tasks/words.py`, words white-space delimited. DCLM's code counts a line's
indentation as characters that are not upper case, and for the page's 5 % words by UAX 29 without punctuation: on 4,093
crawled pages of documentation 0.15 % of the lines and 0.5 % of the pages are decided otherwise for that.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.filters.characters import Lines
from tasks.filters.gopher import FloatArray, IntArray, fraction
from tasks.words import SplitText

MAX_UPPER_FRACTION = 0.5
MIN_LINE_WORDS = 2
MAX_PHRASE_WORDS = 10  # a counter is no longer than this either
MAX_REMOVED_FRACTION = 0.05

KEPT, UPPERCASE, NUMERIC, COUNTER, ONE_WORD, PHRASE = range(6)
REASONS = {
    "refinedweb_uppercase_lines": UPPERCASE,
    "refinedweb_numeric_lines": NUMERIC,
    "refinedweb_counter_lines": COUNTER,
    "refinedweb_one_word_lines": ONE_WORD,
    "refinedweb_phrase_lines": PHRASE,  # shortened or gone
}
SIGNALS: tuple[pa.Field, ...] = (
    *(pa.field(name, pa.int32()) for name in REASONS),
    pa.field("refinedweb_removed_fraction", pa.float32()),  # of the page's words
)

_COUNTED = "likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers"  # DCLM
_COUNTER = re.compile(rf"\W*\d[\d.,]*[kmb]?\s+(?:{_COUNTED})\W*", re.IGNORECASE)
# With the white space that would be left over on the side where the line goes on.
_PHRASES = (
    re.compile(r"\s?items in cart", re.IGNORECASE),
    re.compile(r"\s?read more(?:\.\.\.|…)$", re.IGNORECASE),
    re.compile(r"^sign-in\s?", re.IGNORECASE),
)
_HINTS = ("items in cart", "read more", "sign-in")


@dataclass(frozen=True)
class LineVerdicts:
    """What the rules made of the lines of several documents.

    Attributes:
        lines: the lines judged.
        reasons: (n_lines,) `KEPT` or why a line goes or is shortened.
        removed_words: (n_lines,) words that go.
        shortened: line number -> what is left of it; empty: it goes.
    """

    lines: Lines
    reasons: npt.NDArray[np.int8]
    removed_words: IntArray
    shortened: dict[int, str]


def judge_lines(lines: Lines) -> LineVerdicts:
    """Apply the line rules to the lines of split documents."""
    reasons = np.full(len(lines.n_words), KEPT, np.int8)
    reasons[lines.n_words < MIN_LINE_WORDS] = ONE_WORD
    short = np.flatnonzero((lines.n_words <= MAX_PHRASE_WORDS) & (lines.n_words >= MIN_LINE_WORDS))
    counters = [k for k in short[lines.n_digits[short] > 0].tolist() if _COUNTER.fullmatch(lines.texts[k])]
    reasons[counters] = COUNTER
    reasons[lines.n_digits == lines.n_chars] = NUMERIC
    reasons[lines.n_upper > MAX_UPPER_FRACTION * lines.n_chars] = UPPERCASE
    removed = np.where(reasons == KEPT, 0, lines.n_words)
    shortened: dict[int, str] = {}
    for k in short[reasons[short] == KEPT].tolist():
        line = lines.texts[k]
        left = _without_phrases(line)
        if left != line:
            shortened[k] = left
            reasons[k] = PHRASE
            removed[k] = lines.n_words[k] - len(left.split())
    return LineVerdicts(lines, reasons, removed, shortened)


def signals(verdicts: LineVerdicts) -> dict[str, IntArray | FloatArray]:
    """Lines by reason and the fraction of words that go, for each document: name -> (n_documents,)."""
    lines = verdicts.lines
    counts: dict[str, IntArray | FloatArray] = {
        name: lines.per_document(verdicts.reasons == reason) for name, reason in REASONS.items()
    }
    removed = fraction(lines.per_document(verdicts.removed_words), lines.per_document(lines.n_words))
    return {**counts, "refinedweb_removed_fraction": removed}


def clean_texts(verdicts: LineVerdicts) -> list[str]:
    """The documents as RefinedWeb keeps them: the lines that stay, a blank line between paragraphs."""
    offsets = verdicts.lines.offsets
    return [
        _clean_text(document, verdicts, int(offsets[d]), int(offsets[d + 1]))
        for d, document in enumerate(verdicts.lines.documents)
    ]


def _clean_text(document: SplitText, verdicts: LineVerdicts, start: int, end: int) -> str:
    pieces: list[str] = []
    last = -1
    for k, reason in enumerate(verdicts.reasons[start:end].tolist()):
        line = document.lines[k] if reason == KEPT else verdicts.shortened.get(start + k, "")
        if not line:
            continue
        if pieces:
            pieces.append("\n" if document.paragraphs[k] == last else "\n\n")
        pieces.append(line)
        last = document.paragraphs[k]
    return "".join(pieces)


def _without_phrases(line: str) -> str:
    lower = line.lower()
    if not any(hint in lower for hint in _HINTS):
        return line
    for phrase in _PHRASES:
        line = phrase.sub("", line)
    return line.strip()
