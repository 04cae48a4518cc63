"""Why is this page (not) in my data? What each stage did with a page, read from the artifacts themselves.

Nothing here decides anything again: every finding is a row that a stage wrote when it decided. Which tables a stage
wrote says what to look for: rules with their values (filter, select), clusters (dedup), scores, edits (pii), or just
which rows it kept and the reasons why not; stages that add to every page and judge none are passed over.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from infra.errors import BadInput
from infra.store import Artifact, Store
from tasks.dedup.urls import canonical_url
from tasks.documents import KEPT, SCORES, SPANS, Documents, Step, crawl_file, lineage
from tasks.filters.verdicts import explain as explain_filter

DOC_ID = re.compile(r"[0-9a-f]{32}")
MOST_PAGES = 20  # captures of one URL that are explained
NOT_TOLD = ("doc_id", "row", "reason")
PROVENANCE = ("url", "captured_at", "warc_file", "warc_offset", "warc_length")

Fate = Literal["kept", "dropped", "used"]


@dataclass(frozen=True)
class Finding:
    """What one stage did with the page."""

    stage: str
    ref: str
    fate: Fate
    text: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """One capture of the page, and its way as far as it came."""

    url: str
    doc_id: str | None
    captured_at: str
    warc: str  # file:offset+length
    findings: list[Finding]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def explain(store: Store, query: str, tip: Artifact) -> list[Page]:
    """The way of every capture of a page up to `tip` and into what was made from it.

    Args:
        query: a doc_id or a URL; another spelling of the same canonical URL is found too.
        tip: the artifact whose lineage is asked; the stages made from it (tokens, chat data, models) are added.

    Raises:
        BadInput: the crawl behind `tip` holds no such page.
    """
    documents = [artifact for artifact in tip.ancestors() if artifact.stage in Documents.accepts]
    bases = [artifact for artifact in documents if artifact.stage == "extract"]
    if not bases:
        raise BadInput(f"{tip.ref} does not come from a crawl: there is no extract in its lineage")
    pages: list[Page] = []
    for part in range(documents[-1].part_count):
        base, *later = reversed(lineage(documents[-1], part, through_mix=True))
        if base.artifact.stage != "extract":  # an imported corpus beside the crawl
            continue
        for row, place in _matches(base, "documents", query):
            pages.append(_page(base, place, [_extracted(base.artifact, place), *_follow(store, later, row)]))
        for _, place in _matches(base, "skipped", query):
            pages.append(_page(base, place, [_skipped(base.artifact, place)]))
        if len(pages) >= MOST_PAGES:
            break
    if not pages:
        counts = [base.manifest.counts.in_ for base in bases]
        raise BadInput(
            f"{query}: no such page among the {sum(count.n for count in counts):,} {counts[0].unit} of"
            f" {', '.join(base.ref for base in bases)}; give the URL as crawled, or a doc_id"
        )
    return pages


def _matches(base: Step, table: str, query: str) -> Iterator[tuple[int, dict[str, Any]]]:
    columns = [name for name in base.artifact.columns(table) if name not in ("text",)]
    keys = base.artifact.read_part(table, base.part, [name for name in ("doc_id", "url") if name in columns])
    if DOC_ID.fullmatch(query):
        hit = pc.equal(keys.column("doc_id"), query) if "doc_id" in keys.column_names else None
    else:
        hit = pc.equal(keys.column("url"), query)
        if not pc.any(hit).as_py() and "://" in query:
            wanted = canonical_url(query)
            hit = pa.array(
                [url is not None and canonical_url(url) == wanted for url in keys.column("url").to_pylist()], pa.bool_()
            )
    if hit is None or not pc.any(hit).as_py():
        return
    rows = pc.indices_nonzero(hit).to_pylist()
    found = base.artifact.read_part(table, base.part, columns).take(pa.array(rows)).to_pylist()
    yield from zip(rows, found, strict=True)


def _page(base: Step, place: dict[str, Any], findings: list[Finding]) -> Page:
    return Page(
        url=place["url"],
        doc_id=place.get("doc_id"),
        captured_at=str(place["captured_at"]),
        warc=f"{crawl_file(base, place['warc_file'])}:{place['warc_offset']}+{place['warc_length']}",
        findings=findings,
    )


def _extracted(base: Artifact, place: dict[str, Any]) -> Finding:
    details = {name: value for name, value in place.items() if name not in PROVENANCE and value is not None}
    text = f"text extracted from {place['html_bytes']:,} bytes of {place['mime']} ({place['charset']})"
    return Finding("extract", base.ref, "kept", text, details)


def _skipped(base: Artifact, place: dict[str, Any]) -> Finding:
    detail = f": {place['detail']}" if place.get("detail") else ""
    return Finding("extract", base.ref, "dropped", f"{place['reason']}{detail}", {"reason": place["reason"]})


def _follow(store: Store, steps: list[Step], row: int) -> Iterator[Finding]:
    """The stages after extract, until one drops the page."""
    mixed = None
    for step in steps:
        finding = _look(step, row)
        if finding is not None:
            yield finding
            if finding.fate == "dropped":
                return
        if step.artifact.stage == "mix":
            mixed = step
    if mixed is not None:
        yield from _used(store, mixed, row)


def _look(step: Step, row: int) -> Finding | None:
    """What one stage did with the page, by the tables that it wrote; None: it judges no pages."""
    artifact, part = step.artifact, step.part
    if artifact.stage == "mix":
        return _mixed(artifact, part, row)
    if artifact.has_table("clusters"):
        return _deduplicated(artifact, part, row)
    if "rules" in artifact.manifest.metrics:
        return _ruled(artifact, part, row)
    if artifact.has_table(SCORES):
        return _scored(artifact, part, row)
    return _judged(artifact, part, row) if artifact.has_table(KEPT) else None


def _row(artifact: Artifact, table: str, part: int, row: int) -> dict[str, Any] | None:
    """The row of a table that is about a document, if there is one."""
    return next(iter(_rows(artifact, table, part, row)), None)


def _rows(artifact: Artifact, table: str, part: int, row: int) -> list[dict[str, Any]]:
    found = artifact.read_part(table, part)
    rows: list[dict[str, Any]] = found.filter(pc.equal(found.column("row"), row)).to_pylist()
    return rows


def _ruled(artifact: Artifact, part: int, row: int) -> Finding:
    """By rules over signals or scores: `filter`, `select`."""
    verdicts = explain_filter(artifact, part, row)
    fired = [
        f"{verdict.rule.signal} is {verdict.value}, rule {verdict.rule.name} wants it not {verdict.rule.comparison}"
        f" {verdict.rule.threshold}"
        for verdict in verdicts
        if verdict.fired
    ]
    rejected = _row(artifact, "rejected", part, row)
    if rejected is None:
        return Finding(artifact.stage, artifact.ref, "kept", f"none of {len(verdicts)} rules fired")
    others = f"; also: {'; '.join(fired[1:])}" if len(fired) > 1 else ""
    return Finding(artifact.stage, artifact.ref, "dropped", f"{rejected['reason']}: {fired[0]}{others}", rejected)


def _scored(artifact: Artifact, part: int, row: int) -> Finding | None:
    """What classifiers said."""
    scores = _row(artifact, SCORES, part, row)
    if scores is None:
        return None
    said = {name: value for name, value in scores.items() if name not in ("doc_id", "row") and value not in (None, [])}
    named = said.pop("named", [])
    values = [
        f"{name} {value if isinstance(value, str) else f'{value:.3f}'}" for name, value in [*said.items(), *named]
    ]
    return Finding(artifact.stage, artifact.ref, "kept", ", ".join(values) or "no classifier said anything", scores)


def _judged(artifact: Artifact, part: int, row: int) -> Finding:
    """By a stage that writes which rows it keeps, why others go, and its edits: `pii`, or any other."""
    rejected = _row(artifact, "rejected", part, row) if artifact.has_table("rejected") else None
    if rejected is not None:
        more = [f"{name} {value}" for name, value in rejected.items() if name not in NOT_TOLD and value is not None]
        text = f"{rejected['reason']}: {', '.join(more)}" if more else rejected["reason"]
        return Finding(artifact.stage, artifact.ref, "dropped", text, rejected)
    if _row(artifact, KEPT, part, row) is None:
        return Finding(artifact.stage, artifact.ref, "dropped", "not kept; the stage wrote no reason")
    if not artifact.has_table(SPANS):
        return Finding(artifact.stage, artifact.ref, "kept", "kept")
    edits = Counter(edit["reason"] for edit in _rows(artifact, SPANS, part, row))
    if not edits:
        return Finding(artifact.stage, artifact.ref, "kept", "nothing to edit")
    told = ", ".join(f"{n} {reason}" for reason, n in sorted(edits.items()))
    return Finding(artifact.stage, artifact.ref, "kept", f"{edits.total()} edited: {told}", {"edits": dict(edits)})


def _deduplicated(artifact: Artifact, part: int, row: int) -> Finding:
    cluster = _row(artifact, "clusters", part, row)
    if cluster is None:
        return Finding(artifact.stage, artifact.ref, "kept", "no duplicate of it was found")
    if cluster["kept"]:
        return Finding(artifact.stage, artifact.ref, "kept", "has duplicates; this one stays", cluster)
    similar = "" if cluster["jaccard"] is None else f", estimated Jaccard {cluster['jaccard']:.2f}"
    text = (
        f"{cluster['kind']} duplicate of {cluster['matched_with']}{similar};"
        f" {cluster['cluster_id']} stays ({cluster['keep_reason']})"
    )
    return Finding(artifact.stage, artifact.ref, "dropped", text, cluster)


def _mixed(artifact: Artifact, part: int, row: int) -> Finding:
    found = _row(artifact, "documents", part, row)
    if found is None:
        return Finding("mix", artifact.ref, "dropped", "too_short_after_edits: too little text left after the edits")
    details = {name: value for name, value in found.items() if name != "text"}
    text = f"split {found['split']}, domain {found['domain']}, {found['n_bytes']:,} bytes"
    return Finding("mix", artifact.ref, "kept", text, details)


def _used(store: Store, mix: Step, row: int) -> Iterator[Finding]:
    """Where the document went: token files, and how often each model had seen it by which step."""
    from tasks.exposure import exposures  # it needs torch's data order; most questions end before

    found = exposures(store, mix.artifact, mix.part, row)
    yield from (Finding(one.stage, one.ref, "used", one.text, one.details) for one in found)
