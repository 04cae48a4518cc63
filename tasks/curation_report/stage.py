"""The `curation-report` stage: what happened to the pages of a crawl, and why, on one HTML page.

Every part of the corpus is surveyed by itself (Spark, `survey.py`); the driver adds the parts up. The axes of the
histograms are chosen before, from a few parts, and are in each part's key.
"""

import json

import numpy as np
import pyarrow as pa
from pydantic import Field

from infra.errors import BadInput
from infra.files import write_text
from infra.params import Params
from infra.stage import Draft, Part, stage
from infra.store import Artifact
from tasks.curation_report.collect import collect, rules_of, summary, thresholds_of
from tasks.curation_report.histogram import Axis, choose_axis
from tasks.curation_report.render import render
from tasks.curation_report.survey import (
    HISTOGRAMS,
    KEPT_STAGE,
    REASONS,
    SAMPLES,
    TALLIES,
    Fates,
    fates_of,
    histogram_rows,
    is_numeric,
    masked_excerpt,
    numbers,
    reason_rows,
    sampled_rows,
    skipped_samples,
    tally_rows,
)
from tasks.documents import Step, columns_of, lineage, open_part

PAGE = "curation.html"
SUMMARY = "curation.json"
AXIS_PARTS = 16  # parts that are looked at to choose the axes, evenly spaced


class Curated(Artifact):
    """Role: documents behind which a `measure` stands."""

    accepts = ("measure", "filter", "score", "select", "signatures", "dedup", "pii", "decontaminate", "mix")


class CurationReportParams(Params):
    """How much the page shows."""

    samples: int = Field(3, ge=0, description="Pages shown for each reason of being dropped.")
    kept_samples: int = Field(12, ge=0, description="Pages shown of those that stay.")
    excerpt_chars: int = Field(360, ge=20, description="Characters of a page's text that are shown.")
    top: int = Field(15, ge=1, description="Rows of each ranking (sites, languages, domains).")


@stage(
    "curation-report",
    version=1,
    tables={"histograms": HISTOGRAMS, "samples": SAMPLES, "tallies": TALLIES, "reasons": REASONS},
)
def curation_report(documents: Curated, params: CurationReportParams, out: Draft) -> None:
    """Survey the corpus and write the page."""
    measured = _measured(lineage(documents, 0, through_mix=True))
    axes = _axes(documents, measured.artifact)
    out.map_parts(survey_part, along=documents, given={"axes": {name: axis.as_json() for name, axis in axes.items()}})
    data = collect(documents, out.path, axes, params)
    write_text(out.path(PAGE), render(data))
    write_text(out.path(SUMMARY), json.dumps(summary(data), indent=2, ensure_ascii=False) + "\n")
    out.metrics["kept"] = data.kept


def survey_part(part: Part) -> None:
    """Survey the documents of one part."""
    documents, params = part.parent("documents"), part.params
    steps = lineage(documents, part.index, through_mix=True)
    base = _measured(steps)
    axes = {name: Axis(**axis) for name, axis in part.given["axes"].items()}
    own = set(columns_of(base.artifact))
    before_mix = next(step for step in steps if step.artifact.stage != "mix")
    names = [name for name in ("site", "language", "domain") if name in columns_of(before_mix.artifact)]
    measured = [name for name in axes if name in own]
    table = _signals_and_scores(steps, [*measured, "url"], [name for name in axes if name not in own])
    fates = fates_of(steps, table.num_rows)
    part.write("histograms", histogram_rows(table, axes, fates))
    part.write(
        "tallies", tally_rows({name: _whole_column(before_mix, base, name, pa.string()) for name in names}, fates)
    )
    part.write("reasons", reason_rows(fates))
    part.write("samples", _samples(documents, part.index, base, table, fates, params))
    part.count("documents", table.num_rows, out=int(fates.kept.sum()), used=table.num_rows)


def _samples(
    documents: Artifact, index: int, base: Step, table: pa.Table, fates: Fates, params: CurationReportParams
) -> pa.Table:
    doc_ids, urls = table.column("doc_id").to_pylist(), table.column("url").to_pylist()
    chosen = sampled_rows(doc_ids, fates, params.samples, params.kept_samples)
    texts = open_part(base.artifact, base.part, ["text"]).column("text")
    final = open_part(documents, index, ["text"])  # with personal data masked, and whatever else was edited
    places = {row: place for place, row in enumerate(final.column("row").to_pylist())}
    rows = [
        {
            "stage": fates.stage[row],
            "reason": fates.reason[row],
            "rank": rank,
            "doc_id": doc_ids[row],
            "url": urls[row],
            "verdict": fates.verdict[row],
            "excerpt": masked_excerpt(
                (final.column("text")[places[row]] if fates.stage[row] == KEPT_STAGE else texts[row]).as_py() or "",
                params.excerpt_chars,
            ),
        }
        for rank, row in chosen
    ]
    extracted = next(
        (step for step in lineage(documents, index, through_mix=True) if step.artifact.stage == "extract"), None
    )
    if extracted is not None and extracted.artifact.has_table("skipped"):
        rows += skipped_samples(extracted.artifact, extracted.part, params.samples)
    return pa.Table.from_pylist(rows, schema=SAMPLES)


def _measured(steps: list[Step]) -> Step:
    """The step that holds every document with its signals."""
    for step in steps:
        if step.artifact.stage == "measure":
            return step
    raise BadInput(f"{steps[0].artifact.ref}: no measure in its lineage, so there are no signals to show")


def _whole_column(nearest: Step, base: Step, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    """A column over every measured document; null for those that were dropped before the stage that made it."""
    if name in columns_of(base.artifact):
        return open_part(base.artifact, base.part, [name]).column(name)
    maker = next(step for step in lineage(nearest.artifact, nearest.part) if step.artifact.stage == "score")
    found = open_part(maker.artifact, maker.part, [name])
    values = np.full(open_part(base.artifact, base.part).num_rows, None, dtype=object)
    values[found.column("row").to_numpy()] = found.column(name).to_pylist()
    return pa.chunked_array([pa.array(values, kind)])


def _axes(documents: Artifact, measured: Artifact) -> dict[str, Axis]:
    """An axis for every numeric signal and score, those that rules look at first."""
    thresholds = thresholds_of(rules_of(documents))
    count = documents.part_count
    looked_at = sorted({k * count // min(count, AXIS_PARTS) for k in range(min(count, AXIS_PARTS))})
    steps = [lineage(documents, index, through_mix=True) for index in looked_at]
    schema = {field.name: field.type for field in open_part(measured, 0, _signals(measured)).schema}
    signals = {name: kind for name, kind in schema.items() if is_numeric(kind) and name not in ("part", "row")}
    scores = dict.fromkeys(_scores(documents), pa.float64())
    tables = [_signals_and_scores(part_steps, list(signals), list(scores)) for part_steps in steps]
    axes = {}
    for name in dict.fromkeys([*thresholds, *signals, *scores]):
        kind = signals.get(name, scores.get(name))
        if kind is None:  # a signal that is text, or a column of an earlier stage
            continue
        values = np.concatenate([numbers(table.column(name)) for table in tables])
        axis = choose_axis(values, thresholds.get(name, []), whole=not pa.types.is_floating(kind))
        if axis is not None:
            axes[name] = axis
    return axes


def _signals_and_scores(steps: list[Step], signals: list[str], scores: list[str]) -> pa.Table:
    """Columns of every measured document of a part; scores are null for those that were not scored."""
    base = _measured(steps)
    before_mix = next(step for step in steps if step.artifact.stage != "mix")
    table = open_part(base.artifact, base.part, signals)
    for name in scores:
        table = table.append_column(name, _whole_column(before_mix, base, name, pa.float64()))
    return table


def _scores(documents: Artifact) -> list[str]:
    """What classifiers gave, where there were any."""
    return [
        name
        for artifact in documents.ancestors()
        if artifact.stage == "score"
        for name in artifact.manifest.metrics["scores"]
        if name != "domain"
    ]


def _signals(measured: Artifact) -> list[str]:
    return [name for name in measured.columns("documents") if name not in ("doc_id", "text")]
