"""Standard errors and paired intervals."""

import math

import numpy as np
import pytest

from tasks.evaluate.statistics import mean, paired_difference, wilson


def test_mean_has_the_sample_standard_error():
    result = mean([1.0, 2.0, 3.0, 4.0])
    assert result.value == 2.5
    assert result.stderr == pytest.approx(math.sqrt(5 / 3) / 2)
    assert mean([3.0]).stderr is None
    with pytest.raises(ValueError, match="no values"):
        mean([])


def test_paired_interval_is_deterministic_and_close_to_the_normal_one():
    generator = np.random.default_rng(3)
    before = generator.random(200)
    after = before + 0.1 + 0.05 * generator.standard_normal(200)
    first = paired_difference(before.tolist(), after.tolist(), seed=0)
    assert first == paired_difference(before.tolist(), after.tolist(), seed=0)
    assert first.stderr is not None
    assert first.low == pytest.approx(first.value - 1.96 * first.stderr, abs=0.1 * first.stderr)
    assert first.high == pytest.approx(first.value + 1.96 * first.stderr, abs=0.1 * first.stderr)
    assert 0 < first.low < 0.1 < first.high


def test_pairing_removes_what_the_questions_have_in_common():
    before = [0.0, 10.0, 20.0, 30.0]
    shifted = paired_difference(before, [value + 1 for value in before], seed=1)
    assert (shifted.low, shifted.value, shifted.high) == (1.0, 1.0, 1.0)


def test_unpaired_lists_are_refused():
    with pytest.raises(ValueError, match="pairs are needed"):
        paired_difference([1.0], [1.0, 2.0], seed=0)


def test_the_score_interval_of_a_share_is_wilsons():
    """Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, n), bounds in published.items():
        found = wilson(successes, n)
        assert (found.low, found.high) == pytest.approx(bounds, abs=5e-5)
        assert (found.value, found.n) == (successes / n, n)
    with pytest.raises(ValueError, match="3 successes of 2 trials"):
        wilson(3, 2)
