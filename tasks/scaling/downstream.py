"""From loss to task accuracy: accuracy = chance + (1 - chance) * sigmoid(k (loss0 - loss)).

After the second step of Llama 3's prediction (Grattafiori et al. 2024, arXiv:2407.21783, section 3.2.1), where the loss
is that of the correct answer; `accuracy.py` gives it the loss on all held-out text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infra.errors import BadInput

MIN_POINTS = 3
SLOPE_STARTS = (0.5, 2.0, 8.0)


@dataclass(frozen=True)
class AccuracyCurve:
    """A sigmoid between chance and 1; `loss0` is the loss half-way, `k` its steepness there."""

    chance: float
    loss0: float
    k: float

    def __call__(self, loss: float) -> float:
        """Predicted accuracy."""
        return float(self.chance + (1 - self.chance) / (1 + np.exp(-self.k * (self.loss0 - loss))))


def fit_accuracy(losses: Sequence[float], accuracies: Sequence[float], chance: float) -> AccuracyCurve:
    """Least squares from several starts.

    Args:
        losses: nats a token, a byte or a character: one of these for all, and of the same text.
        chance: accuracy of guessing, in [0, 1).

    Raises:
        BadInput: fewer than three points.
    """
    from scipy.optimize import least_squares

    if len(losses) < MIN_POINTS:
        raise BadInput(f"a sigmoid needs at least {MIN_POINTS} models, not {len(losses)}")
    x, y = np.asarray(losses, float), np.asarray(accuracies, float)

    def residuals(theta: np.ndarray) -> np.ndarray:
        return chance + (1 - chance) / (1 + np.exp(-theta[1] * (theta[0] - x))) - y

    starts = [(loss0, k) for loss0 in np.quantile(x, [0.0, 0.5, 1.0]) for k in SLOPE_STARTS]
    fits = [least_squares(residuals, start, bounds=([-np.inf, 0.0], [np.inf, np.inf])) for start in starts]
    best = min(fits, key=lambda fit: fit.cost)
    return AccuracyCurve(chance, float(best.x[0]), float(best.x[1]))
