"""A trained classifier in use."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infra.store import Artifact

LABEL_PREFIX = "__label__"
POSITIVE, NEGATIVE = "hq", "cc"  # DCLM's labels, in every classifier of two classes
MODELS_HELD = 8  # a process
# Scores are sums of 32-bit products whose order the compiler chooses; stored are the digits that all agree on.
SCORE_DECIMALS = 4


class Classifier(Artifact):
    """Role: a trained classifier."""

    accepts = ("quality-model", "domain-model", "classifier")

    @property
    def name(self) -> str:
        """What its scores are called."""
        return str(self.manifest.metrics["name"])

    @property
    def labels(self) -> tuple[str, ...]:
        """Its classes; of two: the positive one first."""
        return tuple(self.manifest.metrics["labels"])

    @property
    def model_path(self) -> Path:
        """fastText's file."""
        return self.file(str(self.manifest.metrics["model"]))


def as_line(text: str) -> str:
    """A text as fastText reads it: its lines joined by spaces (as DCLM does), and nothing in it taken for a label."""
    return " ".join(text.strip().splitlines()).replace(LABEL_PREFIX, "label ")


def probabilities(model: Path, labels: Sequence[str], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """(n_texts, n_labels) probabilities of each class; NaN for a text without words."""
    result = np.full((len(texts), len(labels)), np.nan)
    lines = [as_line(text) for text in texts]
    rows = [row for row, line in enumerate(lines) if line.strip()]
    if not rows:
        return result
    column = {f"{LABEL_PREFIX}{label}": index for index, label in enumerate(labels)}
    # One text a call asks for a scalar that NumPy 2 refuses; a list does not.
    found, scores = _model(str(model)).predict([lines[row] for row in rows], k=len(labels))
    for row, names, values in zip(rows, found, scores, strict=True):
        result[row] = 0.0
        for name, value in zip(names, values, strict=True):
            result[row, column[name]] = min(float(value), 1.0)
    return result.round(SCORE_DECIMALS)


@lru_cache(maxsize=MODELS_HELD)
def _model(path: str) -> Any:  # fasttext has no type stubs
    import fasttext

    return fasttext.load_model(path)
