"""Steps that lie far outside of the last ones."""

import math

import numpy as np
import pytest

from model.outliers import MOST_IN_A_ROW, Recent, SkipConfig, is_outlier

CONFIG = SkipConfig(sigma=6.0, window=16)


def test_the_bound_is_mean_plus_sigma_sample_deviations():
    earlier = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]
    bound = 2.5 + 6 * float(np.std(earlier, ddof=1))
    assert not is_outlier(bound - 1e-9, earlier, CONFIG)
    assert is_outlier(bound + 1e-9, earlier, CONFIG)
    assert not is_outlier(-1e9, earlier, CONFIG)  # a low loss is no harm


def test_nothing_is_judged_before_half_a_window():
    assert not is_outlier(1e9, [1.0] * 7, CONFIG)
    assert is_outlier(1e9, [1.0] * 8, CONFIG)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_skipped_and_never_compared_with(value: float):
    recent = Recent(losses=[1.0, 2.0] * 8, grad_norms=[1.0, 2.0] * 8)
    assert recent.judge(value, 1.0, CONFIG)
    assert all(map(math.isfinite, recent.losses))
    assert not recent.judge(1.5, 1.5, CONFIG)
    assert recent.skipped == 1


def test_loss_or_norm_is_enough():
    for loss, norm, skip in ((1.5, 1.5, False), (99.0, 1.5, True), (1.5, 99.0, True)):
        recent = Recent(losses=[1.0, 2.0] * 8, grad_norms=[1.0, 2.0] * 8)
        assert recent.judge(loss, norm, CONFIG) is skip


def test_a_lasting_change_of_level_is_accepted():
    recent = Recent()
    generator = np.random.default_rng(0)
    values = [*(2 + 0.1 * generator.standard_normal(40)), *(9 + 0.1 * generator.standard_normal(40))]
    skips = [recent.judge(float(value), 1.0, CONFIG) for value in values]
    assert skips[40] and not any(skips[:40]) and not any(skips[44:])
    assert len(recent.losses) == 16


def test_noise_is_not_skipped():
    """Six deviations of gaussian noise: about one step in 10^9 (more, since the deviation is an estimate)."""
    recent = Recent()
    generator = np.random.default_rng(1)
    assert not any(recent.judge(float(x), float(y), SkipConfig()) for x, y in generator.standard_normal((2000, 2)))


def test_a_broken_run_ends():
    recent = Recent(losses=[1.0, 2.0] * 8, grad_norms=[1.0, 2.0] * 8)
    for _ in range(MOST_IN_A_ROW):
        assert recent.judge(math.nan, math.nan, CONFIG)
    with pytest.raises(FloatingPointError, match="in a row were outliers"):
        recent.judge(math.nan, math.nan, CONFIG)


def test_a_window_survives_its_file():
    recent = Recent()
    for value in np.random.default_rng(2).standard_normal(20):
        recent.judge(float(value), float(value) / 3, CONFIG)
    assert Recent.model_validate_json(recent.model_dump_json()) == recent
