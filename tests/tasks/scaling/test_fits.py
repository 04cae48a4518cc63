"""Scaling fits recover the constants that made the data."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from infra.errors import BadInput
from tasks.scaling.downstream import AccuracyCurve, fit_accuracy
from tasks.scaling.isoflop import Run, fit_budget, fit_isoflop, fit_power_law
from tasks.scaling.parametric import ParametricLaw, fit_parametric, objective

# Besiroglu et al. 2024, arXiv:2404.10102, table 1
TRUE = ParametricLaw.of(e=1.8172, a=482.01, b=2085.43, alpha=0.3478, beta=0.3658)
BUDGETS = (1e18, 1e19, 1e20, 1e21)


def runs_of(law: ParametricLaw, noise: float = 0.0, sizes: int = 7, seed: int = 0) -> list[list[Run]]:
    """An isoFLOP grid around each budget's optimum, with log-normal noise on the loss."""
    generator = np.random.default_rng(seed)
    grid = []
    for flops in BUDGETS:
        best, _ = law.optimum(flops)
        grid.append(
            [
                Run(n, flops / (6 * n), flops, float(law.loss(n, flops / (6 * n)) * np.exp(noise * generator.normal())))
                for n in best * np.geomspace(0.2, 5, sizes)
            ]
        )
    return grid


def flat(grid: list[list[Run]]) -> list[Run]:
    return [run for group in grid for run in group]


def test_the_gradient_is_that_of_the_objective():
    runs = flat(runs_of(TRUE, noise=0.01))
    logs = [np.log([getattr(run, name) for run in runs]) for name in ("params", "tokens", "loss")]
    for theta in ([5.0, 7.0, 0.5, 0.3, 0.4], [10.0, 5.0, 0.0, 0.5, 0.5]):
        error = check_grad(lambda t: objective(t, *logs)[0], lambda t: objective(t, *logs)[1], np.array(theta))
        assert error < 1e-5


def test_without_noise_the_constants_come_back():
    law = fit_parametric(flat(runs_of(TRUE)), bootstrap=0).law
    assert law.e == pytest.approx(TRUE.e, rel=0.002)
    assert (law.alpha, law.beta) == pytest.approx((TRUE.alpha, TRUE.beta), rel=0.01)
    assert law.loss(7e10, 1.4e12) == pytest.approx(TRUE.loss(7e10, 1.4e12), rel=0.001)


def test_with_noise_the_constants_lie_in_their_bootstrap_intervals():
    fit = fit_parametric(flat(runs_of(TRUE, noise=0.002, sizes=9)), bootstrap=40)
    for name in ("e", "a", "b", "alpha", "beta", "exponent"):
        low, high = fit.interval(name)
        assert low < getattr(TRUE, name) < high, name


def test_the_fit_is_the_same_each_time():
    runs = flat(runs_of(TRUE, noise=0.002))
    assert fit_parametric(runs, bootstrap=3, seed=3) == fit_parametric(runs, bootstrap=3, seed=3)


def test_the_optimum_is_where_the_loss_is_lowest():
    n, d = TRUE.optimum(5.76e23)
    assert 6 * n * d == pytest.approx(5.76e23)
    around = n * np.geomspace(0.5, 2, 41)
    assert around[np.argmin(TRUE.loss(around, 5.76e23 / (6 * around)))] == pytest.approx(n, rel=0.02)
    # Chinchilla's budget: about twenty tokens a parameter
    assert d / n == pytest.approx(20, rel=0.2)


@pytest.mark.parametrize("growth", [1.0, 0.95, 0.8])
def test_the_optimum_minds_what_a_token_costs_at_each_size(growth):
    flops, cost = 1e20, 6e3 ** (1 - growth) * 6
    n, d = TRUE.optimum(flops, cost, growth)
    assert d * cost * n**growth == pytest.approx(flops)
    around = n * np.geomspace(0.5, 2, 401)
    assert around[np.argmin(TRUE.loss(around, flops / (cost * around**growth)))] == pytest.approx(n, rel=0.01)


def test_a_law_too_steep_for_floats_has_a_loss_and_no_optimum():
    steep = ParametricLaw(log_e=0.5, log_a=900.0, log_b=3.0, alpha=70.0, beta=0.3)
    assert steep.a == np.inf and np.isfinite(steep.loss(1e6, 1e8))
    assert not np.isfinite(ParametricLaw(0.5, 900.0, -900.0, 1e-6, 1e-6).optimum(1e20)).all()


def test_the_isoflop_exponent_is_that_of_the_law():
    fit = fit_isoflop(runs_of(TRUE, sizes=9))
    assert not any(parabola.problem for parabola in fit.parabolas)
    assert fit.params.exponent == pytest.approx(TRUE.exponent, abs=0.01)
    assert fit.params.exponent + fit.tokens.exponent == pytest.approx(1, abs=0.01)
    for parabola, flops in zip(fit.parabolas, BUDGETS, strict=True):
        assert parabola.best == pytest.approx(TRUE.optimum(flops)[0], rel=0.1)


def test_a_vertex_outside_the_sizes_that_were_run_is_said_and_left_out():
    grid = runs_of(TRUE)
    grid[0] = [run for run in grid[0] if run.params > 1.3 * TRUE.optimum(BUDGETS[0])[0]]
    fit = fit_isoflop(grid)
    (problem,) = [parabola.problem for parabola in fit.parabolas if parabola.problem]
    assert "below the sizes that were run" in problem
    assert fit.params.exponent == pytest.approx(TRUE.exponent, abs=0.01)


def test_a_parabola_that_opens_downward_has_no_best_size():
    runs = [Run(n, 1e9 / n, 6e9, loss) for n, loss in ((1e3, 3.0), (1e4, 3.5), (1e5, 3.1))]
    assert "opens downward" in fit_budget(runs).problem
    with pytest.raises(BadInput, match="0 of 2 budgets have a best size"):
        fit_isoflop([runs, [Run(r.params, r.tokens * 2, r.flops * 2, r.loss) for r in runs]])


def test_a_power_law_through_two_points_is_exact():
    law = fit_power_law([1.0, 100.0], [3.0, 300.0])
    assert law.exponent == pytest.approx(1.0) and law(10.0) == pytest.approx(30.0)


def test_too_little_to_fit_is_refused_in_one_line():
    runs = flat(runs_of(TRUE))
    with pytest.raises(BadInput, match="at least 6 runs, not 5"):
        fit_parametric(runs[:5])
    with pytest.raises(BadInput, match="three sizes and three lengths"):
        fit_parametric([Run(1e6, t, 6e6 * t, 3.0) for t in (1e6, 2e6, 3e6, 4e6, 5e6, 6e6)])
    with pytest.raises(BadInput, match="at least 3 sizes"):
        fit_budget(runs[:2])
    with pytest.raises(BadInput, match="at least 3 models"):
        fit_accuracy([1.0, 2.0], [0.5, 0.3], 0.25)


def test_the_sigmoid_comes_back():
    true = AccuracyCurve(chance=0.25, loss0=1.1, k=6.0)
    losses = [0.7, 0.9, 1.0, 1.2, 1.4, 1.8]
    fitted = fit_accuracy(losses, [true(loss) for loss in losses], 0.25)
    assert (fitted.loss0, fitted.k) == pytest.approx((true.loss0, true.k), rel=1e-4)
    assert fitted(0.5) == pytest.approx(true(0.5), abs=1e-5)
    assert fitted(5.0) == pytest.approx(0.25, abs=1e-3)
