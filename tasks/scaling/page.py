"""A scaling study in, one self-contained HTML page out; style and page parts are those of `tasks/report`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from tasks.report.charts import short_number
from tasks.report.render import make_environment
from tasks.scaling import plots
from tasks.scaling.accuracy import TaskCurve
from tasks.scaling.comparisons import Comparison, RateFit
from tasks.scaling.drawing import draw, power_of_ten
from tasks.scaling.prediction import Estimate, Laws, Prediction
from tasks.scaling.recommended import Recommendation
from tasks.scaling.rows import RunRow

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent
TITLES = {
    "architecture": "Transformer against LSTM",
    "width_depth": "Width against depth",
    "rate": "Learning rates across sizes",
    "mixture": "Data mixtures",
    "objective": "Next tokens against masked ones",
}
EXPLAINED = {
    "architecture": "As many parameters in matrix products, as many FLOP. An LSTM has no attention to pay for.",
    "width_depth": "About as many parameters in other proportions: width x layers.",
    "rate": "All peak rates of the optimizer scaled together; the number is that of the hidden matrices.",
    "mixture": "Other weights of the domains, the same held-out text.",
    "objective": "The same network and as many FLOP. Masked tokens are guessed from both sides, and only they are"
    " counted: the two losses are of different tasks, and neither is above the other.",
}


VERDICTS = {  # on a measurement: beside the number, and in a sentence
    True: ("inside", "as predicted"),
    False: ("outside", "not as predicted"),
    None: ("no interval", "with no interval to hold it against"),
}


@dataclass(frozen=True)
class Study:
    """What the page tells."""

    ref: str
    rows: tuple[RunRow, ...]
    laws: Laws
    predictions: tuple[Prediction, ...]
    comparisons: tuple[Comparison, ...]
    rates: tuple[RateFit, ...]
    curves: tuple[TaskCurve, ...]
    warnings: tuple[str, ...]
    target: float
    recommended: Recommendation | None
    recommended_text: str

    @property
    def told(self) -> list[Prediction]:
        """The predictions, that of the recommended run once, measured where it was made."""
        made = {(one.params, one.tokens) for one in self.measured}
        return [one for one in self.predictions if one.measured is not None or (one.params, one.tokens) not in made]

    @property
    def measured(self) -> list[Prediction]:
        """Predictions of runs that were made."""
        return [one for one in self.predictions if one.measured is not None]


def render(study: Study) -> str:
    """The whole page. Equal data gives an equal page."""
    template = _environment().get_template("scaling.html.jinja")
    laws = study.laws
    return template.render(
        study=study,
        laws=laws,
        tiles=tiles(study),
        sentence=sentence(study),
        isoflop=draw(plots.isoflop_plane(laws)),
        budgets=list(zip(laws.budgets, laws.parabolas, strict=True)),
        growth=_growth(study),
        predicted=_drawn(plots.predicted_plane(laws, study.measured)),
        constants=constants(laws),
        compared=_compared(study),
        accuracies=[(curve, draw(plots.accuracy_plane(curve)), _expected(study, curve)) for curve in study.curves],
        titles=TITLES,
        explained=EXPLAINED,
    )


def tiles(study: Study) -> list[tuple[str, str, str]]:
    """The figures at the top, as (label, value, note)."""
    laws = study.laws
    grid = [row for row in study.rows if row.role == "grid"]
    found = [
        ("runs in the fit", str(len(grid)), f"{len(laws.budgets)} budgets up to {power_of_ten(laws.largest)} FLOP")
    ]
    if laws.isoflop is not None:
        for label, name in (("best parameters grow as FLOP to the", "params"), ("best tokens, to the", "tokens")):
            law = getattr(laws.isoflop.fit, name)
            found.append((label, f"{law.exponent:.2f}", _interval(laws.isoflop.interval(name), 2)))
    for one in study.measured or study.predictions[:1]:
        best = one.loss
        if best is None:
            continue
        note = f"at {power_of_ten(one.flops)} FLOP, {_bounds(best)}"
        found.append(("loss, predicted", f"{best.value:.3f}", note))
        if one.measured is not None:
            found.append(("loss, measured", f"{one.measured:.3f}", VERDICTS[best.holds(one.measured)][0]))
    return found


def sentence(study: Study) -> str:
    """What came of it, in words."""
    if not study.predictions:
        return "These runs allow no prediction: see what stands in the way."
    parts = []
    if study.recommended is not None:
        found = study.recommended
        parts.append(
            f"With {study.target:g} times the largest budget, {power_of_ten(found.flops)} FLOP, train about"
            f" {short_number(found.size)} parameters on {short_number(found.tokens)} tokens."
        )
    for one in study.measured:
        best = one.loss
        if best is None or one.measured is None:
            continue
        verdict = VERDICTS[best.holds(one.measured)][1]
        parts.append(
            f"A run of {short_number(one.params)} parameters on {short_number(one.tokens)} tokens, which no fit has"
            f" seen, came to {one.measured:.3f}, {verdict}: {best.value:.3f} ({_bounds(best)})."
        )
    return " ".join(parts)


def constants(laws: Laws) -> list[tuple[str, str, str]]:
    """(symbol, value, interval) of the parametric form."""
    if laws.parametric is None:
        return []
    law = laws.parametric.law
    names = (("E", "e"), ("A", "a"), ("B", "b"), ("α", "alpha"), ("β", "beta"), ("β / (α + β)", "exponent"))
    return [(symbol, f"{getattr(law, name):.4g}", _interval(laws.parametric.interval(name))) for symbol, name in names]


def _growth(study: Study) -> list[tuple[str, Markup]]:
    isoflop = study.laws.isoflop
    if isoflop is None:
        return []
    target = study.laws.largest * study.target
    return [
        (title, draw(plots.law_plane(study.laws, name, getattr(isoflop.fit, name), study.measured, target)))
        for title, name in (("Best size", "params"), ("Best number of tokens", "tokens"), ("Loss of the best", "loss"))
    ]


def _compared(study: Study) -> list[tuple[str, list[Comparison], Markup | None, list[RateFit]]]:
    """(kind, its points, its plot, fits of rates)."""
    found = []
    for kind in TITLES:
        points = [one for one in study.comparisons if one.kind == kind]
        if not points:
            continue
        plot = None
        if kind == "rate":
            plot = draw(plots.rate_plane(points, study.rates))
        elif kind == "width_depth":
            plot = draw(plots.aspect_plane(points))
        found.append((kind, points, plot, list(study.rates) if kind == "rate" else []))
    return found


def _expected(study: Study, curve: TaskCurve) -> Estimate | None:
    """The share of right answers at the loss that is predicted for the recommended run."""
    if study.recommended is None:
        return None
    loss = study.predictions[0].loss
    return None if loss is None else curve.at(loss.value)


def _drawn(plane: plots.Plane | None) -> Markup | None:
    return None if plane is None else draw(plane)


def _bounds(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    return f"95 %: {estimate.low:.3f} to {estimate.high:.3f}"


def _interval(bounds: Sequence[float] | None, decimals: int | None = None) -> str:
    if bounds is None:
        return "no interval"
    low, high = (f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}" for value in bounds)
    return f"95 %: {low} to {high}"


def _finite(value: float, decimals: int) -> str:
    """The number; nothing for one that there is not, as bits a byte of masked tokens."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else ""


@cache
def _environment() -> "Environment":
    environment = make_environment(TEMPLATES)
    environment.filters.update(short=short_number, flop=power_of_ten, bounds=_bounds, point=plots.point_name)
    environment.filters["finite"] = _finite
    environment.globals["colour"] = plots.style_of
    return environment
