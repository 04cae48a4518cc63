"""Charts as inline SVG: a line chart and an interval chart, drawn without a plotting library.

Colours, fonts and dark mode come from the page's style sheet (classes `s1` ... `s6`, `grid`, `axis`), so a chart is a
few hundred bytes of geometry. Everything textual is escaped (`Markup.format`). All functions are pure and print
numbers with fixed precision: equal data gives equal bytes.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

# A chart is shown between about 330 and 400 CSS pixels wide, so text set in these units stays legible on a phone.
WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 30, 36
MAX_POINTS = 240  # of a line; more than a chart has pixels for
TICKS = 5


@dataclass(frozen=True)
class Series:
    """One line. `style` is the number of its colour class (1 to 6); `dots` marks each point (few, measured ones)."""

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    style: int = 1
    dots: bool = False

    def __post_init__(self) -> None:
        if len(self.xs) != len(self.ys):
            raise ValueError(f"series {self.name!r} has {len(self.xs)} x and {len(self.ys)} y values")


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its confidence interval, one row of an interval chart."""

    label: str
    value: float
    low: float
    high: float
    style: int = 1


def nice_ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def thin(series: Series, limit: int = MAX_POINTS) -> Series:
    """At most `limit` points, each the mean of a run of successive ones; values that are not finite are left out."""
    points = [(x, y) for x, y in zip(series.xs, series.ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    if len(points) > limit:
        edges = [round(i * len(points) / limit) for i in range(limit + 1)]
        runs = [points[a:b] for a, b in itertools.pairwise(edges)]
        points = [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]
    return Series(series.name, tuple(x for x, _ in points), tuple(y for _, y in points), series.style, series.dots)


def short_number(value: float) -> str:
    """A number for an axis: 1.5k, 2M, 0.25."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{suffix}"
    return f"{value:.4g}"


def line_chart(title: str, series: Sequence[Series], x_label: str, y_label: str) -> Markup:
    """Lines over a common x axis, with a legend that carries each line's last value."""
    drawn = [line for line in (thin(line) for line in series) if line.xs]
    if not drawn:
        return Markup('<p class="empty">No points of “{}” were recorded.</p>').format(title)
    x_low, x_high = _range([x for line in drawn for x in line.xs], 0.0)
    y_low, y_high = _range([y for line in drawn for y in line.ys], 0.06)

    def to_x(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def to_y(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [_open(HEIGHT, f"{title}: " + ", ".join(f"{line.name} ends at {line.ys[-1]:.4g}" for line in drawn))]
    for tick in nice_ticks(y_low, y_high):
        parts.append(_line("grid", LEFT, to_y(tick), WIDTH - RIGHT, to_y(tick)))
        parts.append(_text("tick end", LEFT - 6, to_y(tick) + 4, short_number(tick)))
    for tick in nice_ticks(x_low, x_high):
        parts.append(_text("tick mid", to_x(tick), HEIGHT - BOTTOM + 16, short_number(tick)))
    parts.append(_line("axis", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM))
    parts.append(_text("label mid", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label))
    parts.append(_text("label", 4, 14, y_label))
    for line in drawn:
        points = " ".join(f"{to_x(x):.1f},{to_y(y):.1f}" for x, y in zip(line.xs, line.ys, strict=True))
        if len(line.xs) > 1:
            parts.append(Markup('<polyline class="line s{}" points="{}"/>').format(line.style, points))
        if line.dots or len(line.xs) == 1:
            for x, y in zip(line.xs, line.ys, strict=True):
                parts.append(
                    Markup('<circle class="dot s{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>').format(
                        line.style, f"{to_x(x):.1f}", f"{to_y(y):.1f}", f"{line.name} at {short_number(x)}: {y:.4g}"
                    )
                )
    parts.append(_legend(drawn))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def interval_chart(title: str, intervals: Sequence[Interval], x_label: str) -> Markup:
    """One row an interval: a dot at the value, a bar from low to high, and a line at zero."""
    if not intervals:
        return Markup('<p class="empty">No differences were measured.</p>')
    row, top, bottom, side = 46, 8, 38, 14
    height = top + row * len(intervals) + bottom
    x_low, x_high = _range([0.0, *(v for i in intervals for v in (i.low, i.high, i.value))], 0.08)

    def to_x(x: float) -> float:
        return side + (x - x_low) / (x_high - x_low) * (WIDTH - 2 * side)

    described = "; ".join(f"{i.label} {i.value:+.3f} ({i.low:+.3f} to {i.high:+.3f})" for i in intervals)
    parts = [_open(height, f"{title}: {described}")]
    base = height - bottom
    for tick in nice_ticks(x_low, x_high):
        parts.append(_line("grid", to_x(tick), top, to_x(tick), base))
        parts.append(_text("tick mid", to_x(tick), base + 15, f"{tick:+.4g}" if tick else "0"))
    parts.append(_line("zero", to_x(0), top, to_x(0), base))
    parts.append(_text("label mid", WIDTH / 2, height - 4, x_label))
    for k, interval in enumerate(intervals):
        y = top + row * k + 31
        parts.append(_text("name", side, y - 16, interval.label))
        parts.append(
            Markup('<text class="value end" x="{}" y="{}">{}</text>').format(
                WIDTH - side, f"{y - 16:.1f}", f"{interval.value:+.3f}  [{interval.low:+.3f}, {interval.high:+.3f}]"
            )
        )
        parts.append(_line(f"interval s{interval.style}", to_x(interval.low), y, to_x(interval.high), y))
        parts.append(
            Markup('<circle class="dot s{}" cx="{}" cy="{}" r="5"/>').format(
                interval.style, f"{to_x(interval.value):.1f}", f"{y:.1f}"
            )
        )
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Lowest and highest value, widened by a share of the span on both sides, never empty."""
    low, high = min(values), max(values)
    if low == high:
        pad = abs(low) * 0.1 or 1.0
        return low - pad, high + pad
    return low - margin * (high - low), high + margin * (high - low)


def _open(height: int, description: str) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        WIDTH, height, description
    )


def _line(css: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        css, *(f"{value:.1f}" for value in (x1, y1, x2, y2))
    )


def _text(css: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(css, f"{x:.1f}", f"{y:.1f}", text)


def _legend(series: Sequence[Series]) -> Markup:
    """Names and last values at the top right, laid out from the right edge with an estimated text width."""
    character = 6.3  # mean advance of the 11.5-unit label font
    parts = []
    right = float(WIDTH - RIGHT)
    for line in reversed(series):
        label = f"{line.name} {line.ys[-1]:.4g}"
        start = right - character * len(label)
        parts.append(_line(f"line s{line.style}", start - 18, 10, start - 5, 10))
        parts.append(_text("legend", start, 14, label))
        right = start - 30
    return Markup("").join(reversed(parts))
