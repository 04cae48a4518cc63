"""Right answers against held-out loss, where runs were evaluated: the sigmoid of `downstream.py`, task by task.

Runs of the role `heldout` are shown beside the curve and are no part of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from infra.store import Artifact
from tasks.scaling.downstream import MIN_POINTS, AccuracyCurve, fit_accuracy
from tasks.scaling.prediction import Estimate
from tasks.scaling.resampling import percentiles
from tasks.scaling.rows import RunRow

LEAST_EXPLAINED = 0.5  # of the variance of the values, below which they do not follow the loss


@dataclass(frozen=True)
class TaskCurve:
    """One metric of one task over runs: nats a token, values in [0, 1]; no curve where none could be fitted.

    Attributes:
        resampled: curves of runs drawn with replacement.
        unseen: (loss, value) of runs that are not in the fit.
    """

    task: str
    metric: str
    losses: tuple[float, ...]
    values: tuple[float, ...]
    curve: AccuracyCurve | None
    resampled: tuple[AccuracyCurve, ...] = ()
    unseen: tuple[tuple[float, float], ...] = ()
    problem: str = ""

    def at(self, loss: float) -> Estimate | None:
        """The value at a loss, with a 95 % interval; None without a curve."""
        if self.curve is None:
            return None
        interval = percentiles([curve(loss) for curve in self.resampled])
        return Estimate(self.curve(loss), *(interval or (None, None)))


def task_curves(
    evaluations: Sequence[Artifact],
    rows: Mapping[str, RunRow],
    metrics: Sequence[str],
    chance: Mapping[str, float],
    bootstrap: int,
    seed: int,
) -> list[TaskCurve]:
    """A curve for every (task, metric) that evaluations give of these runs; none where they give none.

    Args:
        metrics: the metrics that are shares of right answers.
        chance: what guessing gives, by task; 0 where nothing is said.
        bootstrap: resampled curves behind an interval.
    """
    points: dict[tuple[str, str], dict[str, float]] = {}
    for evaluation in evaluations:
        for score in evaluation.read_table("scores").to_pylist():
            if score["model"] in rows and score["metric"] in metrics:
                points.setdefault((score["task"], score["metric"]), {})[score["model"]] = score["value"]
    return [
        _curve(task, metric, [(rows[ref], value) for ref, value in sorted(found.items())], chance, bootstrap, seed)
        for (task, metric), found in sorted(points.items())
    ]


def _curve(
    task: str,
    metric: str,
    found: Sequence[tuple[RunRow, float]],
    chances: Mapping[str, float],
    bootstrap: int,
    seed: int,
) -> TaskCurve:
    chance = chances.get(task, 0.0)
    fitted = sorted((row.loss, value) for row, value in found if row.role == "grid")
    unseen = tuple(sorted((row.loss, value) for row, value in found if row.role == "heldout"))
    losses, values = tuple(loss for loss, _ in fitted), tuple(value for _, value in fitted)

    def without(problem: str) -> TaskCurve:
        return TaskCurve(task, metric, losses, values, None, (), unseen, problem)

    if len(fitted) < MIN_POINTS:
        return without(f"{len(fitted)} runs; a sigmoid needs {MIN_POINTS}")
    if max(values) <= chance:
        return without(f"no run is better than chance ({chance:g})")
    curve = fit_accuracy(losses, values, chance)
    left = np.square(np.array(values) - np.array([curve(loss) for loss in losses])).mean()
    explained = 1 - left / np.var(values) if np.var(values) else 0.0
    if explained < LEAST_EXPLAINED:
        return without(
            f"right answers do not follow the loss here: a sigmoid explains {explained:.0%} of their variance"
        )
    generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(bootstrap):
        draw = generator.integers(0, len(fitted), len(fitted))
        if len({losses[k] for k in draw}) >= MIN_POINTS:
            resampled.append(fit_accuracy([losses[k] for k in draw], [values[k] for k in draw], chance))
    return TaskCurve(task, metric, losses, values, curve, tuple(resampled), unseen)
