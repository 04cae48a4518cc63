"""From the surveyed parts to `CurationData`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from infra.store import Artifact
from infra.store.artifact import part_file
from infra.tables import read_table
from tasks.curation_report.data import Breakdown, CurationData, Histogram, Sample, SampleGroup, Share, Threshold
from tasks.curation_report.histogram import NULL_BIN, Axis
from tasks.curation_report.survey import ELSEWHERE, HERE, KEPT_STAGE, PASSED, RULE_STAGES, summed
from tasks.filters.rules import ResolvedRule, Rule, load_rule
from tasks.report.funnel import funnel_rows, gaps
from tasks.report.lineage import stage_command

if TYPE_CHECKING:
    from tasks.curation_report.stage import CurationReportParams

TITLES = {"site": "Sites", "language": "Languages", "domain": "Domains"}


def rules_of(documents: Artifact) -> list[Rule]:
    """The rules that the lineage's filters were made with, in the order in which they decided."""
    return [
        load_rule(rule)
        for artifact in documents.ancestors()
        if artifact.stage in RULE_STAGES
        for rule in artifact.manifest.metrics["rules"]
    ]


def thresholds_of(rules: Sequence[Rule]) -> dict[str, list[float]]:
    """signal -> the numbers it is compared with."""
    found: dict[str, list[float]] = {}
    for rule in rules:
        found.setdefault(rule.signal, []).extend(numbers_of(rule).values())
    return {signal: values for signal, values in found.items() if values}


def numbers_of(rule: Rule) -> dict[str, float]:
    """What a rule compares with: group -> number, the group being empty where the rule has none."""
    if isinstance(rule, ResolvedRule):
        return rule.thresholds
    is_number = isinstance(rule.threshold, int | float) and not isinstance(rule.threshold, bool)
    return {"": float(rule.threshold)} if is_number else {}  # type: ignore[arg-type]


def collect(
    documents: Artifact, path: Callable[[str], Path], axes: Mapping[str, Axis], params: "CurationReportParams"
) -> CurationData:
    """Sum the parts.

    Args:
        path: where a file of the report lies while it is made (`Draft.path`).
    """

    def parts(table: str) -> list[pa.Table]:
        return [read_table(path(part_file(table, index))) for index in range(documents.part_count)]

    manifests = [artifact.manifest for artifact in documents.ancestors()]
    reasons = {
        (row["stage"], row["reason"]): row["n"]
        for row in summed(parts("reasons"), ["stage", "reason"], ["n"]).to_pylist()
    }
    rules = rules_of(documents)
    histograms = _histograms(summed(parts("histograms"), ["signal", "fate", "bin"], ["n"]), axes, rules, documents)
    groups = _groups(pa.concat_tables(parts("samples")), reasons, manifests, params)
    tallies = summed(parts("tallies"), ["kind", "name"], ["measured", "kept"]).to_pylist()
    return CurationData(
        ref=documents.ref,
        measured=sum(reasons.values()),
        kept=reasons.get((KEPT_STAGE, ""), 0),
        funnel=tuple(funnel_rows(manifests)),
        gaps=tuple(gaps(manifests)),
        ruled=tuple(histogram for histogram in histograms if histogram.thresholds),
        unruled=tuple(histogram for histogram in histograms if not histogram.thresholds),
        breakdowns=tuple(_breakdown(kind, tallies, params.top) for kind in TITLES if _has(tallies, kind)),
        kept_samples=groups.pop(0),
        rejected_samples=tuple(groups),
        silent_rules=tuple(name for manifest in manifests for name in manifest.metrics.get("silent_rules", [])),
        command=stage_command(documents.manifest),
    )


def summary(data: CurationData) -> dict[str, Any]:
    """The page's figures for programs."""
    return {
        "documents": data.ref,
        "measured": data.measured,
        "kept": data.kept,
        "dropped": [{"stage": row.stage, "reason": reason, "n": n} for row in data.funnel for reason, n in row.dropped],
        "signals": {
            histogram.signal: {
                "edges": [histogram.axis.edge(b) for b in range(histogram.axis.bins + 1)],
                "passed": histogram.passed,
                "rejected_by_this_signal": histogram.here,
                "rejected_by_another": histogram.elsewhere,
                "null": histogram.nulls,
            }
            for histogram in (*data.ruled, *data.unruled)
        },
        "breakdowns": {
            breakdown.title.lower(): [
                {"name": row.name, "measured": row.measured, "kept": row.kept} for row in breakdown.rows
            ]
            for breakdown in data.breakdowns
        },
    }


def _histograms(
    counts: pa.Table, axes: Mapping[str, Axis], rules: Sequence[Rule], documents: Artifact
) -> list[Histogram]:
    table: dict[tuple[str, str], dict[int, int]] = {}
    for row in counts.to_pylist():
        table.setdefault((row["signal"], row["fate"]), {})[row["bin"]] = row["n"]
    rejected = _rejected_by_rule(documents)
    found = []
    for signal, axis in axes.items():
        by_fate = {fate: table.get((signal, fate), {}) for fate in (PASSED, HERE, ELSEWHERE)}
        bins = {fate: tuple(ns.get(b, 0) for b in range(axis.bins)) for fate, ns in by_fate.items()}
        thresholds = tuple(
            Threshold(
                f"{rule.name}, {group}" if group else rule.name,
                rule.comparison,
                number,
                0 if group else rejected.get(rule.name, 0),
                rule.source,
            )
            for rule in rules
            if rule.signal == signal
            for group, number in numbers_of(rule).items()
        )
        nulls = sum(ns.get(NULL_BIN, 0) for ns in by_fate.values())
        found.append(Histogram(signal, axis, bins[PASSED], bins[HERE], bins[ELSEWHERE], nulls, thresholds))
    return found


def _rejected_by_rule(documents: Artifact) -> dict[str, int]:
    """Rule -> documents that it was the first to reject."""
    found: dict[str, int] = {}
    for artifact in documents.ancestors():
        if artifact.stage in RULE_STAGES:
            for table in artifact.iter_parts("rejected", ["rule"]):
                for name in table.column("rule").to_pylist():
                    found[name] = found.get(name, 0) + 1
    return found


def _groups(
    rows: pa.Table, reasons: Mapping[tuple[str, str], int], manifests: Sequence[Any], params: "CurationReportParams"
) -> list[SampleGroup]:
    """Samples by stage and reason, kept ones first, then in the order of the road, the commonest reason first."""
    counts = dict(reasons)
    for manifest in manifests:
        if manifest.stage == "extract":
            counts |= {("extract", reason): n for reason, n in manifest.counts.dropped.items()}
    by_group: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows.to_pylist(), key=lambda row: (row["rank"], row["doc_id"] or "")):
        by_group.setdefault((row["stage"], row["reason"]), []).append(row)
    order = [KEPT_STAGE, *(manifest.stage for manifest in manifests)]
    ranked = sorted(counts, key=lambda group: (order.index(group[0]), -counts[group], group[1]))
    if (KEPT_STAGE, "") not in counts:
        ranked.insert(0, (KEPT_STAGE, ""))
    return [
        SampleGroup(
            stage,
            reason,
            counts.get((stage, reason), 0),
            tuple(
                Sample(row["url"] or "", row["doc_id"] or "", row["excerpt"], row["verdict"] or "")
                for row in by_group.get((stage, reason), [])[
                    : params.kept_samples if stage == KEPT_STAGE else params.samples
                ]
            ),
        )
        for stage, reason in ranked
    ]


def _has(tallies: Sequence[Mapping[str, Any]], kind: str) -> bool:
    return any(row["kind"] == kind for row in tallies)


def _breakdown(kind: str, tallies: Sequence[Mapping[str, Any]], top: int) -> Breakdown:
    rows = sorted((row for row in tallies if row["kind"] == kind), key=lambda row: (-row["measured"], row["name"]))
    shares = tuple(Share(row["name"], row["measured"], row["kept"]) for row in rows[:top])
    return Breakdown(TITLES[kind], shares, len(rows))
