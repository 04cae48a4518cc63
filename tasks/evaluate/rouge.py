"""ROUGE-L: how much of a reference answer a generated one contains, in order.

The F1 of the longest common subsequence of words (Lin, 2004, "ROUGE: A Package for Automatic Evaluation of
Summaries", section 3.1, with beta = 1), as the `rouge_score` package computes it without its stemmer. Two
differences, none of which shows on English text: words of every alphabet count (`rouge_score` knows a-z and 0-9
only, and would score any Russian answer 0), and each Han or Kana character is a word, since those scripts write no
spaces.
"""

import re
from collections.abc import Sequence

# A Han or Kana character by itself, or a run of letters and digits (underscore is no letter, as in rouge_score).
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)


def words(text: str) -> list[str]:
    """The lower-cased words of `text`, punctuation dropped."""
    return _WORD.findall(text.lower())


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
