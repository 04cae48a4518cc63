"""Named patterns: what was published, cut for cut, and what they are chosen for."""

import pytest
import tiktoken_ext.openai_public as published
from tokenizers import Regex, pre_tokenizers

from tasks.byte_pairs import cuts_alike
from tasks.split_patterns import ALIASES, SPLIT_PATTERNS, is_named, split_regex
from tests.tasks.test_byte_pairs import with_pattern

THAI = "\u0e20\u0e32\u0e29\u0e32\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48"  # vowel signs and tone marks among the letters


def pieces(name: str, text: str, digits: int | None = None) -> list[str]:
    split = pre_tokenizers.Split(Regex(split_regex(name, digits)), behavior="isolated")
    return [piece for piece, _ in split.pre_tokenize_str(text)]


def test_patterns_of_tiktoken_cut_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "load_tiktoken_bpe", lambda *_, **__: {})
    for alias, made in [("cl100k", published.cl100k_base), ("o200k", published.o200k_base)]:
        assert cuts_alike(with_pattern(split_regex(alias)), made()["pat_str"], every=1999) is None
    assert cuts_alike(with_pattern(split_regex("r50k")), published.r50k_pat_str, every=1999) is None


def test_patterns_of_transformers_are_as_published() -> None:
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX as QWEN2
    from transformers.models.qwen3_5.tokenization_qwen3_5 import PRETOKENIZE_REGEX as QWEN3_5

    assert (split_regex("qwen2"), split_regex("qwen3_5")) == (QWEN2, QWEN3_5)


@pytest.mark.parametrize("name", [*SPLIT_PATTERNS, *ALIASES])
def test_every_pattern_loses_nothing_and_has_a_source(name: str) -> None:
    text = f"It's 1234567 o'clock!\r\n\n  {THAI} \u4f60\u597d\uff0c\u4e16\u754c\u3002 \t_x=/y\u00bd "
    for digits in (None, 1, 2, 3):
        assert "".join(pieces(name, text, digits)) == text
        assert is_named(split_regex(name, digits))
    assert len(SPLIT_PATTERNS[ALIASES.get(name, name)].source) > 10


@pytest.mark.parametrize(
    ("name", "digits", "cut"),
    [
        ("gpt2", None, ["1234567"]),
        ("gpt4", None, ["123", "456", "7"]),
        ("gpt4", 1, list("1234567")),
        ("gpt4", 2, ["12", "34", "56", "7"]),
        ("qwen2", None, list("1234567")),
        ("gpt2", 3, ["123", "456", "7"]),
        ("gpt4o", 2, ["12", "34", "56", "7"]),
    ],
)
def test_runs_of_digits_are_cut_as_asked(name: str, digits: int | None, cut: list[str]) -> None:
    assert pieces(name, "1234567", digits) == cut


def test_words_with_combining_marks_stay_whole_where_the_pattern_is_chosen_for_it() -> None:
    assert pieces("gpt4o", THAI) == [THAI] == pieces("qwen3_5", THAI)
    assert len(pieces("gpt4", THAI)) > 1


def test_an_unknown_regex_is_not_named() -> None:
    assert not is_named(r"\S+|\s+")
