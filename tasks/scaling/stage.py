"""The `scaling-fit` stage: from finished runs to laws with intervals, a prediction, a configuration and a page.

    runs/                every run as a row: budget, parameters, tokens, FLOPs, loss, shape, rate, mixture, reference
    comparisons/         the runs beside the grid, point by point
    fit.json             parabolas, power laws and parametric form with intervals, predictions, warnings
    recommended.yaml     the best run for `target` times the largest budget, as a configuration of `pretrain`
    scaling.html         all of it drawn

Runs in the role `heldout` are predicted and never fitted. Numbers are written with DIGITS digits, beyond which another
machine's arithmetic would show.
"""

import json
from typing import Annotated, Any

from pydantic import Field

from infra.errors import BadConfig
from infra.files import write_text
from infra.params import Params
from infra.stage import Draft, stage
from infra.store import Artifact
from tasks.pretrain import PretrainParams
from tasks.scaling.accuracy import TaskCurve, task_curves
from tasks.scaling.comparisons import COMPARISONS, Compared, RateFit, comparison_table, comparisons_of, fit_rates
from tasks.scaling.isoflop import PowerLaw
from tasks.scaling.page import Study, render
from tasks.scaling.parabola import MIN_VALUES
from tasks.scaling.prediction import Estimate, Laws, Prediction, fit_laws
from tasks.scaling.recommended import FILE, Recommendation, recommend, recommended_yaml
from tasks.scaling.rows import (
    RUNS,
    RunRow,
    check_comparable,
    check_given_once,
    check_one_family,
    network_of,
    read_run,
    run_table,
)

PAGE = "scaling.html"
FIT = "fit.json"
DIGITS = 8
COUNTED = "parameters of the matrix products: blocks and output head, not the embedding lookup"


class PretrainedRun(Artifact):
    """Role: a model pretrained from nothing."""

    accepts = ("pretrain",)


class EvaluatedRuns(Artifact):
    """Role: what was measured on such models."""

    accepts = ("evaluate",)


class ScalingFitParams(Params):
    """What is asked of the runs."""

    target: float = Field(4.0, gt=0, description="Predict and recommend for so many times the largest budget.")
    aspect: float | None = Field(
        None, gt=0, description="Width over layers of the recommended shape; empty: the median of the fitted runs."
    )
    bootstrap: int = Field(500, ge=0, le=10_000, description="Resampled fits behind the 95 % intervals.")
    seed: int = Field(0, ge=0, description="Of what is drawn for them.")
    comparisons: tuple[Compared, ...] = Field((), description="Which run stands for what; the flow fills it.")
    accuracies: tuple[str, ...] = Field(
        ("accuracy", "accuracy_pmi"), description="Metrics of evaluations that are shares of right answers."
    )
    chance: dict[str, Annotated[float, Field(ge=0, lt=1)]] = Field(
        default_factory=lambda: {"choices": 0.5, "preferences": 0.5},
        description="Task -> what guessing gives; others 0.",
    )


CURVES = 200  # resampled sigmoids at most: each is nine searches


@stage("scaling-fit", version=3, libraries=("numpy", "scipy"), tables={"runs": RUNS, "comparisons": COMPARISONS})
def scaling_fit(
    runs: list[PretrainedRun],
    compared: list[PretrainedRun] | None,
    heldout: list[PretrainedRun] | None,
    evaluations: list[EvaluatedRuns] | None,
    params: ScalingFitParams,
    out: Draft,
) -> None:
    """Fit scaling laws to runs and predict a larger one.

    Raises:
        BadInput: runs that cannot be compared, too few of them, one that is given twice, a tag that names none of them.
    """
    beside, later = compared or [], heldout or []
    check_given_once([*runs, *beside, *later])
    check_comparable([*runs, *beside, *later])
    fitted = [read_run(model, "grid") for model in runs]
    others = [read_run(model, "compared") for model in beside]
    unseen = [read_run(model, "heldout") for model in later]
    check_one_family([*fitted, *unseen])
    laws = fit_laws(fitted, params.bootstrap, params.seed)
    grid = [_in_budget(row, laws) for row in fitted]
    rows = {row.ref: row for row in [*grid, *others, *unseen]}
    comparisons = comparisons_of(params.comparisons, rows)
    rates = [fit_rates(one) for one in comparisons if one.kind == "rate" and len(one.variants) >= MIN_VALUES]
    measured = evaluations or []
    curves = task_curves(measured, rows, params.accuracies, params.chance, min(params.bootstrap, CURVES), params.seed)
    warnings = list(laws.warnings)
    if measured and not curves:
        refs = ", ".join(evaluation.ref for evaluation in measured)
        warnings.append(
            f"{refs}: no {' or '.join(params.accuracies)} of any of these runs, so nothing says how many"
            " answers are right at a loss"
        )
    warnings += [f"{one.task}, {one.metric}: {one.problem}" for one in curves if one.problem]
    warnings += [f"learning rate at {fit.params:.3g} parameters: {fit.problem}" for fit in rates if fit.problem]
    largest = max(runs, key=lambda model: (rows[model.ref].flops, -rows[model.ref].seed, model.ref))
    found = _recommended(laws, params, runs, largest, warnings)
    predictions = [_predicted(laws, found)] if found else []
    predictions += [_measured(laws, row) for row in unseen]
    ordered = sorted(rows.values(), key=lambda row: (row.role != "grid", row.role, row.budget, row.params, row.ref))
    out.write("runs", run_table(ordered))
    out.write("comparisons", comparison_table(comparisons))
    about = f"The best {params.target:g} times the largest budget by scaling-fit/{out.version}"
    text = recommended_yaml(found, largest, about) if found else ""
    if found:
        write_text(out.path(FILE), text)
    expected = predictions[0].loss if found else None
    fit = _as_json(laws, predictions, rates, curves, found, warnings, expected)
    write_text(out.path(FIT), json.dumps(_rounded(fit), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    study = Study(
        ref=f"scaling-fit/{out.version}",
        rows=tuple(ordered),
        laws=laws,
        predictions=tuple(predictions),
        comparisons=tuple(comparisons),
        rates=tuple(rates),
        curves=tuple(curves),
        warnings=tuple(warnings),
        target=params.target,
        recommended=found,
        recommended_text=text,
    )
    write_text(out.path(PAGE), render(study))
    out.count("runs", len(rows), out=1, out_unit="fits")
    out.metrics |= _metrics(laws, predictions, warnings)
    for line in warnings:
        out.log.warning("scaling-fit: %s", line)


def _in_budget(row: RunRow, laws: Laws) -> RunRow:
    """The row with the mean FLOPs of its budget."""
    for group, parabola in zip(laws.budgets, laws.parabolas, strict=True):
        if row in group:
            return RunRow(**{**vars(row), "budget": parabola.flops})
    return row


def _recommended(
    laws: Laws, params: ScalingFitParams, runs: list[PretrainedRun], run: PretrainedRun, warnings: list[str]
) -> Recommendation | None:
    base = PretrainParams.model_validate(run.manifest.params)
    steps = run.manifest.metrics["steps"]
    flops = params.target * laws.largest
    try:
        return recommend(laws, flops, base, steps, [network_of(one) for one in runs], params.aspect)
    except (BadConfig, OverflowError) as error:
        warnings.append(f"nothing is recommended for {flops:.3g} FLOP: {error}")
        return None


def _predicted(laws: Laws, found: Recommendation) -> Prediction:
    return laws.predict(found.flops, float(found.size), float(found.tokens))


def _measured(laws: Laws, row: RunRow) -> Prediction:
    made = laws.predict(row.flops, float(row.params), float(row.tokens))
    return Prediction(**{**vars(made), "measured": row.loss, "ref": row.ref})


def _as_json(
    laws: Laws,
    predictions: list[Prediction],
    rates: list[RateFit],
    curves: list[TaskCurve],
    found: Recommendation | None,
    warnings: list[str],
    expected: Estimate | None,
) -> dict[str, Any]:
    return {
        "parameters_counted": COUNTED,
        "budgets": [
            {
                "flops": parabola.flops,
                "runs": len(group),
                "centre": parabola.centre,
                "coefficients": parabola.coefficients,
                "best_params": parabola.best if parabola.has_best else None,
                "best_loss": parabola.best_loss if parabola.has_best else None,
                "problem": parabola.problem,
            }
            for group, parabola in zip(laws.budgets, laws.parabolas, strict=True)
        ],
        "isoflop": _isoflop_json(laws),
        "parametric": _parametric_json(laws),
        "predictions": [
            {
                **vars(one),
                "isoflop": _estimate_json(one.isoflop),
                "parametric": _estimate_json(one.parametric),
            }
            for one in predictions
        ],
        "recommended": None
        if found is None
        else {
            "flops": found.flops,
            "params": found.size,
            "tokens": found.tokens,
            "best_params": _estimate_json(laws.best_params(found.flops)),
            "best_tokens": _estimate_json(laws.best_tokens(found.flops)),
            "shape": found.params.shape.model_dump(mode="json", exclude_none=True),
            "steps": found.params.steps,
        },
        "rates": [
            {
                "flops": fit.flops,
                "params": fit.params,
                "best_rate": fit.best if fit.has_best else None,
                "problem": fit.problem,
            }
            for fit in rates
        ],
        "accuracies": [
            {
                "task": one.task,
                "metric": one.metric,
                "problem": one.problem,
                **(vars(one.curve) if one.curve else {}),
                "recommended": _estimate_json(one.at(expected.value)) if expected else None,
                "unseen": [{"loss": loss, "value": value} for loss, value in one.unseen],
            }
            for one in curves
        ],
        "warnings": warnings,
    }


def _isoflop_json(laws: Laws) -> dict[str, Any] | None:
    if laws.isoflop is None:
        return None
    fit = laws.isoflop.fit

    def law(name: str, found: PowerLaw) -> dict[str, Any]:
        interval = laws.isoflop.interval(name) if laws.isoflop else None
        return {"log_k": found.log_k, "exponent": found.exponent, "exponent_95": interval}

    return {
        "params": law("params", fit.params),
        "tokens": law("tokens", fit.tokens),
        "loss": law("loss", fit.loss),
        "scatter": laws.isoflop.scatter,
        "resampled": len(laws.isoflop.resampled),
    }


def _parametric_json(laws: Laws) -> dict[str, Any] | None:
    if laws.parametric is None:
        return None
    law = laws.parametric.law
    names = ("e", "a", "b", "alpha", "beta", "exponent")
    intervals = {name: laws.parametric.interval(name) for name in names}
    constants = {name: getattr(law, name) for name in (*names, "objective")}
    return {
        **constants,
        "intervals_95": intervals,
        "resampled": len(laws.parametric.resampled),
    }


def _estimate_json(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else dict(vars(estimate))


def _metrics(laws: Laws, predictions: list[Prediction], warnings: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"budgets": len(laws.budgets), "warnings": len(warnings)}
    if laws.isoflop is not None:
        found["params_exponent"] = _rounded(laws.isoflop.fit.params.exponent)
        found["tokens_exponent"] = _rounded(laws.isoflop.fit.tokens.exponent)
    for one in predictions:
        if one.measured is not None and one.parametric is not None:
            found |= {"predicted_loss": _rounded(one.parametric.value), "measured_loss": _rounded(one.measured)}
    return found


def _rounded(value: Any) -> Any:
    """Numbers to DIGITS significant digits, in whatever they lie; what is not finite becomes null."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
