"""The recipe: how much of the training text is of each domain, and how much of each a training run should see.

Sizes are UTF-8 bytes, which no tokenizer changes. The recipe only states shares; the data loader draws by them and
repeats a domain at most `max_epochs` times.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from infra.errors import BadConfig
from infra.split import SPLITS

Sizes = dict[str, dict[str, dict[str, int]]]  # domain -> split -> {"documents", "bytes"}


def sizes_of(documents: pa.Table) -> Sizes:
    """Documents and bytes of each (domain, split) of a table with domain, split and n_bytes."""
    grouped = documents.group_by(["domain", "split"]).aggregate([("n_bytes", "sum"), ("n_bytes", "count")])
    sizes: Sizes = {}
    for row in grouped.to_pylist():
        size = {"documents": row["n_bytes_count"], "bytes": row["n_bytes_sum"]}
        sizes.setdefault(row["domain"], {})[row["split"]] = size
    return sizes


def add_sizes(total: Sizes, more: Sizes) -> None:
    """Add `more` to `total` in place."""
    for domain, splits in more.items():
        for split, size in splits.items():
            into = total.setdefault(domain, {}).setdefault(split, {"documents": 0, "bytes": 0})
            into["documents"] += size["documents"]
            into["bytes"] += size["bytes"]


def make_recipe(sizes: Sizes, wanted: Mapping[str, float] | None, max_epochs: float) -> dict[str, Any]:
    """The content of recipe.json.

    Args:
        sizes: what there is.
        wanted: relative share of training bytes to draw from each domain; None takes what there is.
        max_epochs: how often a run may repeat a domain.

    Returns:
        {"unit", "domains": {domain: {split: {"documents", "bytes"}, "share", "drawn"}}, "max_epochs", "annealing"}:
        `share` is the domain's part of all training bytes, `drawn` the part a run should draw (both sum to 1 when
        there is training text), `annealing` the domains of the last phase, empty until one is chosen.

    Raises:
        BadConfig: `wanted` names a domain without training text, or its shares sum to nothing.
    """
    full = {
        domain: {split: sizes[domain].get(split, {"documents": 0, "bytes": 0}) for split in SPLITS}
        for domain in sorted(sizes)
    }
    training = {domain: splits["train"]["bytes"] for domain, splits in full.items()}
    share = _normalised(training)
    drawn = share
    if wanted is not None:
        empty = sorted(domain for domain, weight in wanted.items() if weight and not training.get(domain))
        if empty:
            raise BadConfig(f"mix.shares names {empty[0]!r}, which has no training text; there is: {_listed(training)}")
        if not sum(wanted.values()):
            raise BadConfig("mix.shares sums to 0: give at least one domain a share, or leave it empty")
        drawn = _normalised({domain: wanted.get(domain, 0.0) for domain in full})
    return {
        "unit": "utf-8 bytes",
        "domains": {domain: {**full[domain], "share": share[domain], "drawn": drawn[domain]} for domain in full},
        "max_epochs": max_epochs,
        "annealing": [],
    }


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}


def _listed(training: Mapping[str, int]) -> str:
    return ", ".join(sorted(domain for domain, size in training.items() if size)) or "none"
