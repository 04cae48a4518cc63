"""Both fits of a grid, their intervals, what they predict of a run that was not made, and what they warn of."""

import numpy as np
import pytest

from infra.errors import BadInput
from tasks.scaling.isoflop import Run
from tasks.scaling.prediction import Estimate, fit_laws
from tasks.scaling.resampling import resample_isoflop
from tasks.scaling.rows import RunRow, budgets_of
from tests.tasks.scaling.made_runs import LAW

BUDGETS = (1e12, 3e12, 9e12, 2.7e13)
NOISE = 0.004


def row(params: float, flops: float, loss: float, seed: int = 0) -> RunRow:
    return RunRow(
        ref=f"pretrain/{params:.0f}-{flops:.0f}-{seed}",
        role="grid",
        budget=flops,
        params=round(params),
        total_params=round(params * 1.1),
        tokens=round(flops / (6 * params)),
        epochs=0.5,
        flops=flops,
        loss=loss,
        bits_per_byte=loss / 3,
        optimizer="muon",
        rate=0.02,
        architecture="transformer",
        objective="causal",
        width=64,
        depth=2,
        mixture='"natural"',
        seed=seed,
        seconds=1.0,
    )


def grid(noise: float = NOISE, sizes: int = 5, seed: int = 0, shift: float = 1.0, budgets=BUDGETS) -> list[RunRow]:
    """Runs around each budget's best size times `shift`; losses with normal noise, nats."""
    generator = np.random.default_rng(seed)
    return [
        row(n, flops, float(LAW.loss(n, flops / (6 * n))) + noise * generator.normal())
        for flops in budgets
        for n in LAW.optimum(flops)[0] * shift * np.geomspace(0.25, 4, sizes)
    ]


def test_the_laws_that_made_the_losses_lie_in_their_intervals():
    laws = fit_laws(grid(sizes=7), bootstrap=60, seed=0)
    assert laws.isoflop is not None and laws.parametric is not None
    assert laws.warnings == ()
    low, high = laws.isoflop.interval("params")
    assert low < LAW.exponent < high and high - low < 0.2
    assert laws.isoflop.scatter == pytest.approx(NOISE, rel=0.6)
    best = laws.best_params(1e14)
    assert best.low < LAW.optimum(1e14)[0] < best.high


def test_a_larger_run_comes_out_within_the_interval_that_was_given_before():
    """In most studies: of many, 19 in 20 of the next runs, their own noise included."""
    params, tokens = LAW.optimum(4 * BUDGETS[-1])
    held = 0
    for seed in range(6):
        one = fit_laws(grid(seed=seed), bootstrap=30, seed=seed).predict(4 * BUDGETS[-1], params, tokens)
        measured = float(LAW.loss(params, tokens)) + NOISE * np.random.default_rng(1000 + seed).normal()
        held += one.parametric.holds(measured)
        assert one.isoflop.value < measured  # that law of the loss has no irreducible part: it falls too far
    assert held >= 5


def test_the_same_runs_give_the_same_numbers():
    first, second = (fit_laws(list(reversed(grid())) if k else grid(), bootstrap=30, seed=5) for k in (0, 1))
    assert first.predict(1e14, 1e6, 1e7) == second.predict(1e14, 1e6, 1e7)
    assert first.isoflop.interval("params") == second.isoflop.interval("params")


def test_vertices_outside_and_parabolas_that_open_downward_are_warned_of():
    rows = grid(noise=0.0)
    outside = [one for one in rows if one.flops != 1e12 or one.params > 1.5 * LAW.optimum(1e12)[0]]
    outside += [
        row(
            LAW.optimum(1e12)[0] * 8,
            1e12,
            float(LAW.loss(LAW.optimum(1e12)[0] * 8, 1e12 / (48 * LAW.optimum(1e12)[0]))),
        )
    ]
    (warning,) = [line for line in fit_laws(outside, 30, 0).warnings if "vertex" in line]
    assert warning.startswith("budget 1e+12 FLOP: vertex at") and "below the sizes that were run" in warning
    bent = [one if one.flops != 3e12 else row(one.params, 3e12, 8 - one.loss) for one in rows]
    assert any("3e+12 FLOP: opens downward" in line for line in fit_laws(bent, 30, 0).warnings)


def test_few_budgets_and_few_sizes_are_warned_of():
    two = fit_laws(grid(budgets=BUDGETS[:2], sizes=3), bootstrap=30, seed=0)
    assert any("rest on 2 budgets" in line for line in two.warnings)
    assert any("no residuals" in line for line in two.warnings)
    assert two.best_params(1e14).low is None


def test_without_a_sound_vertex_the_parametric_form_still_recommends():
    laws = fit_laws(grid(noise=0.0, shift=30.0), bootstrap=30, seed=0)
    assert laws.isoflop is None and any("no isoFLOP law" in line for line in laws.warnings)
    assert laws.best_params(1e14).value == pytest.approx(LAW.optimum(1e14)[0], rel=0.2)
    assert laws.predict(1e14, 1e6, 1e7).isoflop is None


def test_too_little_is_one_line():
    with pytest.raises(BadInput, match="these runs are of 1"):
        fit_laws(grid(budgets=BUDGETS[:1]), 0, 0)
    with pytest.raises(BadInput, match=r"budget 1e\+12 FLOP has 2 sizes; a parabola needs 3"):
        fit_laws(grid(sizes=2), 0, 0)


def test_runs_within_a_tenth_are_one_budget():
    rows = [row(1e5, 1.00e12, 3.0), row(2e5, 1.04e12, 3.1), row(1e5, 2e12, 2.9), row(2e5, 1.99e12, 2.8)]
    assert [[one.flops for one in group] for group in budgets_of(rows)] == [[1.00e12, 1.04e12], [2e12, 1.99e12]]


def test_draws_without_two_sound_vertices_give_no_fit():
    runs = [[Run(n, 1e12 / n, c, loss) for n, loss in zip((1e4, 2e4, 4e4, 8e4), losses, strict=True)]
            for c, losses in ((1e12, (3.0, 2.999, 2.9985, 3.02)), (4e12, (2.9, 2.88, 2.87, 2.9)))]  # fmt: skip
    found = resample_isoflop(runs, 200, 0)
    assert 0 < len(found.resampled) <= 200 and len(found.residuals) == 8


def test_without_an_interval_there_is_no_verdict():
    assert (
        Estimate(3.0).holds(2.9) is None and Estimate(3.0, 2.8, 3.2).holds(2.9) and not Estimate(3, 2, 2.5).holds(2.9)
    )
