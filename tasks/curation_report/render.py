"""CurationData in, one self-contained HTML page out; style and page parts are those of `tasks/report`."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.curation_report.data import CurationData
from tasks.curation_report.drawing import histogram_chart
from tasks.report.render import funnel_scale, make_environment

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent
OPENED = 3  # groups of dropped pages that stand open, the largest


def render(data: CurationData) -> str:
    """The whole page. Equal data gives an equal page."""
    return (
        _environment()
        .get_template("curation.html.jinja")
        .render(
            report=data,
            sentence=sentence(data),
            tiles=tiles(data),
            funnel_scale=funnel_scale(data.funnel),
            adds_up=all(row.adds_up for row in data.funnel) and not data.gaps,
            linked=False,
            chart=histogram_chart,
            opened=min(sorted((group.documents for group in data.rejected_samples), reverse=True)[:OPENED], default=0),
        )
    )


def tiles(data: CurationData) -> list[tuple[str, str, str]]:
    """The figures at the top, as (label, value, note)."""
    found = [("documents left", f"{data.kept:,}", f"of {data.measured:,} extracted")]
    for row in data.funnel:
        if row.stage == "extract":
            found.insert(0, (f"{row.unit_in} read", f"{row.n_in:,}", f"{row.n_dropped:,} gave no text"))
    if data.measured:
        found.append(("yield", f"{100 * data.kept / data.measured:.1f} %", "documents left of those extracted"))
    return found


def sentence(data: CurationData) -> str:
    """What happened, in words."""
    if not data.rejected_samples:
        return ""
    common = max(data.rejected_samples, key=lambda group: group.documents)
    return f"Most pages left at {common.stage}, as {common.reason} ({common.documents:,})."


@cache
def _environment() -> "Environment":
    return make_environment(TEMPLATES)
