"""ROUGE-L: how much of a reference answer a generated one contains, in order.

The F1 of the longest common subsequence of words (Lin, 2004, "ROUGE: A Package for Automatic Evaluation of
Summaries", section 3.1, with beta = 1), as the `rouge_score` package computes it without its stemmer. Two
differences, none of which shows on English text: words of every alphabet count (`rouge_score` knows a-z and 0-9
only, and would score any Russian answer 0), with the marks that combine with their letters (in NFC: how an accent is
encoded does not matter); and each character of a script that writes no blanks between words (Han, Kana, Thai, Lao,
Burmese, Khmer) is a word, with its marks.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

MARKS = ("Mn", "Mc")  # Unicode categories: vowel signs, accents, dakuten; `\w` has none of them
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"


def words(text: str) -> list[str]:
    """The lower-cased words of `text`, punctuation dropped."""
    text = unicodedata.normalize("NFC", text.lower())
    marks = "".join(sorted(sign for sign in set(text) if unicodedata.category(sign) in MARKS))
    return _word(marks).findall(text)


@lru_cache(maxsize=1024)
def _word(marks: str) -> re.Pattern[str]:
    """One unspaced character, or a run of letters and digits (underscore is no letter, as in rouge_score)."""
    letter, unspaced = rf"[^\W_{_UNSPACED}]", rf"(?=[^\W_])[{_UNSPACED}]"
    if not marks:
        return re.compile(f"{unspaced}|{letter}+")
    return re.compile(f"{unspaced}[{marks}]*|{letter}(?:{letter}|[{marks}])*")


def lcs_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence of `a` and `b`, exactly.

    Bit-parallel: one big-integer row instead of a table of len(a) x len(b) cells (Hyyro, 2004, "Bit-parallel
    LCS-length computation revisited", figure 2). A zero bit at position i of `row` means that the subsequence
    gets longer at a[i].
    """
    if not a or not b:
        return 0
    positions: dict[str, int] = {}
    for i, word in enumerate(a):
        positions[word] = positions.get(word, 0) | (1 << i)
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        matches = row & positions.get(word, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(a) - row.bit_count()


def rouge_l(reference: str, answer: str) -> float:
    """ROUGE-L F1 between 0 and 1; 0 when either text has no words."""
    wanted, given = words(reference), words(answer)
    common = lcs_length(wanted, given)
    if common == 0:
        return 0.0
    precision, recall = common / len(given), common / len(wanted)
    return 2 * precision * recall / (precision + recall)
