"""Runs held against each other: architectures, width and depth, learning rates, mixtures, objectives.

Nothing here enters the scaling fit. A difference means something when it is larger than the scatter of the grid's
losses about their fit, which the page says beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field

from infra.errors import BadInput
from infra.params import Params
from tasks.scaling.grid import Kind
from tasks.scaling.parabola import Parabola, fit_parabola
from tasks.scaling.rows import RunRow

COMPARISONS = pa.schema(
    [
        ("kind", pa.string()),  # architecture, width_depth, rate, mixture or objective
        ("flops", pa.float64()),  # of the point: what the runs were to take
        ("params", pa.float64()),  # of the point: how large they were to be
        ("variant", pa.string()),
        ("ref", pa.string()),
        ("run_params", pa.int64()),
        ("tokens", pa.int64()),
        ("loss", pa.float64()),
        ("bits_per_byte", pa.float64()),
        ("above_best", pa.float64()),  # nats a token over the best variant of the point; null between objectives
        ("seconds", pa.float64()),
    ]
)


class Compared(Params):
    """One variant at one point, and the run that stands for it."""

    kind: Kind = Field(description="What is compared.")
    flops: float = Field(gt=0, description="Budget of the point.")
    params: float = Field(gt=0, description="Size of the point.")
    variant: str = Field(description="What this run has for it.")
    run: str = Field(description="Reference of the run, as pretrain/version.")


@dataclass(frozen=True)
class Comparison:
    """The variants at one point, in the order of their numbers or names."""

    kind: Kind
    flops: float
    params: float
    variants: tuple[tuple[str, RunRow], ...]

    @property
    def best(self) -> tuple[str, RunRow] | None:
        """The variant of the lowest loss; None between objectives, whose losses are of different tasks."""
        if self.kind == "objective":
            return None
        return min(self.variants, key=lambda one: one[1].loss)

    def above_best(self, row: RunRow) -> float | None:
        """Nats a token that a variant is worse than the best one."""
        return None if self.best is None else row.loss - self.best[1].loss


@dataclass(frozen=True, kw_only=True)
class RateFit(Parabola):
    """The parabola of one point: its values are peak learning rates."""

    flops: float
    params: float


def comparisons_of(tags: Sequence[Compared], rows: Mapping[str, RunRow]) -> list[Comparison]:
    """Tagged runs, point by point.

    Raises:
        BadInput: a tag names a run that is not among the stage's.
    """
    groups: dict[tuple[Kind, float, float], list[tuple[str, RunRow]]] = {}
    for tag in tags:
        if tag.run not in rows:
            raise BadInput(f"comparisons: {tag.run} is none of the runs given in `runs` and `compared`")
        groups.setdefault((tag.kind, tag.flops, tag.params), []).append((tag.variant, rows[tag.run]))
    found = []
    for (kind, flops, params), variants in sorted(groups.items()):
        ordered = sorted(variants, key=lambda one: _order(kind, *one))
        found.append(Comparison(kind, flops, params, tuple(ordered)))
    return found


def _order(kind: Kind, variant: str, row: RunRow) -> tuple[float, str]:
    if kind == "rate":
        return row.rate, variant
    return (row.width / row.depth if kind == "width_depth" else 0.0), variant


def fit_rates(comparison: Comparison) -> RateFit:
    """Which learning rate is best at a point.

    Raises:
        BadInput: fewer than three rates.
    """
    rates, losses = zip(*((row.rate, row.loss) for _, row in comparison.variants), strict=True)
    found = fit_parabola(rates, losses, "rate")
    return RateFit(flops=comparison.flops, params=comparison.params, **vars(found))


def comparison_table(comparisons: Sequence[Comparison]) -> pa.Table:
    """All variants as `COMPARISONS`."""
    rows = [
        {
            "kind": comparison.kind,
            "flops": comparison.flops,
            "params": comparison.params,
            "variant": variant,
            "ref": row.ref,
            "run_params": row.params,
            "tokens": row.tokens,
            "loss": row.loss,
            "bits_per_byte": row.bits_per_byte,
            "above_best": comparison.above_best(row),
            "seconds": row.seconds,
        }
        for comparison in comparisons
        for variant, row in comparison.variants
    ]
    return pa.Table.from_pylist(rows, schema=COMPARISONS)
