"""Where merges may not cross: the pre-tokenization patterns of published tokenizers, by name.

A pattern cuts a text into pieces (a word with the space before it, a run of digits, of signs, of whitespace); no token
reaches over a border. Scripts without spaces (Chinese, Thai) are cut at punctuation only, and what the vocabulary does
not know of them falls back to bytes: no text is without ids.

The patterns differ in four things: which runs of digits stay together, whether case ends a piece (gpt4o), whether
combining marks belong to letters (gpt4o, qwen3_5: words of Thai, Hindi or Arabic with vowel signs stay whole), and
whether a sign may begin a word (not in gpt2). All are cut alike by the regex engines of `tokenizers` and of `tiktoken`,
over every assigned character (`tests/tasks/test_byte_pairs.py`).
"""

from typing import NamedTuple

DIGITS = "<digits>"  # in a pattern: the runs of digits that may become one token


class SplitPattern(NamedTuple):
    """`regex` with `DIGITS` for a run of digits, at most `digits` long as published (0: any length)."""

    regex: str
    digits: int
    source: str


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT4 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{DIGITS}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*{_SPACES}"

SPLIT_PATTERNS: dict[str, SplitPattern] = {
    "gpt2": SplitPattern(
        rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?{DIGITS}| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+",
        0,
        "Radford et al. 2019, section 2.2, and encoder.py of openai/gpt-2; r50k_base in tiktoken",
    ),
    "gpt4": SplitPattern(_GPT4, 3, "cl100k_base in tiktoken (GPT-3.5, GPT-4), written without possessive quantifiers"),
    "llama3": SplitPattern(_GPT4, 3, "tokenizer.py of meta-llama/llama3; the same as GPT-4's"),
    "qwen2": SplitPattern(_GPT4, 1, "tokenization_qwen2.py of transformers (Qwen 2 and 3); GPT-4's with single digits"),
    "qwen3_5": SplitPattern(
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|{DIGITS}"
        rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*{_SPACES}",
        1,
        "tokenization_qwen3_5.py of transformers",
    ),
    "gpt4o": SplitPattern(
        rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+{_CONTRACTIONS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*{_CONTRACTIONS}?"
        rf"|{DIGITS}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_SPACES}",
        3,
        "o200k_base in tiktoken (GPT-4o)",
    ),
}
ALIASES = {"cl100k": "gpt4", "o200k": "gpt4o", "r50k": "gpt2"}  # tiktoken's names


def split_regex(name: str, digits: int | None = None) -> str:
    """The regex of a named pattern.

    Args:
        name: of `SPLIT_PATTERNS` or `ALIASES`.
        digits: longest run of digits that may be one token; None: as published.
    """
    pattern = SPLIT_PATTERNS[ALIASES.get(name, name)]
    longest = pattern.digits if digits is None else digits
    return pattern.regex.replace(DIGITS, {0: r"\p{N}+", 1: r"\p{N}"}.get(longest, rf"\p{{N}}{{1,{longest}}}"))


def is_named(regex: str) -> bool:
    """Whether a regex is one of those that are known to be cut alike by both engines."""
    return any(regex == split_regex(name, digits) for name in SPLIT_PATTERNS for digits in (None, 1, 2, 3))
