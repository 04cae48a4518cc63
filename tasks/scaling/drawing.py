"""A plane with points, curves and intervals as inline SVG, on linear or logarithmic axes.

Colours and fonts come from the page's style sheet, as those of `tasks/report/charts.py` do. Pure; equal data gives
equal bytes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from tasks.report.charts import nice_ticks, short_number

# Shown about 340 to 560 CSS pixels wide: text set in these units stays legible on a phone.
WIDTH, HEIGHT = 400, 270
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 26, 40
MARGIN = 0.06  # of an axis, beyond the outermost mark
FEWEST_TICKS = 3


@dataclass(frozen=True)
class Axis:
    """One axis. `form` prints a tick; `also` are values that must be on it."""

    label: str
    log: bool = False
    form: Callable[[float], str] = short_number
    also: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        """Where a value lies, in the axis' own (perhaps logarithmic) units."""
        return math.log10(value) if self.log else value


@dataclass(frozen=True)
class Dots:
    """Marks at (x, y), each with what a pointer is told; `bars` are (low, high) of y, or None."""

    xs: Sequence[float]
    ys: Sequence[float]
    style: int
    told: Sequence[str] = ()
    hollow: bool = False
    bars: Sequence[tuple[float, float] | None] = ()


@dataclass(frozen=True)
class Curve:
    """A line through points, in their order."""

    xs: Sequence[float]
    ys: Sequence[float]
    style: int
    dashed: bool = False


@dataclass(frozen=True)
class Band:
    """The area between two curves."""

    xs: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    style: int


Layer = Dots | Curve | Band


@dataclass(frozen=True)
class Plane:
    """One chart: what it shows, on which axes, drawn in the order given. `says` is read out instead of the drawing."""

    title: str
    x: Axis
    y: Axis
    layers: Sequence[Layer] = field(default_factory=tuple)
    says: str = ""


def power_of_ten(value: float) -> str:
    """Large numbers as people write FLOPs: 2e12; below a million as they are."""
    if value < 1e6:
        return short_number(value)
    digits, _, power = f"{value:.2e}".partition("e")
    return f"{float(digits):g}e{int(power)}"


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers in [low, high]: powers of ten, or 1, 2, 5 times them, or more, whatever gives enough."""
    found: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(range(1, 10))):
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        every = [float(f"{factor}e{power}") for power in powers for factor in factors]
        found = [value for value in every if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) >= FEWEST_TICKS:
            break
    return found if len(found) <= 7 else found[:: math.ceil(len(found) / 7)]


def draw(plane: Plane) -> Markup:
    """The chart as an SVG element."""
    xs = [x for layer in plane.layers for x in layer.xs] + list(plane.x.also)
    ys = [y for layer in plane.layers for y in _heights(layer)] + list(plane.y.also)
    if not xs or not ys:
        return Markup('<p class="empty">Nothing to draw of “{}”.</p>').format(plane.title)
    x_low, x_high = _bounds(plane.x, xs)
    y_low, y_high = _bounds(plane.y, ys)

    def to_x(x: float) -> float:
        return LEFT + (plane.x.place(x) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def to_y(y: float) -> float:
        return HEIGHT - BOTTOM - (plane.y.place(y) - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            WIDTH, HEIGHT, f"{plane.title}. {plane.says}".strip()
        )
    ]
    for tick in _ticks(plane.y, y_low, y_high):
        parts.append(_line("grid", LEFT, to_y(tick), WIDTH - RIGHT, to_y(tick)))
        parts.append(_text("tick end", LEFT - 6, to_y(tick) + 4, plane.y.form(tick)))
    for tick in _ticks(plane.x, x_low, x_high):
        parts.append(_line("grid", to_x(tick), HEIGHT - BOTTOM, to_x(tick), HEIGHT - BOTTOM + 4))
        parts.append(_text("tick mid", to_x(tick), HEIGHT - BOTTOM + 17, plane.x.form(tick)))
    parts.append(_line("axis", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM))
    parts.append(_text("label mid", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, plane.x.label))
    parts.append(_text("label", 4, 14, plane.y.label))
    for layer in plane.layers:
        parts += _layer(layer, to_x, to_y)
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _layer(layer: Layer, to_x: Callable[[float], float], to_y: Callable[[float], float]) -> list[Markup]:
    if isinstance(layer, Curve):
        css = f"line s{layer.style}" + (" dashed" if layer.dashed else "")
        return [Markup('<polyline class="{}" points="{}"/>').format(css, _points(layer.xs, layer.ys, to_x, to_y))]
    if isinstance(layer, Band):
        there = _points(layer.xs, layer.lows, to_x, to_y)
        back = _points(list(layer.xs)[::-1], list(layer.highs)[::-1], to_x, to_y)
        return [Markup('<polygon class="band s{}" points="{} {}"/>').format(layer.style, there, back)]
    parts = []
    for k, (x, y) in enumerate(zip(layer.xs, layer.ys, strict=True)):
        bar = layer.bars[k] if layer.bars else None
        if bar is not None:
            parts.append(_line(f"interval s{layer.style}", to_x(x), to_y(bar[0]), to_x(x), to_y(bar[1])))
        css = f"{'ring' if layer.hollow else 'dot'} s{layer.style}"
        told = layer.told[k] if layer.told else ""
        parts.append(
            Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
                css, f"{to_x(x):.1f}", f"{to_y(y):.1f}", "5" if layer.hollow else "3.4", told
            )
        )
    return parts


def _points(
    xs: Sequence[float], ys: Sequence[float], to_x: Callable[[float], float], to_y: Callable[[float], float]
) -> str:
    return " ".join(f"{to_x(x):.1f},{to_y(y):.1f}" for x, y in zip(xs, ys, strict=True))


def _heights(layer: Layer) -> list[float]:
    if isinstance(layer, Band):
        return [*layer.lows, *layer.highs]
    bars = [end for bar in layer.bars if bar is not None for end in bar] if isinstance(layer, Dots) else []
    return [*layer.ys, *bars]


def _bounds(axis: Axis, values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest place, widened by the margin, never empty."""
    low, high = axis.place(min(values)), axis.place(max(values))
    if low == high:
        pad = 0.3 if axis.log else abs(low) * 0.1 or 1.0
        return low - pad, high + pad
    return low - MARGIN * (high - low), high + MARGIN * (high - low)


def _ticks(axis: Axis, low: float, high: float) -> list[float]:
    return log_ticks(10**low, 10**high) if axis.log else nice_ticks(low, high)


def _line(css: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        css, *(f"{value:.1f}" for value in (x1, y1, x2, y2))
    )


def _text(css: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(css, f"{x:.1f}", f"{y:.1f}", text)
