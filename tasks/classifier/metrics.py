"""How good a classifier is on texts that it did not learn from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 10
DECIMALS = 4

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def auc(scores: Floats, positive: Bools) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, a tie counting half.

    By ranks (Mann and Whitney 1947).

    Args:
        scores: (n,). positive: (n,), with both kinds in it; otherwise the area is not defined and 0.5 is given.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return 0.5
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_ranks = (last - (counts - 1) / 2.0)[places]  # from 1
    return float((mean_ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def reliability(confidence: Floats, correct: Bools, bins: int = BINS) -> tuple[list[dict[str, float]], float]:
    """What came of each claimed probability, and the expected calibration error.

    Guo et al. 2017, arXiv:1706.04599, section 2: equal-width bins; the error is the mean over documents of
    |claimed - observed| of their bin.

    Args:
        confidence: (n,) claimed probabilities. correct: (n,) whether the claim held.

    Returns:
        One row for each bin that is not empty: {"from", "to", "n", "claimed", "observed"}; and the error.
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    table, error = [], 0.0
    for index in range(bins):
        inside = place == index
        n = int(inside.sum())
        if n:
            claimed, observed = float(confidence[inside].mean()), float(correct[inside].mean())
            error += n * abs(claimed - observed) / len(confidence)
            row = {"from": index / bins, "to": (index + 1) / bins, "n": n}
            table.append({**row, "claimed": round(claimed, DECIMALS), "observed": round(observed, DECIMALS)})
    return table, round(error, DECIMALS)


def measure_binary(probability: Floats, positive: Bools) -> dict[str, Any]:
    """Accuracy at 0.5, AUC and calibration of the probability of the positive class."""
    table, error = reliability(probability, positive)
    predicted = probability >= 0.5
    return {
        "accuracy": round(float((predicted == positive).mean()), DECIMALS),
        "auc": round(auc(probability, positive), DECIMALS),
        "calibration_error": error,
        "reliability": table,
        "heldout_positives": int(positive.sum()),
        "heldout_negatives": int((~positive).sum()),
    }


def measure_classes(probabilities: Floats, truth: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, calibration of the winning class, and precision, recall and AUC of each class.

    Args:
        probabilities: (n, n_labels).
        truth: n labels.

    Returns:
        Also "confusion": {true label: {predicted label: n}}, zeros left out.
    """
    true = np.array([labels.index(label) for label in truth])
    predicted = probabilities.argmax(axis=1)
    table, error = reliability(probabilities.max(axis=1), predicted == true)
    classes = {}
    for index, label in enumerate(labels):
        hit = int(((predicted == index) & (true == index)).sum())
        said, there = int((predicted == index).sum()), int((true == index).sum())
        classes[label] = {
            "heldout": there,
            "precision": round(hit / said, DECIMALS) if said else None,
            "recall": round(hit / there, DECIMALS) if there else None,
            "auc": round(auc(probabilities[:, index], true == index), DECIMALS),
        }
    confusion = {
        label: {
            other: n for column, other in enumerate(labels) if (n := int(((true == row) & (predicted == column)).sum()))
        }
        for row, label in enumerate(labels)
    }
    return {
        "accuracy": round(float((predicted == true).mean()), DECIMALS),
        "calibration_error": error,
        "reliability": table,
        "classes": classes,
        "confusion": confusion,
    }
