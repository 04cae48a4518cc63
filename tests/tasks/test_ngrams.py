"""N-gram baselines against a plain implementation of the formula, and against what probabilities must be."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.errors import BadInput
from tasks.ngrams import count_ngrams, ngram_bits_per_byte, ngram_log2_probabilities

VOCAB = 7
STREAM = np.array([0, 1, 2, 0, 1, 3, 0, 1, 2, 4, 4, 4, 0, 2, 1, 0], dtype=np.uint16)


def plain_probability(train: list[int], context: tuple[int, ...], word: int, vocab_size: int) -> float:
    """Witten-Bell by dictionaries, straight from the formula."""
    after: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    n = len(context)
    for i in range(n, len(train)):
        after[tuple(train[i - n : i])][train[i]] += 1
    shorter = plain_probability(train, context[1:], word, vocab_size) if context else 1 / vocab_size
    seen = after[context]
    if not seen:
        return shorter
    return (seen[word] + len(seen) * shorter) / (seen.total() + len(seen))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40),
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=15),
)
def test_every_token_has_the_probability_of_the_formula(train: list[int], valid: list[int]) -> None:
    scores = ngram_log2_probabilities(np.array(train), np.array(valid), VOCAB)
    for order, name in enumerate(("unigram", "bigram", "trigram")):
        expected = [
            plain_probability(train, tuple(valid[max(i - order, 0) : i]), valid[i], VOCAB) for i in range(len(valid))
        ]
        np.testing.assert_allclose(2.0 ** scores[name], expected, rtol=1e-12)


@pytest.mark.parametrize("context", [(0, 1), (4, 4), (6, 0), (5, 6), (3, 5)])
def test_probabilities_after_any_context_sum_to_one(context: tuple[int, int]) -> None:
    for name in ("unigram", "bigram", "trigram"):
        total = sum(
            2.0 ** ngram_log2_probabilities(STREAM, np.array([*context, word]), VOCAB)[name][2] for word in range(VOCAB)
        )
        assert total == pytest.approx(1.0, abs=1e-12)


def test_counts_of_contexts_and_their_types() -> None:
    counts = count_ngrams(np.array([1, 2, 1, 2, 1, 3]), 2, 10)
    assert counts.sequences.tolist() == [12, 13, 21]
    assert counts.counts.tolist() == [2, 1, 2]
    assert counts.contexts.tolist() == [1, 2]
    assert counts.totals.tolist() == [3, 2]
    assert counts.types.tolist() == [2, 1]


def test_longer_contexts_win_on_text_that_has_structure() -> None:
    rng = np.random.default_rng(0)
    stream = rng.integers(0, 50, 20_000) // 10 * 10
    stream[1::3] = (stream[::3][: len(stream[1::3])] + 3) % 50
    stream[2::3] = (stream[::3][: len(stream[2::3])] + stream[1::3][: len(stream[2::3])]) % 50
    bits = ngram_bits_per_byte(stream[:16_000], stream[16_000:], 50, 4_000)
    assert bits["trigram"] < bits["bigram"] < bits["unigram"]


def test_a_uniform_stream_costs_the_logarithm_of_the_vocabulary() -> None:
    stream = np.tile(np.arange(8), 100)
    assert ngram_bits_per_byte(stream, stream, 8, len(stream))["unigram"] == pytest.approx(3.0)


def test_ids_of_16_bits_do_not_overflow_in_trigram_numbers() -> None:
    train = np.array([65_000, 64_999, 65_001] * 5, dtype=np.uint16)
    scores = ngram_log2_probabilities(train, train, 65_536)
    wide = ngram_log2_probabilities(train.astype(np.int64), train.astype(np.int64), 65_536)
    np.testing.assert_array_equal(scores["trigram"], wide["trigram"])
    assert scores["trigram"][2:].min() > -1.0


@pytest.mark.parametrize(
    ("train", "valid", "n_bytes", "message"),
    [
        ([], [1], 1, "none"),
        ([1], [9], 1, "validation ids"),
        ([-1], [1], 1, "training ids"),
        ([1], [1], 0, "empty"),
    ],
)
def test_unusable_input_is_named(train: list[int], valid: list[int], n_bytes: int, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        ngram_bits_per_byte(np.array(train, dtype=np.int64), np.array(valid, dtype=np.int64), VOCAB, n_bytes)


def test_a_vocabulary_too_large_for_trigram_numbers_is_refused() -> None:
    with pytest.raises(BadInput, match="too large"):
        ngram_bits_per_byte(np.array([1]), np.array([1]), 2_100_000, 1)
