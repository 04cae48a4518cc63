"""A parabola through final losses of runs that differ in one number, on its logarithm: which number is best?

Its vertex answers. One outside the numbers that were tried is an extrapolation, and a parabola that opens downward has
no best one: both are said as the fit's `problem`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from infra.errors import BadInput

FloatArray = npt.NDArray[np.float64]
MIN_VALUES = 3  # a parabola has three constants


@dataclass(frozen=True, kw_only=True)
class Parabola:
    """loss = c0 + c1 x + c2 x^2 with x = ln(value) - `centre`.

    Attributes:
        low, high: the smallest and largest value that was tried.
        problem: why its vertex is not to be used, for a person; empty when it is.
    """

    centre: float
    coefficients: tuple[float, float, float]
    low: float
    high: float
    problem: str = ""

    def loss(self, value: float | FloatArray) -> float | FloatArray:
        """The fitted loss at a value."""
        x = np.log(value) - self.centre
        c0, c1, c2 = self.coefficients
        return c0 + c1 * x + c2 * x * x

    @property
    def has_best(self) -> bool:
        """Whether there is a best value, tried or not: it opens upward."""
        return self.coefficients[2] > 0

    @property
    def best(self) -> float:
        """The value at the vertex. Only where it `has_best`."""
        _, c1, c2 = self.coefficients
        return float(np.exp(self.centre - c1 / (2 * c2)))

    @property
    def best_loss(self) -> float:
        """The loss at the vertex. Only where it `has_best`."""
        return float(self.loss(self.best))


def fit_parabola(values: Sequence[float], losses: Sequence[float], what: str) -> Parabola:
    """Least squares of losses (nats a token) on the logarithms of values.

    Args:
        what: what a value is, as "size", for what is told.

    Raises:
        BadInput: fewer than three different values.
    """
    n_values = len({*values})
    if n_values < MIN_VALUES:
        raise BadInput(f"a best {what} needs runs of at least {MIN_VALUES} {what}s, not {n_values}")
    logs = np.log(np.asarray(values, float))
    centre, low, high = float(logs.mean()), float(min(values)), float(max(values))
    c2, c1, c0 = map(float, np.polyfit(logs - centre, losses, 2))
    found = Parabola(centre=centre, coefficients=(c0, c1, c2), low=low, high=high)
    if not found.has_best:
        return replace(found, problem=f"opens downward: no best {what} between those that were run")
    if not low <= found.best <= high:
        side = "below" if found.best < low else "above"
        told = f"vertex at a {what} of {found.best:.3g}, {side} the {what}s that were run ({low:.3g} to {high:.3g})"
        return replace(found, problem=told)
    return found
