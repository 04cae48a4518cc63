"""Approach 3 of Chinchilla: L(N, D) = E + A / N^alpha + B / D^beta, fitted to all runs at once.

The fit minimises the *sum* of Huber losses (delta 1e-3) of log L, by BFGS from a grid of starting points (Hoffmann et
al. 2022, arXiv:2203.15556, section 3.3 and appendix D.2; their L-BFGS is the same with a bounded memory, which five
constants do not need, and scipy's spends its time in threads that wait for one another on a busy machine). The sum
matters: with the mean the optimiser's tolerance is reached too early, which is what had gone wrong in the original
(Besiroglu et al. 2024, arXiv:2404.10102, section 3).
Intervals are percentiles of fits to runs drawn with replacement, as theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from infra.errors import BadInput
from tasks.scaling.isoflop import Run
from tasks.scaling.resampling import percentiles

FloatArray = npt.NDArray[np.float64]

HUBER_DELTA = 1e-3
# Appendix D.2: starting points of (ln A, ln B, ln E, alpha, beta).
GRID_LOG_A = GRID_LOG_B = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
GRID_LOG_E = (-1.0, -0.5, 0.0, 0.5, 1.0)
GRID_EXPONENT = (0.0, 0.5, 1.0, 1.5, 2.0)
STARTS = 24  # of the 4,500, those with the lowest objective; more found no lower minimum on synthetic data
SEARCH_ITERATIONS = 250  # from each start, and of resampled fits; the lowest of all runs is followed to the end
MIN_RUNS = 6  # one more than there are constants
TOLERANCE = 1e-12
MAX_ITERATIONS = 3000
LARGEST_LOG = 700.0  # of a number that is still a float


@dataclass(frozen=True)
class ParametricLaw:
    """The five constants, those of the terms as logarithms; `objective` is the summed Huber loss of the fit.

    As logarithms since resampled fits may run away along a flat valley, where A is no float any more.
    """

    log_e: float
    log_a: float
    log_b: float
    alpha: float
    beta: float
    objective: float = 0.0

    @classmethod
    def of(cls, e: float, a: float, b: float, alpha: float, beta: float) -> "ParametricLaw":
        """The law with these constants, as papers give them."""
        return cls(float(np.log(e)), float(np.log(a)), float(np.log(b)), alpha, beta)

    @property
    def e(self) -> float:
        """The irreducible loss, nats a token."""
        return float(np.exp(self.log_e))

    @property
    def a(self) -> float:
        """Of the term in parameters; infinite where it is no float."""
        return float(np.exp(self.log_a)) if self.log_a < LARGEST_LOG else math.inf

    @property
    def b(self) -> float:
        """Of the term in tokens, likewise."""
        return float(np.exp(self.log_b)) if self.log_b < LARGEST_LOG else math.inf

    def loss(self, params: float | FloatArray, tokens: float | FloatArray) -> float | FloatArray:
        """Predicted loss, nats a token."""
        of_params = np.exp(np.minimum(self.log_a - self.alpha * np.log(params), LARGEST_LOG))
        of_tokens = np.exp(np.minimum(self.log_b - self.beta * np.log(tokens), LARGEST_LOG))
        return self.e + of_params + of_tokens

    def optimum(self, flops: float, cost: float = 6.0, growth: float = 1.0) -> tuple[float, float]:
        """(parameters, tokens) of the lowest loss for a budget of D * cost * N^growth FLOPs.

        With growth 1, section 3.3, equation 4. Attention and head make a token of a small network dearer than 6 N, and
        less so the larger it is: growth is below 1. Not finite where the law is too steep for floats.
        """
        total = self.alpha + growth * self.beta
        log_g = (np.log(self.alpha / (growth * self.beta)) + self.log_a - self.log_b) / total
        log_n = log_g + (np.log(flops) - np.log(cost)) * self.beta / total
        log_d = np.log(flops) - np.log(cost) - growth * log_n
        with np.errstate(over="ignore"):
            return float(np.exp(log_n)), float(np.exp(log_d))

    @property
    def exponent(self) -> float:
        """a in N* ~ C^a."""
        return self.beta / (self.alpha + self.beta)


@dataclass(frozen=True)
class ParametricFit:
    """The fit to all runs and the fits to resampled ones."""

    law: ParametricLaw
    resampled: tuple[ParametricLaw, ...]

    def interval(self, name: str) -> tuple[float, float] | None:
        """95 % interval of a constant or property by name (e, a, b, alpha, beta, exponent); None with few resampled."""
        return percentiles([getattr(law, name) for law in self.resampled])


def fit_parametric(runs: Sequence[Run], bootstrap: int = 200, seed: int = 0) -> ParametricFit:
    """Fit L(N, D) to runs.

    Args:
        bootstrap: resampled fits for the intervals.

    Raises:
        BadInput: too few runs, or all of one size or one length.
    """
    n, d, losses = (np.array([getattr(run, name) for run in runs], float) for name in ("params", "tokens", "loss"))
    if len(runs) < MIN_RUNS:
        raise BadInput(f"L(N, D) has five constants and needs at least {MIN_RUNS} runs, not {len(runs)}")
    if len(set(n.tolist())) < 3 or len(set(d.tolist())) < 3:
        raise BadInput("L(N, D) needs runs of at least three sizes and three lengths")
    if losses.min() <= 0:
        raise BadInput("a loss is not positive")
    log_n, log_d, log_l = np.log(n), np.log(d), np.log(losses)
    near = _minimise(log_n, log_d, log_l, _starts(log_n, log_d, log_l), SEARCH_ITERATIONS)
    best = _minimise(log_n, log_d, log_l, [near[0]])
    generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(bootstrap):
        draw = generator.integers(0, len(runs), len(runs))
        found = _minimise(log_n[draw], log_d[draw], log_l[draw], [best[0]], SEARCH_ITERATIONS)
        resampled.append(_law(*found))
    return ParametricFit(_law(*best), tuple(resampled))


def objective(theta: FloatArray, log_n: FloatArray, log_d: FloatArray, log_l: FloatArray) -> tuple[float, FloatArray]:
    """Summed Huber loss and its gradient.

    Args:
        theta: (5,) ln A, ln B, ln E, alpha, beta.
        log_n, log_d, log_l: (n_runs,).
    """
    log_a, log_b, log_e, alpha, beta = theta
    terms = np.stack([log_a - alpha * log_n, log_b - beta * log_d, np.full_like(log_n, log_e)])
    top = terms.max(0)
    weights = np.exp(terms - top)
    total = weights.sum(0)
    residual = top + np.log(total) - log_l
    small = np.abs(residual) <= HUBER_DELTA
    huber = np.where(small, 0.5 * residual**2, HUBER_DELTA * (np.abs(residual) - 0.5 * HUBER_DELTA))
    slope = np.where(small, residual, HUBER_DELTA * np.sign(residual))
    share = weights / total * slope
    gradient = np.array(
        [share[0].sum(), share[1].sum(), share[2].sum(), -(share[0] * log_n).sum(), -(share[1] * log_d).sum()]
    )
    return float(huber.sum()), gradient


def _starts(log_n: FloatArray, log_d: FloatArray, log_l: FloatArray) -> list[FloatArray]:
    grid = [np.array(point) for point in product(GRID_LOG_A, GRID_LOG_B, GRID_LOG_E, GRID_EXPONENT, GRID_EXPONENT)]
    values = [objective(theta, log_n, log_d, log_l)[0] for theta in grid]
    return [grid[i] for i in np.argsort(values, kind="stable")[:STARTS]]


def _minimise(
    log_n: FloatArray,
    log_d: FloatArray,
    log_l: FloatArray,
    starts: Sequence[FloatArray],
    iterations: int = MAX_ITERATIONS,
) -> tuple[FloatArray, float]:
    """The lowest minimum reached from any start.

    A and alpha (B and beta) are nearly collinear over the sizes of one study. Logarithms are centred for the search,
    which takes that away and reaches the same minimum in a fraction of the steps.
    """
    from scipy.optimize import minimize

    centre_n, centre_d = float(log_n.mean()), float(log_d.mean())

    def moved(theta: FloatArray, sign: float) -> FloatArray:
        log_a, log_b, log_e, alpha, beta = theta
        return np.array([log_a - sign * alpha * centre_n, log_b - sign * beta * centre_d, log_e, alpha, beta])

    best: tuple[FloatArray, float] | None = None
    for start in starts:
        found = minimize(
            objective,
            moved(start, 1.0),
            args=(log_n - centre_n, log_d - centre_d, log_l),
            jac=True,
            method="BFGS",
            options={"maxiter": iterations, "gtol": TOLERANCE},
        )
        if np.all(np.isfinite(found.x)) and (best is None or found.fun < best[1]):
            best = (moved(found.x, -1.0), float(found.fun))
    if best is None:
        raise BadInput("the fit of L(N, D) did not converge from any start: are the losses of one kind?")
    return best


def _law(theta: FloatArray, value: float) -> ParametricLaw:
    log_a, log_b, log_e, alpha, beta = (float(x) for x in theta)
    return ParametricLaw(log_e, log_a, log_b, alpha, beta, value)
