"""From quantiles to numbers: what a rule such as `quality < quantile 0.9` means in one corpus.

The q-quantile of n values is the one at index floor(q * n) of their ascending order, counted from 0 (the last for
q = 1): q * n values come before it, so that `<` rejects at most the share q. Values equal to the quantile share its
fate: `signal < quantile 0.9` keeps at least the best tenth, and more where the value at the border is common. Nulls
are no values. The corpus is all documents that the stage is given, those that other rules reject included.

Only counts of distinct values are held, so memory grows with them and not with the documents.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.filters.rules import ResolvedRule, Rule, group_names

Cuts = dict[str, dict[str, float]]  # rule name -> group ("": all documents) -> number


class Distribution:
    """How often each value of a number occurs in each group of documents."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[npt.NDArray, npt.NDArray[np.int64]]] = {}  # ascending distinct values, counts

    def add(self, values: pa.ChunkedArray, groups: pa.Array) -> None:
        """Add documents; nulls and NaN count for nothing."""
        for group in sorted(pc.unique(groups).to_pylist()):
            own = values.filter(pc.equal(groups, group)).drop_null().to_numpy()
            if own.dtype.kind == "f":
                own = own[~np.isnan(own)]
            if len(own):
                self._merge(group, *np.unique(own, return_counts=True))

    def quantile(self, group: str, share: float) -> float:
        """The value that `share` of the group lies below, as the module defines it, to the digits of its type."""
        values, counts = self._groups[group]
        total = int(counts.sum())
        # 0.29 * 100 is 28.999…; the decimal that was written is meant
        index = min(math.floor(Fraction(str(share)) * total), total - 1)
        value = values[int(np.searchsorted(np.cumsum(counts), index, side="right"))]
        return int(value) if values.dtype.kind in "iu" else float(str(value))

    @property
    def groups(self) -> list[str]:
        """The groups that have values, in order."""
        return sorted(self._groups)

    def _merge(self, group: str, values: npt.NDArray, counts: npt.NDArray[np.int64]) -> None:
        if group in self._groups:
            before, before_counts = self._groups[group]
            values, places = np.unique(np.concatenate([before, values]), return_inverse=True)
            counts = np.bincount(places, np.concatenate([before_counts, counts])).astype(np.int64)
        self._groups[group] = (values, counts)


def quantile_rules(rules: Iterable[Rule]) -> list[Rule]:
    """The rules whose number the corpus decides."""
    return [rule for rule in rules if rule.quantile is not None]


def find_cuts(rules: Sequence[Rule], parts: Iterable[pa.Table]) -> Cuts:
    """The numbers of the quantile rules among `rules`.

    Args:
        parts: all documents, with the columns that those rules look at. The order of documents and their cutting into
            parts change nothing.
    """
    wanted = quantile_rules(rules)
    found = {(rule.signal, rule.by): Distribution() for rule in wanted}
    for table in parts:
        for (signal, by), distribution in found.items():
            distribution.add(table.column(signal), group_names(table, by))
    return {
        rule.name: {group: found[rule.signal, rule.by].quantile(group, rule.quantile or 0.0) for group in groups}
        for rule in wanted
        for groups in [found[rule.signal, rule.by].groups]
    }


def with_cuts(rules: Iterable[Rule], cuts: Mapping[str, Mapping[str, float]]) -> list[Rule]:
    """The rules with every quantile resolved."""
    return [
        rule
        if rule.quantile is None
        else ResolvedRule.model_validate(
            {
                **rule.model_dump(exclude={"threshold", "thresholds"}),
                "thresholds": dict(cuts[rule.name]),
                "threshold": cuts[rule.name].get("") if rule.by is None else None,
            }
        )
        for rule in rules
    ]
