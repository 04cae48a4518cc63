"""A signal's distribution as inline SVG: stacked bars, the rules' thresholds drawn in, their rejected side shaded."""

from markupsafe import Markup

from tasks.curation_report.data import Histogram, Threshold
from tasks.report.charts import nice_ticks, short_number

WIDTH, HEIGHT = 340, 170
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 34, 22
TOWER = 4.0  # a bar so many times higher than the next is cut, and says how high it is
LAYERS = (("passed", "passed"), ("elsewhere", "elsewhere"), ("here", "here"))
REJECTS_BELOW = ("<", "<=")
REJECTS_ABOVE = (">", ">=")


def histogram_chart(histogram: Histogram) -> Markup:
    """One chart; equal data gives equal bytes."""
    axis = histogram.axis
    totals = [sum(column) for column in zip(histogram.passed, histogram.elsewhere, histogram.here, strict=True)]
    ceiling = _ceiling(totals)
    width, height = (WIDTH - LEFT - RIGHT) / axis.bins, HEIGHT - TOP - BOTTOM
    base = HEIGHT - BOTTOM
    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            WIDTH, HEIGHT, _described(histogram)
        )
    ]
    parts += [_shade(histogram, threshold, base) for threshold in histogram.thresholds]
    for b in range(axis.bins):
        y = float(base)
        for name, css in LAYERS:
            n = getattr(histogram, name)[b]
            if not n:
                continue
            h = n / max(ceiling, totals[b]) * height
            y -= h
            parts.append(
                Markup('<rect class="bar-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                    css,
                    f"{LEFT + b * width + 0.3:.1f}",
                    f"{y:.2f}",
                    f"{max(width - 0.6, 0.5):.2f}",
                    f"{h:.2f}",
                    f"{short_number(axis.edge(b))} to {short_number(axis.edge(b + 1))}: {n:,} {css}",
                )
            )
        if totals[b] > ceiling:
            x = LEFT + (b + 0.5) * width
            anchor = "start" if b < axis.bins / 2 else "end"
            parts.append(
                Markup('<path class="torn" d="M{} {} l{} -4 l{} 8 l{} -4"/>').format(
                    f"{x - width * 0.75:.1f}", TOP + 8, f"{width * 0.5:.1f}", f"{width * 0.5:.1f}", f"{width * 0.5:.1f}"
                )
            )
            parts.append(
                Markup('<text class="tall {}" x="{}" y="{}">{}</text>').format(
                    anchor, f"{x + (width if anchor == 'start' else -width):.1f}", TOP + 11, f"{totals[b]:,}"
                )
            )
    parts.append(Markup('<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, base, WIDTH - RIGHT, base))
    parts += [_tick(histogram, value, base) for value in _ticks(histogram)]
    parts += [_mark(histogram, k, threshold, base) for k, threshold in enumerate(histogram.thresholds)]
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _ceiling(totals: list[int]) -> float:
    """How many documents the full height stands for; one bar far above the others is cut at it."""
    ranked = sorted(totals, reverse=True)
    highest, second = ranked[0], ranked[1] if len(ranked) > 1 else 0
    if second and highest > TOWER * second:
        return second * 1.6
    return float(max(highest, 1))


def _ticks(histogram: Histogram) -> list[float]:
    axis = histogram.axis
    if not axis.log:
        return nice_ticks(axis.low, axis.high, 4)
    powers = [float(10**k) for k in range(0, 13)]
    return [value for value in (0.0, *powers) if axis.low <= value <= axis.high]


def _x(histogram: Histogram, value: float) -> float:
    return LEFT + min(max(histogram.axis.place(value), 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def _tick(histogram: Histogram, value: float, base: int) -> Markup:
    x = _x(histogram, value)
    anchor = "start" if x < LEFT + 12 else "end" if x > WIDTH - RIGHT - 12 else "mid"
    return Markup('<text class="tick {}" x="{}" y="{}">{}</text>').format(
        anchor, f"{x:.1f}", base + 14, short_number(value)
    )


def _edge(histogram: Histogram, threshold: Threshold) -> float:
    """Where the rejected side begins: of whole numbers, "> 0" is the far edge of the bin that holds the zeros."""
    return threshold.value + (histogram.axis.whole and threshold.comparison in (">", "<="))


def _beyond(histogram: Histogram, value: float) -> bool:
    return not -1e-9 <= histogram.axis.place(value) <= 1 + 1e-9


def _shade(histogram: Histogram, threshold: Threshold, base: int) -> Markup:
    x = _x(histogram, _edge(histogram, threshold))
    if threshold.comparison in REJECTS_BELOW:
        left, right = float(LEFT), x
    elif threshold.comparison in REJECTS_ABOVE:
        left, right = x, float(WIDTH - RIGHT)
    else:
        return Markup("")
    return Markup('<rect class="shade" x="{}" y="{}" width="{}" height="{}"/>').format(
        f"{left:.1f}", TOP, f"{max(right - left, 0):.1f}", base - TOP
    )


def _mark(histogram: Histogram, k: int, threshold: Threshold, base: int) -> Markup:
    x = _x(histogram, _edge(histogram, threshold))
    label = f"{threshold.comparison} {short_number(threshold.value)}"
    if _beyond(histogram, threshold.value):
        label += " →" if histogram.axis.place(threshold.value) > 1 else " ←"
    anchor = "end" if x > WIDTH / 2 else "start"
    line = Markup('<line class="threshold" x1="{}" y1="{}" x2="{}" y2="{}"><title>{}</title></line>').format(
        f"{x:.1f}", TOP - 4, f"{x:.1f}", base, f"{threshold.rule}: rejected when {label}"
    )
    text = Markup('<text class="mark {}" x="{}" y="{}">{}</text>').format(
        anchor, f"{x:.1f}", TOP - 8 - 12 * (k % 2), label
    )
    return line + text


def _described(histogram: Histogram) -> str:
    rules = "; ".join(
        f"{t.rule} rejects {t.comparison} {short_number(t.value)} ({t.rejected:,} documents)"
        for t in histogram.thresholds
    )
    counted = sum(histogram.passed) + sum(histogram.here) + sum(histogram.elsewhere)
    return f"Distribution of {histogram.signal} over {counted:,} documents" + (f". {rules}" if rules else "")
