"""Intervals of the isoFLOP laws: the fit repeated on losses that might as well have come out.

What scatters are the losses, so it is their residuals that are drawn anew (Efron & Tibshirani 1993, section 9.4), not
the runs: with four sizes a budget, drawing runs would leave too few for a parabola in most draws. A parabola takes
three of a budget's runs for itself, so residuals are widened by sqrt(n / (n - 3)) and pooled over budgets. Budgets of
three sizes have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infra.errors import BadInput
from tasks.scaling.isoflop import IsoFlopFit, Run, fit_isoflop
from tasks.scaling.parabola import MIN_VALUES

FloatArray = npt.NDArray[np.float64]
LEVEL = 0.95
MIN_RESAMPLED = 20  # fewer sound fits than that give no interval


@dataclass(frozen=True)
class ResampledIsoFlop:
    """The fit, the fits to drawn losses, and the residuals (nats a token) that were drawn from."""

    fit: IsoFlopFit
    resampled: tuple[IsoFlopFit, ...]
    residuals: tuple[float, ...]

    @property
    def scatter(self) -> float | None:
        """Standard deviation of a loss about its parabola, nats a token; None without residuals."""
        return float(np.sqrt(np.mean(np.square(self.residuals)))) if self.residuals else None

    def interval(self, law: str, flops: float | None = None) -> tuple[float, float] | None:
        """95 % interval of a law's exponent, or of its value at a budget. `law`: params, tokens or loss."""
        laws = [getattr(fit, law) for fit in self.resampled]
        return percentiles([one.exponent if flops is None else float(one(flops)) for one in laws])

    def next_run(self, flops: float, seed: int) -> tuple[float, float] | None:
        """95 % interval of the loss of one run at a budget's best size: the law's, and a run's own scatter."""
        drawn = np.random.default_rng(seed).choice(np.array(self.residuals or [0.0]), len(self.resampled))
        return percentiles([float(fit.loss(flops)) + noise for fit, noise in zip(self.resampled, drawn, strict=True)])


def percentiles(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """The interval that holds the middle of the values; None when they are too few."""
    if len(values) < MIN_RESAMPLED:
        return None
    low, high = np.quantile(np.array(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample_isoflop(budgets: Sequence[Sequence[Run]], bootstrap: int, seed: int) -> ResampledIsoFlop:
    """Fit the parabolas and their laws, and again on drawn losses.

    Draws in which fewer than two budgets have a sound vertex give no fit, and are left out.

    Raises:
        BadInput: see `fit_isoflop`.
    """
    fit = fit_isoflop(budgets)
    ordered = sorted(budgets, key=lambda runs: float(np.mean([run.flops for run in runs])))
    expected = [
        np.array([float(parabola.loss(run.params)) for run in runs])
        for parabola, runs in zip(fit.parabolas, ordered, strict=True)
    ]
    residuals: list[float] = []
    for runs, fitted in zip(ordered, expected, strict=True):
        n = len(runs)
        if n > MIN_VALUES:
            widened = (np.array([run.loss for run in runs]) - fitted) * np.sqrt(n / (n - MIN_VALUES))
            residuals += widened.tolist()
    if not residuals:
        return ResampledIsoFlop(fit, (), ())
    generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(bootstrap):
        drawn = [_redrawn(runs, fitted, residuals, generator) for runs, fitted in zip(ordered, expected, strict=True)]
        try:
            resampled.append(fit_isoflop(drawn))
        except BadInput:
            continue
    return ResampledIsoFlop(fit, tuple(resampled), tuple(residuals))


def _redrawn(
    runs: Sequence[Run], fitted: FloatArray, residuals: Sequence[float], generator: np.random.Generator
) -> list[Run]:
    noise = generator.choice(np.array(residuals), len(runs))
    return [Run(run.params, run.tokens, run.flops, float(loss)) for run, loss in zip(runs, fitted + noise, strict=True)]
