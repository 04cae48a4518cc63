"""Axes and bins of a signal's distribution."""

import math

import numpy as np
import pytest

from tasks.curation_report.histogram import NULL_BIN, Axis, choose_axis

NAN = float("nan")


def test_values_fall_into_equal_bins_and_the_outermost_hold_what_lies_beyond():
    axis = Axis(0.0, 1.0, bins=4)
    found = axis.bins_of(np.array([0.0, 0.24, 0.25, 0.99, 1.0, 7.0, -3.0, NAN]))
    assert found.tolist() == [0, 0, 1, 3, 3, 3, 0, NULL_BIN]


def test_edges_and_places_agree_with_the_bins_on_both_kinds_of_axis():
    for axis in (Axis(2.0, 10.0, bins=8), Axis(0.0, 100_000.0, bins=40, log=True, whole=True)):
        edges = np.array([axis.edge(b) for b in range(axis.bins + 1)])
        assert edges[0] == pytest.approx(axis.low) and edges[-1] == pytest.approx(axis.high)
        middles = (edges[:-1] + edges[1:]) / 2
        assert axis.bins_of(middles).tolist() == list(range(axis.bins))
        assert [axis.place(e) for e in edges] == pytest.approx(np.linspace(0, 1, axis.bins + 1))


def test_every_value_is_counted_somewhere():
    values = np.concatenate([np.random.default_rng(0).normal(size=1000), [NAN] * 10])
    axis = choose_axis(values, [], whole=False)
    counts = np.bincount(axis.bins_of(values) + 1, minlength=axis.bins + 1)
    assert counts[0] == 10 and counts.sum() == 1010


def test_few_whole_numbers_get_a_bin_each():
    axis = choose_axis(np.array([0.0, 1, 2, 2, 3] * 100), [2.0], whole=True)
    assert (axis.low, axis.high, axis.bins, axis.whole, axis.log) == (0, 4, 4, True, False)


def test_a_heavy_tail_of_counts_makes_the_axis_logarithmic_and_keeps_thresholds_on_it():
    values = np.array([*range(100, 400), *[40_000] * 30], float)
    axis = choose_axis(values, [50, 100_000], whole=True)
    assert axis.log and axis.low == 50 and axis.high == 100_000


def test_a_near_threshold_widens_the_axis_and_a_far_one_does_not():
    values = np.linspace(0, 1, 1001)
    assert choose_axis(values, [1.5], whole=False).high == pytest.approx(1.5, abs=1e-4)
    assert choose_axis(values, [50.0], whole=False).high == pytest.approx(0.995, abs=1e-2)


def test_a_signal_with_one_value_or_none():
    assert choose_axis(np.array([NAN, NAN]), [0.5], whole=False) is None
    axis = choose_axis(np.array([0.5] * 5), [], whole=False)
    assert axis.low < 0.5 < axis.high
    axis = choose_axis(np.array([0.0] * 5), [0.3], whole=False)
    assert axis.low <= 0.0 and axis.high >= 0.3 and math.isfinite(axis.place(0.1))


def test_an_axis_survives_json():
    axis = Axis(0.0, 9.0, 9, whole=True)
    assert Axis(**axis.as_json()) == axis
