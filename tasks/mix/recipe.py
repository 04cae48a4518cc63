"""The recipe: how much of the training text is of each domain, and how much of each a training run should see.

Sizes are UTF-8 bytes, which no tokenizer changes. The recipe only states shares; the data loader draws by them and
repeats a domain at most `max_epochs` times. What the shares want and the text cannot give is said in it.

    share    the domain's part of all training bytes: what there is
    wanted   the part that a run should draw, were there enough of everything
    drawn    the part that it does draw: no domain more often than `max_epochs` over a run of `budget_bytes`
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from infra.errors import BadConfig
from infra.split import SPLITS
from tasks.classifier.seeds import DOMAINS, GENERAL

Sizes = dict[str, dict[str, dict[str, int]]]  # domain -> split -> {"documents", "bytes"}

# Dubey et al. 2024, "The Llama 3 Herd of Models", arXiv:2407.21783, section 3.1.2, "Data mix summary".
LLAMA3_SHARES = {GENERAL: 0.50, "math": 0.25, "code": 0.17, "multilingual": 0.08}
DECIMALS = 6  # of shares and epochs in the recipe


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


def make_recipe(
    sizes: Sizes,
    shares: Mapping[str, float] | None,
    max_epochs: float,
    *,
    groups: bool = False,
    budget_bytes: int | None = None,
    annealing: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of recipe.json.

    Args:
        sizes: what there is.
        shares: relative share of training bytes to draw from each domain; None takes what there is.
        max_epochs: how often a run may repeat a domain.
        groups: `shares` are of groups of domains: a domain that is not named belongs to `general`, and a group's share
            is divided by what there is of its domains.
        budget_bytes: what a run is expected to draw; None: as much as there is training text.
        annealing: what `select_annealing` made.

    Returns:
        {"unit", "domains": {domain: {split: {"documents", "bytes"}, "share", "wanted", "drawn", "epochs"}},
        "max_epochs", "budget_bytes", "lacking", "short", "annealing"}. `share`, `wanted` and `drawn` each sum to 1
        when there is training text. `lacking`: name -> share that was asked for and of which there is no text (the
        others' shares grow in proportion). `short`: domain -> {"wanted", "drawn"} where `max_epochs` allows less than
        is wanted.

    Raises:
        BadConfig: `shares` names what is neither here nor a domain that a model knows, sums to nothing, or asks for
            nothing of which there is training text.
    """
    full = {
        domain: {split: sizes[domain].get(split, {"documents": 0, "bytes": 0}) for split in SPLITS}
        for domain in sorted(sizes)
    }
    training = {domain: splits["train"]["bytes"] for domain, splits in full.items()}
    share = normalised(training)
    lacking: dict[str, float] = {}
    wanted = share
    if shares is not None:
        wanted, lacking = _wanted(shares, training, groups)
    asked = sum(training.values()) if budget_bytes is None else budget_bytes
    drawn, budget = capped(wanted, training, max_epochs, asked)
    epochs = {domain: drawn[domain] * budget / size if size else 0.0 for domain, size in training.items()}
    return {
        "unit": "utf-8 bytes",
        "domains": {
            domain: {
                **full[domain],
                "share": share[domain],
                "wanted": wanted[domain],
                "drawn": drawn[domain],
                "epochs": round(epochs[domain], DECIMALS),
            }
            for domain in full
        },
        "max_epochs": max_epochs,
        "budget_bytes": round(budget),
        "lacking": lacking,
        "short": {
            domain: {"wanted": round(wanted[domain], DECIMALS), "drawn": round(drawn[domain], DECIMALS)}
            for domain in full
            if round(drawn[domain], DECIMALS) < round(wanted[domain], DECIMALS)
        },
        "annealing": annealing,
    }


def capped(
    wanted: Mapping[str, float], training: Mapping[str, int], max_epochs: float, budget: float
) -> tuple[dict[str, float], float]:
    """Shares that a run of `budget` bytes can draw without repeating a domain more than `max_epochs` times.

    What a domain cannot give goes to the others in proportion to their wishes, until nothing more can be had; then the
    budget is what can be had.

    Returns:
        Domain -> share, and the budget.
    """
    budget = min(budget, sum(max_epochs * training[domain] for domain, weight in wanted.items() if weight))
    drawn = dict.fromkeys(wanted, 0.0)
    if all(budget * weight <= max_epochs * training[domain] for domain, weight in wanted.items()):
        return dict(wanted), budget
    open_ones, left = {domain: weight for domain, weight in wanted.items() if weight}, 1.0
    while open_ones:
        total = sum(open_ones.values())
        full = {
            domain: max_epochs * training[domain] / budget
            for domain, weight in open_ones.items()
            if left * weight / total > max_epochs * training[domain] / budget
        }
        if not full:
            drawn.update({domain: left * weight / total for domain, weight in open_ones.items()})
            break
        drawn.update(full)
        left -= sum(full.values())
        open_ones = {domain: weight for domain, weight in open_ones.items() if domain not in full}
    return normalised(drawn), budget


def select_annealing(
    sizes: Sizes, quantile: float, at_least: Mapping[str, float], weights: Mapping[str, float], max_epochs: float
) -> dict[str, Any]:
    """The recipe's account of the documents for the last phase of a training run.

    Args:
        sizes: of the documents that are selected.
        at_least: domain -> quality that a document of it needs.
        weights: domain -> how much more of it is drawn than its bytes would give; 1 where not named.

    Returns:
        {"column", "quality_quantile", "quality_at_least", "weights", "max_epochs", "domains": {domain: {"documents",
        "bytes", "share", "drawn"}}}, of the training split.
    """
    training = {domain: splits.get("train", {"documents": 0, "bytes": 0}) for domain, splits in sorted(sizes.items())}
    share = normalised({domain: size["bytes"] for domain, size in training.items()})
    drawn = normalised({domain: weights.get(domain, 1.0) * size["bytes"] for domain, size in training.items()})
    return {
        "column": "anneal",
        "quality_quantile": quantile,
        "quality_at_least": dict(at_least),
        "weights": dict(weights),
        "max_epochs": max_epochs,
        "domains": {
            domain: {**size, "share": share[domain], "drawn": drawn[domain]} for domain, size in training.items()
        },
    }


def normalised(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights that sum to 1; all 0 where they sum to nothing."""
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}


def _wanted(
    shares: Mapping[str, float], training: Mapping[str, int], groups: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """The share of each domain there is, and what was asked for in vain."""
    if not sum(shares.values()):
        raise BadConfig("mix.shares sums to 0: give at least one domain a share, or leave it empty")
    group_of = {domain: domain if domain in shares or not groups else GENERAL for domain in training}
    there = {name: sum(training[domain] for domain in training if group_of[domain] == name) for name in shares}
    empty = {name: share for name, share in shares.items() if share and not there[name]}
    unknown = sorted(set(empty) - set(DOMAINS))
    if unknown:
        raise BadConfig(f"mix.shares names {unknown[0]!r}, which has no training text; there is: {_listed(training)}")
    wanted = normalised(
        {
            domain: shares[group] * training[domain] / there[group] if there.get(group) else 0.0
            for domain, group in group_of.items()
        }
    )
    if not any(wanted.values()) and any(training.values()):
        listed = f"{', '.join(sorted(empty))}; there is: {_listed(training)}"
        raise BadConfig(f"mix.shares names only domains without training text: {listed}")
    return wanted, dict(sorted(empty.items()))


def _listed(training: Mapping[str, int]) -> str:
    return ", ".join(sorted(domain for domain, size in training.items() if size)) or "none"
