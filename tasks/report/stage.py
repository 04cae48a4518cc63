"""The `report` stage: one HTML page and one JSON summary of all that led to an evaluation."""

import json

from pydantic import Field

from infra.files import write_text
from infra.params import Params
from infra.stage import Draft, stage
from infra.store import Artifact
from tasks.report.collect import collect
from tasks.report.render import render
from tasks.report.summary import summary

PAGE = "report.html"
SUMMARY = "summary.json"


class Evaluation(Artifact):
    """Role: what was measured; its lineage is what the page tells."""

    accepts = ("evaluate",)


class ReportParams(Params):
    """How much the page shows."""

    samples: int = Field(12, ge=0, description="Held-out questions shown with every model's answer, evenly spaced.")
    top: int = Field(12, ge=1, description="Rows of each ranking (rules, sites, languages).")


@stage("report", version=1)
def report(evaluation: Evaluation, params: ReportParams, out: Draft) -> None:
    """Write the page. It holds timings, so its bytes may differ between equal runs; the summary's do not."""
    data = collect(evaluation, params.samples, params.top)
    write_text(out.path(PAGE), render(data))
    write_text(out.path(SUMMARY), json.dumps(summary(data), indent=2, ensure_ascii=False) + "\n")
    out.volatile(PAGE)
    out.count("artifacts", len(data.nodes), out=1, out_unit="pages")
    out.metrics["data_until"] = data.data_until
