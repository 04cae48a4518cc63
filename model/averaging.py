"""Which weights of a run are exported when it is a mean of several steps': configuration and arithmetic, no torch."""

from pydantic import BaseModel, ConfigDict, Field


class Average(BaseModel):
    """Which steps are averaged: the last, and `checkpoints` - 1 before it, `every` steps apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoints: int = Field(4, ge=2, description="How many; steps before the first are left out.")
    every: int = Field(50, ge=1, description="Steps between two of them.")
    decay: float | None = Field(
        None, gt=0, lt=1, description="Weight of each against the one after it: an exponential mean. Empty: all equal."
    )


def averaged_steps(average: Average, steps: int) -> list[int]:
    """The steps (from 1) after which weights are kept, of a run of `steps`, ascending."""
    return [step for back in reversed(range(average.checkpoints)) if (step := steps - back * average.every) >= 1]


def average_weights(n: int, decay: float | None) -> list[float]:
    """Weight of each of n snapshots, oldest first; they sum to 1."""
    raw = [1.0 if decay is None else decay ** (n - 1 - place) for place in range(n)]
    return [weight / sum(raw) for weight in raw]
