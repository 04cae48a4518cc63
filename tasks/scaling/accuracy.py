"""Task accuracy against held-out loss, where runs were evaluated: the sigmoid of `downstream.py`, task by task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.errors import BadInput
from infra.store import Artifact
from tasks.scaling.downstream import MIN_POINTS, AccuracyCurve, fit_accuracy
from tasks.scaling.rows import RunRow


@dataclass(frozen=True)
class TaskCurve:
    """One metric of one task over runs: nats a token, values in [0, 1]; no curve where none could be fitted."""

    task: str
    metric: str
    losses: tuple[float, ...]
    values: tuple[float, ...]
    curve: AccuracyCurve | None
    problem: str = ""


def task_curves(
    evaluations: Sequence[Artifact], rows: Mapping[str, RunRow], metrics: Sequence[str], chance: Mapping[str, float]
) -> list[TaskCurve]:
    """A curve for every (task, metric) that evaluations give of these runs.

    Args:
        metrics: the metrics that are shares of right answers.
        chance: what guessing gives, by task; 0 where nothing is said.

    Raises:
        BadInput: the evaluations are of none of the runs.
    """
    points: dict[tuple[str, str], dict[str, float]] = {}
    for evaluation in evaluations:
        for score in evaluation.read_table("scores").to_pylist():
            if score["model"] in rows and score["metric"] in metrics:
                points.setdefault((score["task"], score["metric"]), {})[score["model"]] = score["value"]
    if evaluations and not points:
        refs = ", ".join(evaluation.ref for evaluation in evaluations)
        raise BadInput(f"{refs}: no {' or '.join(metrics)} of any of these runs")
    return [
        _curve(task, metric, found, rows, chance.get(task, 0.0)) for (task, metric), found in sorted(points.items())
    ]


def _curve(task: str, metric: str, values: Mapping[str, float], rows: Mapping[str, RunRow], chance: float) -> TaskCurve:
    ordered = sorted((rows[ref].loss, value) for ref, value in values.items())
    losses, accuracies = tuple(loss for loss, _ in ordered), tuple(value for _, value in ordered)
    if len(ordered) < MIN_POINTS:
        return TaskCurve(task, metric, losses, accuracies, None, f"{len(ordered)} runs; a sigmoid needs {MIN_POINTS}")
    if max(accuracies) <= chance:
        return TaskCurve(task, metric, losses, accuracies, None, f"no run is better than chance ({chance:g})")
    return TaskCurve(task, metric, losses, accuracies, fit_accuracy(losses, accuracies, chance))
