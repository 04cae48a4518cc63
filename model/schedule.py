"""Learning-rate schedules: pure functions of the step, so that a resumed run needs no state for them. No torch.

The engine multiplies each group's peak learning rate by what they give.
"""

import math
from collections.abc import Sequence
from itertools import takewhile

from model.config import OptimConfig
from model.job import Phase


def learning_rate_scale(config: OptimConfig, step: int, steps: int) -> float:
    """Learning rate of step `step` (from 0) of `steps`, as a share of the peak.

    Warm-up rises to 1 over `warmup_steps`; the first step already learns. The decay runs over the steps after it and
    would reach `min_lr_ratio` one step after the last.

    Raises:
        ValueError: `step` is not one of 0..steps-1.
    """
    if not 0 <= step < steps:
        raise ValueError(f"step {step} is outside a run of {steps} steps")
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    if config.schedule in ("wsd", "trapezoid"):
        decay_steps = min(config.decay_fraction * steps, steps - config.warmup_steps)
        progress = max(0.0, step - (steps - decay_steps)) / decay_steps
    else:
        progress = (step - config.warmup_steps) / (steps - config.warmup_steps)
    shape = {"trapezoid": "linear", "wsd": "sqrt"}.get(config.schedule, config.schedule)
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * remaining(shape, progress)


def remaining(shape: str, progress: float) -> float:
    """What is left of a decay after `progress` [0, 1] of it: 1 at its beginning, 0 at its end."""
    if shape == "linear":
        return 1 - progress
    if shape == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2  # Loshchilov & Hutter 2017, equation 5
    if shape == "sqrt":
        return 1 - math.sqrt(progress)  # Hägele et al. 2024, section 3.2
    raise ValueError(f"no decay is called {shape!r}")


def phased_learning_rate_scale(config: OptimConfig, phases: Sequence[Phase], step: int) -> float:
    """Learning rate of step `step` (from 0) of a run in phases, as a share of the peak.

    The optimizer's schedule runs over the leading phases that have no rate of their own. A later phase without one
    keeps the rate that the phase before it ended with.

    Raises:
        ValueError: `step` is outside of the run.
    """
    first, later = _stretches(config, phases)
    if step < first:
        return learning_rate_scale(config, step, first)
    for phase, start, end in later:
        if step < first + phase.steps:
            if start == end or phase.rate is None:
                return start
            return end + (start - end) * remaining(phase.rate.shape, (step - first) / phase.steps)
        first += phase.steps
    raise ValueError(f"step {step} is outside a run of {first} steps")


def phases_that_learn_nothing(config: OptimConfig, phases: Sequence[Phase]) -> list[str]:
    """Names of the phases whose learning rate is 0 at every step."""
    return [phase.name for phase, start, end in _stretches(config, phases)[1] if start == end == 0]


def _stretches(config: OptimConfig, phases: Sequence[Phase]) -> tuple[int, list[tuple[Phase, float, float]]]:
    """(steps of the leading phases, which the schedule runs over; each later one with the shares it goes from and to).

    The leading ones never stand at 0: a schedule would come to its end one step after the last.
    """
    leading = list(takewhile(lambda phase: phase.rate is None, phases))
    steps = sum(phase.steps for phase in leading)
    scale = _end_of_schedule(config, steps) if steps else 1.0
    later = []
    for phase in phases[len(leading) :]:
        start = end = scale
        if phase.rate is not None:
            start = scale if phase.rate.start is None else phase.rate.start
            end = start if phase.rate.shape == "constant" else phase.rate.end
        later.append((phase, start, end))
        scale = end
    return steps, later


def _end_of_schedule(config: OptimConfig, steps: int) -> float:
    """The share that a schedule over `steps` steps has come to after the last."""
    if steps <= config.warmup_steps:
        return learning_rate_scale(config, steps - 1, steps)
    return 1.0 if config.schedule == "constant" else config.min_lr_ratio
