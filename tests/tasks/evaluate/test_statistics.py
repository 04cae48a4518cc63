"""Standard errors and paired intervals."""

import math

import numpy as np
import pytest

from tasks.evaluate.statistics import mean, paired_difference


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
