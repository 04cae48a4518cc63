"""Axes and bins for the distribution of a signal, chosen once for a corpus and counted part by part."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 40
LOW_QUANTILE, HIGH_QUANTILE = 0.002, 0.995  # of the values an axis spans; what lies beyond is in the outermost bins
HEAVY_TAIL = 12.0  # an axis becomes logarithmic when its high end is so many times the median
REACH = 1.0  # a threshold outside is drawn if it lies within so many spans of the axis; on a log axis always

NULL_BIN = -1


@dataclass(frozen=True)
class Axis:
    """Equal bins from `low` to `high`, of log10(1 + value) when `log`; `whole` when the values are whole numbers."""

    low: float
    high: float
    bins: int = BINS
    log: bool = False
    whole: bool = False

    def as_json(self) -> dict[str, Any]:
        """For `given` and back: `Axis(**axis.as_json())`."""
        return asdict(self)

    def place(self, value: float) -> float:
        """Where a value lies on the axis: 0 at its low end, 1 at its high end."""
        low, high = self._scaled(np.array([self.low, self.high]))
        (scaled,) = self._scaled(np.array([value]))
        return float((scaled - low) / (high - low))

    def edge(self, bin_index: int) -> float:
        """The value at the lower edge of a bin; of bin number `bins`, the high end."""
        low, high = self._scaled(np.array([self.low, self.high]))
        scaled = low + (high - low) * bin_index / self.bins
        return float(10**scaled - 1) if self.log else float(scaled)

    def bins_of(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """(n,) the bin of each value; `NULL_BIN` where it is NaN; values beyond the ends are in the outermost bins."""
        low, high = self._scaled(np.array([self.low, self.high]))
        missing = np.isnan(values)
        share = (self._scaled(np.where(missing, self.low, values)) - low) / (high - low)
        found = np.clip(np.floor(share * self.bins), 0, self.bins - 1).astype(np.int64)
        found[missing] = NULL_BIN
        return found

    def _scaled(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.log10(1 + np.maximum(values, 0)) if self.log else values


def choose_axis(values: npt.NDArray[np.float64], thresholds: Sequence[float], whole: bool) -> Axis | None:
    """An axis for a signal, from some of its values (NaN: null); None when there is no value.

    Args:
        thresholds: rules' thresholds, to be on the axis when they are near.
        whole: the signal is a whole number: few values get a bin each.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, median, high = (float(q) for q in np.quantile(known, [LOW_QUANTILE, 0.5, HIGH_QUANTILE]))
    if whole and low >= 0 and high > HEAVY_TAIL * max(median, 1.0):
        reached = [t for t in thresholds if t >= 0]
        return Axis(min([low, *reached]), max([high, 1.0, *reached]), log=True, whole=True)
    span = high - low
    near = [t for t in thresholds if low - REACH * span <= t <= high + REACH * span or span == 0]
    low, high = min([low, *near]), max([high, *near])
    if whole:
        low, high = float(np.floor(low)), float(np.floor(high)) + 1
        return Axis(low, high, int(min(high - low, BINS)), whole=True)
    if low == high:
        return Axis(low - 0.5, low + 0.5)
    return Axis(low, high + (high - low) * 1e-6)  # the largest value lies in the last bin, not beyond it
