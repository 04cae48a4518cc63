"""The plots of a scaling study as planes for `drawing.py`: what lies where, and what is said of it."""

from collections.abc import Sequence

import numpy as np

from tasks.report.charts import short_number
from tasks.scaling.accuracy import TaskCurve
from tasks.scaling.comparisons import Comparison, RateFit
from tasks.scaling.drawing import Axis, Band, Curve, Dots, Layer, Plane, power_of_ten
from tasks.scaling.isoflop import PowerLaw
from tasks.scaling.prediction import Laws, Prediction

STYLES = 6  # colours of the style sheet
MEASURED = 3  # the colour of what was measured and not fitted
LAW = 2
POINTS = 48  # of a curve
FLOPS = Axis("training FLOP", log=True, form=power_of_ten)
LOSS = "held-out loss, nats a token"


def style_of(number: int) -> int:
    """The colour of the n-th budget or size."""
    return number % STYLES + 1


def between(low: float, high: float) -> list[float]:
    """Points from low to high, evenly spaced in logarithms."""
    return [float(x) for x in np.geomspace(low, high, POINTS)]


def isoflop_plane(laws: Laws) -> Plane:
    """Loss against size, a parabola a budget, its vertex ringed."""
    layers: list[Layer] = []
    says = []
    for number, (group, parabola) in enumerate(zip(laws.budgets, laws.parabolas, strict=True)):
        style = style_of(number)
        sizes = [float(row.params) for row in group]
        low, high = min(sizes), max(sizes)
        if not parabola.problem:
            low, high = min(low, parabola.best), max(high, parabola.best)
        xs = between(low, high)
        layers.append(Curve(xs, [float(parabola.loss(x)) for x in xs], style, dashed=bool(parabola.problem)))
        told = [f"{row.params:,} parameters, {row.tokens:,} tokens: {row.loss:.4f}" for row in group]
        layers.append(Dots(sizes, [row.loss for row in group], style, told))
        if not parabola.problem:
            best = f"best at {parabola.best:,.0f} parameters: {parabola.best_loss:.4f}"
            layers.append(Dots([parabola.best], [parabola.best_loss], style, [best], hollow=True))
            says.append(f"{parabola.flops:.3g} FLOP: {best}")
    return Plane("Loss by size", Axis("parameters", log=True), Axis(LOSS), layers, "; ".join(says))


def law_plane(laws: Laws, name: str, law: PowerLaw, measured: Sequence[Prediction], target: float) -> Plane:
    """Best size, tokens or loss against compute. `name`: params, tokens or loss."""
    sound = [parabola for parabola in laws.parabolas if not parabola.problem]
    xs = between(min(p.flops for p in laws.parabolas), max([target, *(one.flops for one in measured)]))
    layers: list[Layer] = []
    intervals = [laws.isoflop.interval(name, x) if laws.isoflop else None for x in xs]
    if all(interval is not None for interval in intervals):
        lows, highs = zip(*[interval for interval in intervals if interval is not None], strict=True)
        layers.append(Band(xs, lows, highs, LAW))
    layers.append(Curve(xs, [float(law(x)) for x in xs], LAW))
    best = {
        "params": [p.best for p in sound],
        "tokens": [p.flops / float(laws.cost(p.best)) for p in sound],
        "loss": [p.best_loss for p in sound],
    }[name]
    told = [f"{p.flops:.3g} FLOP: {value:,.4g}" for p, value in zip(sound, best, strict=True)]
    layers.append(Dots([p.flops for p in sound], best, 1, told))
    if measured:
        ys = [float(one.measured or 0) if name == "loss" else getattr(one, name) for one in measured]
        told = [f"{one.flops:.3g} FLOP, not fitted: {y:,.4g}" for one, y in zip(measured, ys, strict=True)]
        layers.append(Dots([one.flops for one in measured], ys, MEASURED, told, hollow=True))
    label = {"params": "best parameters", "tokens": "best tokens", "loss": LOSS}[name]
    return Plane(label, FLOPS, Axis(label, log=name != "loss"), layers, f"grows as FLOP to the {law.exponent:.3f}")


def predicted_plane(laws: Laws, measured: Sequence[Prediction]) -> Plane | None:
    """Measured loss against that of the parametric form: the runs it was fitted to, and those it was not."""
    if laws.parametric is None:
        return None
    law = laws.parametric.law
    layers: list[Layer] = []
    values: list[float] = []
    for number, group in enumerate(laws.budgets):
        xs = [float(law.loss(row.params, row.tokens)) for row in group]
        ys = [row.loss for row in group]
        told = [
            f"{row.params:,} parameters: {x:.4f} fitted, {y:.4f} measured"
            for row, x, y in zip(group, xs, ys, strict=True)
        ]
        layers.append(Dots(xs, ys, style_of(number), told))
        values += xs + ys
    for one in measured:
        if one.parametric is None or one.measured is None:
            continue
        value = one.parametric.value
        told = [f"{one.params:,.0f} parameters, not fitted: {value:.4f} predicted, {one.measured:.4f} measured"]
        layers.append(Dots([value], [one.measured], MEASURED, told, hollow=True))
        values += [value, one.measured]
    ends = [min(values), max(values)]
    return Plane(
        "Predicted and measured loss",
        Axis("loss of the parametric form"),
        Axis(LOSS),
        [Curve(ends, ends, 0, dashed=True), *layers],
    )


def rate_plane(comparisons: Sequence[Comparison], fits: Sequence[RateFit]) -> Plane:
    """Loss against learning rate, a parabola a point."""
    layers: list[Layer] = []
    for number, comparison in enumerate(comparisons):
        style = style_of(number)
        rates = [row.rate for _, row in comparison.variants]
        losses = [row.loss for _, row in comparison.variants]
        found = [fit for fit in fits if (fit.flops, fit.params) == (comparison.flops, comparison.params)]
        for fit in found:
            xs = between(min(rates), max(rates))
            layers.append(Curve(xs, [float(fit.loss(x)) for x in xs], style, dashed=bool(fit.problem)))
        layers.append(Dots(rates, losses, style, [f"{x:.4g}: {y:.4f}" for x, y in zip(rates, losses, strict=True)]))
        for fit in found:
            if not fit.problem:
                told = f"best {fit.best:.4g}: {fit.best_loss:.4f}"
                layers.append(Dots([fit.best], [fit.best_loss], style, [told], hollow=True))
    return Plane("Loss by learning rate", Axis("peak learning rate", log=True), Axis(LOSS), layers)


def aspect_plane(comparisons: Sequence[Comparison]) -> Plane:
    """Loss against width over layers, a line a point."""
    layers: list[Layer] = []
    for number, comparison in enumerate(comparisons):
        xs = [row.width / row.depth for _, row in comparison.variants]
        ys = [row.loss for _, row in comparison.variants]
        layers.append(Curve(xs, ys, style_of(number)))
        layers.append(
            Dots(
                xs,
                ys,
                style_of(number),
                [f"{name}: {y:.4f}" for (name, _), y in zip(comparison.variants, ys, strict=True)],
            )
        )
    return Plane("Loss by shape", Axis("width over layers", log=True), Axis(LOSS), layers)


def accuracy_plane(curve: TaskCurve) -> Plane:
    """Right answers against held-out loss, with the sigmoid."""
    layers: list[Layer] = []
    if curve.curve is not None:
        low, high = min(curve.losses), max(curve.losses)
        low = min([low - 0.3 * (high - low), *(loss for loss, _ in curve.unseen)])
        xs = [float(x) for x in np.linspace(low, high, POINTS)]
        estimates = [one for one in map(curve.at, xs) if one is not None]
        lows, highs = ([getattr(one, bound) for one in estimates] for bound in ("low", "high"))
        if None not in lows:
            layers.append(Band(xs, lows, highs, LAW))
        layers.append(Curve(xs, [one.value for one in estimates], LAW))
    told = [f"loss {x:.4f}: {y:.3f}" for x, y in zip(curve.losses, curve.values, strict=True)]
    layers.append(Dots(curve.losses, curve.values, 1, told))
    if curve.unseen:
        losses, values = zip(*curve.unseen, strict=True)
        told = [f"loss {x:.4f}: {y:.3f}, not fitted" for x, y in curve.unseen]
        layers.append(Dots(losses, values, MEASURED, told, hollow=True))
    return Plane(f"{curve.task}: {curve.metric}", Axis(LOSS), Axis(curve.metric), layers)


def point_name(comparison: Comparison | RateFit) -> str:
    """A point as a legend says it."""
    return f"{short_number(comparison.params)} parameters, {power_of_ten(comparison.flops)} FLOP"
