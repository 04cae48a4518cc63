"""Gopher's signals written down word by word as their definition reads, one document at a time and without numpy.

Slow on purpose: the reference that `tasks/filters/gopher.py` is compared with, and the peer of
`tests/benchmarks/bench_measure.py`.
"""

import string
from collections import Counter

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def paragraphs_of(text: str) -> list[list[str]]:
    paragraphs: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            paragraphs[-1].append(line.strip())
        elif paragraphs[-1]:
            paragraphs.append([])
    return [paragraph for paragraph in paragraphs if paragraph]


def chars(words: list[str] | tuple[str, ...]) -> int:
    return sum(len(word) for word in words)


def ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def quality(text: str) -> dict[str, float | None]:
    words, lines = text.split(), lines_of(text)
    bare = {word.strip(string.punctuation + "“”‘’‚„«»‹›…–—•·").lower() for word in words}
    bullets = [
        line for line in lines if line[0] in "•‣◦▪▫■□▶◀●○∙⁃" or line.split()[0] in ["-", "*", "–", "—", "+", "·"]
    ]
    return {
        "n_words": len(words),
        "mean_word_length": ratio(chars(words), len(words)),
        "hash_ratio": ratio(text.count("#"), len(words)),
        "ellipsis_ratio": ratio(text.count("...") + text.count("…"), len(words)),
        "bullet_line_fraction": ratio(len(bullets), len(lines)),
        "ellipsis_line_fraction": ratio(sum(line.endswith("...") or line.endswith("…") for line in lines), len(lines)),
        "alpha_word_fraction": ratio(sum(any(c.isalpha() for c in word) for word in words), len(words)),
        "stop_words": len(bare & STOP_WORDS),
    }


def repetition(text: str) -> dict[str, float | None]:
    words = text.split()
    lines, paragraphs = lines_of(text), paragraphs_of(text)
    signals = {}
    for name, blocks in (("line", [[line] for line in lines]), ("paragraph", paragraphs)):
        repeats = [block for i, block in enumerate(blocks) if block in blocks[:i]]
        signals[f"duplicate_{name}_fraction"] = ratio(len(repeats), len(blocks))
        signals[f"duplicate_{name}_char_fraction"] = ratio(
            sum(chars(" ".join(block).split()) for block in repeats), chars(words)
        )
    for n in (2, 3, 4):
        signals[f"top_{n}gram_char_fraction"] = ratio(top_ngram_chars(words, n), chars(words))
    for n in range(5, 11):
        signals[f"duplicate_{n}gram_char_fraction"] = ratio(duplicate_ngram_chars(words, n), chars(words))
    return signals


def top_ngram_chars(words: list[str], n: int) -> int:
    ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(ngrams)  # in order of first occurrence, so that max() takes the earliest of equals
    if not counts or max(counts.values()) == 1:
        return 0
    top = max(counts, key=lambda ngram: (counts[ngram], chars(ngram)))
    covered = {i + k for i, ngram in enumerate(ngrams) if ngram == top for k in range(n)}
    return sum(len(words[i]) for i in covered)


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
