import math
import random
from collections import Counter

import numpy as np
import pytest

from tasks.filters import outliers
from tasks.filters.characters import Lines
from tasks.filters.outliers import SIGNALS, character_signals, compression_probe, size_signals, word_signals
from tasks.words import WordBatch, split_text
from tests.tasks.filters.prose import PROSE


def several(*texts):
    documents = [split_text(text) for text in texts]
    columns = {
        **size_signals(documents),
        **character_signals(Lines.of(documents)),
        **word_signals(WordBatch.of(documents)),
    }
    return [{name: values[k] for name, values in columns.items()} for k in range(len(texts))]


def one(text):
    return several(text)[0]


def entropy(words):
    n = len(words)
    return -sum(c / n * math.log2(c / n) for c in Counter(words).values())


def test_the_signals_are_those_declared():
    assert sorted(one(PROSE)) == sorted(field.name for field in SIGNALS)


def test_entropy_is_shannons():
    rng = random.Random(3)
    texts = [" ".join(rng.choices("abcdefg", range(1, 8), k=k)) for k in (1, 2, 50, 999)] + [PROSE]
    for text, found in zip(texts, several(*texts), strict=True):
        assert found["unigram_entropy"] == pytest.approx(entropy(text.split()), abs=1e-5)


def test_entropy_of_one_word_and_of_words_never_said_twice():
    same, different = several("buy buy buy buy", "a b c d")
    assert (same["unigram_entropy"], same["unique_word_fraction"]) == (0, 0.25)
    assert (different["unigram_entropy"], different["unique_word_fraction"]) == (2, 1)


def test_words_do_not_depend_on_the_documents_beside():
    texts = [PROSE, "", "word", PROSE * 2, "word word"]
    for text, together in zip(texts, several(*texts), strict=True):
        assert together == pytest.approx(one(text), nan_ok=True)


def test_the_longest_word():
    assert [found["longest_word"] for found in several("", "a bb ccc", "x" * 40 + " y", "")] == [0, 3, 40, 0]


def test_fractions_of_characters_leave_white_space_out():
    found = one("AB c1\n\t,.")
    assert found["upper_char_fraction"] == pytest.approx(2 / 6)
    assert found["digit_char_fraction"] == pytest.approx(1 / 6)
    assert found["symbol_char_fraction"] == pytest.approx(2 / 6)


def test_text_without_spaces_is_letters_and_one_word():
    found = one("川は丘に源を発し、海に注ぎます。")
    assert (found["longest_word"], found["unigram_entropy"], found["n_chars"]) == (16, 0, 16)
    assert found["symbol_char_fraction"] == pytest.approx(2 / 16)
    assert found["upper_char_fraction"] == 0


def test_repetition_compresses_and_noise_does_not():
    noise = "".join(random.Random(5).choices("0123456789abcdef", k=8_000))
    repeated, prose, random_hex = (found["compression_ratio"] for found in several(PROSE * 20, PROSE, noise))
    assert repeated > 10 > 2 > random_hex
    assert repeated > prose > 1


def test_compression_counts_utf8_bytes():
    ascii_text, wide = "a" * 1_000, "é" * 1_000
    assert one(wide)["compression_ratio"] > 1.5 * one(ascii_text)["compression_ratio"]


def test_an_empty_text_has_no_fractions():
    found = one("")
    assert (found["n_chars"], found["n_paragraphs"], found["longest_word"]) == (0, 0, 0)
    names = [field.name for field in SIGNALS if field.name.endswith(("fraction", "ratio", "entropy"))]
    assert len(names) == 6
    assert np.isnan([found[name] for name in names]).all()


def test_the_probe_tells_compressors_apart(monkeypatch):
    assert compression_probe() == compression_probe()
    before = compression_probe.__wrapped__()
    monkeypatch.setattr(outliers, "_codec", lambda: outliers.pa.Codec("zstd", 19))
    assert compression_probe.__wrapped__() != before
