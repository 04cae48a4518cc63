"""ReportData in, one self-contained HTML page out.

The page loads nothing: style and drawings are inline, there is no script, and a Content-Security-Policy forbids both,
should some web text ever find a way past the escaping. Autoescape is on for every value.
"""

import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from infra.quantities import byte_size, duration
from tasks.report.charts import Interval, interval_chart, line_chart
from tasks.report.data import Change, Prediction, Quality, ReportData
from tasks.report.funnel import FunnelRow, counted, plural
from tasks.report.graph import lineage_svg

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent
# Colour class of a model's stage, the same in every chart and table.
STYLES = {"pretrain": 1, "sft": 2, "dpo": 3}
OTHER_STYLE = 4
REASONS_SHOWN = 6


def render(report: ReportData) -> str:
    """The whole page. Equal data gives an equal page."""
    template = _environment().get_template("report.html.jinja")
    return template.render(
        report=report,
        tiles=tiles(report),
        sentence=sentence(report),
        funnel_scale=funnel_scale(report.funnel),
        adds_up=all(row.adds_up for row in report.funnel) and not report.gaps,
        linked=True,
        worst_bits=max((row.bits_per_byte for row in report.prediction), default=1.0),
        panels=[
            (panel, line_chart(panel.title, panel.series, panel.x_label, panel.y_label)) for panel in report.panels
        ],
        change_charts=change_charts(report.changes),
        graph=_graph(report),
        slowest=max((node.seconds for node in report.nodes), default=0.0) or 1.0,
        seconds=sum(node.seconds for node in report.nodes),
        cpu_seconds=sum(node.cpu_seconds for node in report.nodes),
    )


def tiles(report: ReportData) -> list[tuple[str, str, str]]:
    """The figures at the top, as (label, value, note); what was not measured is left out."""
    found = []
    documents = [row for row in report.funnel if row.stage == "mix"]
    if report.funnel and documents:
        first = report.funnel[0]
        note = f"of {counted(first.n_in, first.unit_in)}"
        found.append((f"{plural(documents[-1].unit_out)} in the mix", f"{documents[-1].n_out:,}", note))
    if report.parameters is not None:
        note = f"{count_words(report.tokens_seen)} tokens seen" if report.tokens_seen else ""
        found.append(("parameters", count_words(report.parameters), note))
    best = best_prediction(report.prediction)
    if best is not None:
        baseline = min((row.bits_per_byte for row in report.prediction if row.is_baseline), default=None)
        note = f"best n-gram {baseline:.3f}" if baseline is not None else ""
        found.append(("bits per byte, held out", f"{best.bits_per_byte:.3f}", note))
    ranked = [row for row in report.quality if row.counted]
    if ranked:
        top = max(ranked, key=lambda row: row.rouge_l[0])
        note = f"{ranked[0].name} {ranked[0].rouge_l[0]:.3f}" if ranked[0] is not top else ""
        found.append((f"ROUGE-L, {top.name}", f"{top.rouge_l[0]:.3f}", note))
    if report.nodes:
        cpu = sum(node.cpu_seconds for node in report.nodes)
        found.append(
            ("processor time", duration(cpu), f"{duration(sum(n.seconds for n in report.nodes))} on the clock")
        )
    return found


def sentence(report: ReportData) -> str:
    """What happened, in words: the first thing a reader sees."""
    parts = []
    best = best_prediction(report.prediction)
    if best is not None:
        beaten = [row.name for row in report.prediction if row.is_baseline and best.bits_per_byte < row.bits_per_byte]
        missed = [row.name for row in report.prediction if row.is_baseline and best.bits_per_byte >= row.bits_per_byte]
        text = f"The {best.name} model predicts unseen pages at {best.bits_per_byte:.3f} bits per byte"
        if beaten:
            text += f", better than the {_listed(beaten)}"
        if missed:
            text += f"{' but' if beaten else ','} not better than the {_listed(missed)}"
        parts.append(text + ".")
    told: set[str] = set()
    for change in report.changes:
        # The first difference of a model is to the one it was made from; the page has the others.
        if change.metric != "rouge_l" or change.after in told:
            continue
        told.add(change.after)
        if change.low > 0:
            verdict = f"are better after {change.after}: ROUGE-L {change.value:+.3f} over {change.before}"
        elif change.high < 0:
            verdict = f"are worse after {change.after}: ROUGE-L {change.value:+.3f} against {change.before}"
        else:
            verdict = (
                f"are as good after {change.after} as after {change.before}, as far as {change.n} questions can tell"
            )
        parts.append(f"Answers {verdict}.")
    return " ".join(parts)


def best_prediction(rows: tuple[Prediction, ...]) -> Prediction | None:
    """The model (not baseline) with the fewest bits per byte."""
    return min((row for row in rows if not row.is_baseline), key=lambda row: row.bits_per_byte, default=None)


def change_charts(changes: tuple[Change, ...]) -> list[tuple[str, Markup]]:
    """An interval chart a metric."""
    titles = {"rouge_l": "ROUGE-L", "exact_form": "Exact form"}
    charts = []
    for metric in dict.fromkeys(change.metric for change in changes):
        rows = [
            Interval(f"{c.before} → {c.after}", c.value, c.low, c.high, STYLES.get(c.after.lower(), OTHER_STYLE))
            for c in changes
            if c.metric == metric
        ]
        title = titles.get(metric, metric)
        charts.append((title, interval_chart(title, rows, f"difference in {title}, 95 % interval")))
    return charts


def count_words(n: int | None) -> str:
    """2.4 M, 13.1 k, 812."""
    if n is None:
        return ""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if n >= limit:
            scale = 1e3 if unit == "k" else limit
            return f"{n / scale:.1f} {unit}"
    return f"{n:,}"


def printable(text: str) -> str:
    """Web text as it may stand in HTML: control characters (which HTML forbids) become visible replacement marks."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" else c for c in text)


def with_error(value: tuple[float, float | None], percent: bool = False) -> str:
    """Mean and standard error: 0.312 ± 0.014, or 71.5 ± 3.2 %."""
    mean, stderr = value
    if percent:
        return f"{100 * mean:.1f} ± {100 * stderr:.1f} %" if stderr is not None else f"{100 * mean:.1f} %"
    return f"{mean:.3f} ± {stderr:.3f}" if stderr is not None else f"{mean:.3f}"


def style_of(row: Quality | Prediction) -> int:
    """Colour class of a model; 0 for a baseline."""
    if isinstance(row, Prediction) and row.is_baseline:
        return 0
    return STYLES.get((row.ref or "").partition("/")[0], OTHER_STYLE)


def funnel_scale(rows: tuple[FunnelRow, ...]) -> dict[str, int]:
    """The largest number of each unit, which fills the width of the funnel."""
    scale: dict[str, int] = {}
    for row in rows:
        scale[row.unit_in] = max(scale.get(row.unit_in, 1), row.n_in)
    return scale


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _graph(report: ReportData) -> Markup:
    parents = {node.ref: [ref for _, ref in node.parents] for node in report.nodes}
    labels = {node.ref: (node.stage, node.version[:8], f"#v-{node.stage}-{node.version}") for node in report.nodes}
    return lineage_svg(parents, labels)


@cache
def _environment() -> "Environment":
    environment = make_environment()
    environment.globals["styles"] = STYLES
    environment.globals["other_style"] = OTHER_STYLE
    return environment


def make_environment(*folders: Path) -> "Environment":
    """Jinja with autoescape, the filters of our pages, and the templates of this folder besides those of `folders`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        n=lambda value: f"{value:,}",
        printable=printable,
        duration=duration,
        size=byte_size,
        with_error=with_error,
        style_of=style_of,
        percent=lambda share: f"{100 * share:.1f} %",
        counted=counted,
        plural=plural,
        width=lambda share: f"{100 * share:.2f}%",
    )
    environment.globals["reasons_shown"] = REASONS_SHOWN
    return environment
