"""Gopher's signals written down word by word as their definition reads, one document at a time and without numpy.

Slow on purpose: the reference that `tasks/filters/gopher.py` is compared with, and the peer of
`tests/benchmarks/bench_measure.py`.
"""

import re
from collections import Counter

from tasks.filters.punctuation import PUNCTUATION

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def lines_of(text: str) -> list[str]:
    """Lines as written, lines of white space among them."""
    return [line for line in re.split(r"\r?\n", text) if line]


def paragraphs_of(text: str) -> list[str]:
    return [block for block in re.split(r"\n\n+", text.replace("\r\n", "\n").strip()) if block.strip()]


def chars(words: list[str] | tuple[str, ...]) -> int:
    return sum(len(word) for word in words)


def ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def quality(text: str, words: list[str] | None = None) -> dict[str, float | None]:
    words = text.split() if words is None else words
    lines = [line.strip() for line in lines_of(text) if line.strip()]
    spoken = [word for word in words if any(c not in PUNCTUATION for c in word)]
    bullets = [
        line for line in lines if line[0] in "•‣◦▪▫■□▶◀●○∙⁃" or line.split()[0] in ["-", "*", "–", "—", "+", "·"]
    ]
    return {
        "n_words": len(words),
        "n_non_symbol_words": len(spoken),
        "mean_word_length": ratio(chars(spoken), len(spoken)),
        "hash_ratio": ratio(text.count("#"), len(words)),
        "ellipsis_ratio": ratio(text.count("...") + text.count("…"), len(words)),
        "bullet_line_fraction": ratio(len(bullets), len(lines)),
        "ellipsis_line_fraction": ratio(sum(line.endswith("...") or line.endswith("…") for line in lines), len(lines)),
        "alpha_word_fraction": ratio(sum(any(c.isalpha() for c in word) for word in words), len(words)),
        "stop_words": len(STOP_WORDS & set(words)),
    }


def repetition(text: str, words: list[str] | None = None) -> dict[str, float | None]:
    words = text.split() if words is None else words
    signals = {}
    for name, blocks in (("line", lines_of(text)), ("paragraph", paragraphs_of(text))):
        repeats = [block for i, block in enumerate(blocks) if block in blocks[:i]]
        signals[f"duplicate_{name}_fraction"] = ratio(len(repeats), len(blocks))
        signals[f"duplicate_{name}_char_fraction"] = ratio(chars(repeats), len(text))
    for n in (2, 3, 4):
        signals[f"top_{n}gram_char_fraction"] = ratio(
            min(top_ngram_chars(words, n), len(text)), len(text) if words else 0
        )
    for n in range(5, 11):
        signals[f"duplicate_{n}gram_char_fraction"] = ratio(duplicate_ngram_chars(words, n), len(text) if words else 0)
    return signals


def top_ngram_chars(words: list[str], n: int) -> int:
    ngrams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    top, count = max(Counter(ngrams).items(), key=lambda item: item[1], default=("", 0))  # the earliest of several
    return len(top) * count


def duplicate_ngram_chars(words: list[str], n: int) -> int:
    seen = set()
    total = i = 0
    while i + n <= len(words):
        ngram = tuple(words[i : i + n])
        if ngram in seen:
            total += chars(ngram)
            i += n
        else:
            seen.add(ngram)
            i += 1
    return total
