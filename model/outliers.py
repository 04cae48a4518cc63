"""Steps that are not taken: those whose loss or gradient norm lies far outside of the last ones.

A batch of broken text, or a rare flip of bits, can cost a run more than the step is worth. OLMo-core's rule
(SkipStepOptimizer): a step is skipped when its loss or its gradient norm exceeds the mean of the last `window` steps by
more than `sigma` standard deviations. Values of skipped steps enter the window all the same, so that a lasting change
of level is accepted in the end. The window is part of the checkpoint: a resumed run skips the same steps.
"""

import math
import statistics
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

MOST_IN_A_ROW = 10  # skipped steps after which a run is not unlucky but broken


class SkipConfig(BaseModel):
    """When a step counts as an outlier. Defaults are OLMo-core's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: float = Field(6.0, gt=0, description="Standard deviations above the mean from which a step is skipped.")
    window: int = Field(128, ge=4, description="Steps that mean and deviation are of; half of them before it begins.")


class Recent(BaseModel):
    """Losses and gradient norms of the last steps, oldest first, and how many were skipped."""

    model_config = ConfigDict(extra="forbid")

    losses: list[float] = Field(default_factory=list)
    grad_norms: list[float] = Field(default_factory=list)
    skipped: int = 0
    in_a_row: int = 0

    def judge(self, loss: float, grad_norm: float, config: SkipConfig) -> bool:
        """Whether the step is to be skipped; the step is then part of what later ones are judged by.

        Raises:
            FloatingPointError: `MOST_IN_A_ROW` steps in a row were skipped.
        """
        skip = is_outlier(loss, self.losses, config) or is_outlier(grad_norm, self.grad_norms, config)
        for value, window in ((loss, self.losses), (grad_norm, self.grad_norms)):
            if math.isfinite(value):  # one that is not would make every later comparison meaningless
                window.append(value)
                del window[: -config.window]
        self.in_a_row = self.in_a_row + 1 if skip else 0
        self.skipped += skip
        if self.in_a_row > MOST_IN_A_ROW:
            raise FloatingPointError(
                f"{self.in_a_row} steps in a row were outliers, the last with loss {loss}, gradient norm {grad_norm}; "
                "lower the learning rate or look at the data"
            )
        return skip

    def forget(self) -> None:
        """Begin the window again: a new phase has another level."""
        self.losses.clear()
        self.grad_norms.clear()


def is_outlier(value: float, earlier: Sequence[float], config: SkipConfig) -> bool:
    """Whether `value` is not finite, or above mean + sigma deviations (of a sample, n - 1) of at least window / 2."""
    if not math.isfinite(value):
        return True
    if len(earlier) < max(2, config.window // 2):
        return False
    mean = statistics.fmean(earlier)
    return value - mean > config.sigma * statistics.stdev(earlier, mean)
