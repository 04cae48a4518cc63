"""Why is this page (not) in my data? What each stage did with a page, read from the artifacts themselves.

Nothing here decides anything again: every finding is a row that a stage wrote when it decided.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from infra.errors import BadInput
from infra.store import Artifact, Store
from tasks.dedup.urls import canonical_url
from tasks.filters.verdicts import explain as explain_filter

DOC_ID = re.compile(r"[0-9a-f]{32}")
MOST_PAGES = 20  # captures of one URL that are explained
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
    chain = {artifact.stage: artifact for artifact in tip.ancestors()}
    base = chain.get("extract")
    if base is None:
        raise BadInput(f"{tip.ref} does not come from a crawl: there is no extract in its lineage")
    pages = []
    for part in range(base.part_count):
        for row, place in _matches(base, "documents", part, query):
            findings = [_extracted(base, place), *_follow(store, chain, part, row)]
            pages.append(_page(place, findings))
        for _, place in _matches(base, "skipped", part, query):
            pages.append(_page(place, [_skipped(base, place)]))
        if len(pages) >= MOST_PAGES:
            break
    if not pages:
        counts = base.manifest.counts
        raise BadInput(
            f"{query}: no such page among the {counts.in_.n:,} {counts.in_.unit} of {base.ref};"
            " give the URL as crawled, or a doc_id"
        )
    return pages


def _matches(base: Artifact, table: str, part: int, query: str) -> Iterator[tuple[int, dict[str, Any]]]:
    columns = [name for name in base.columns(table) if name not in ("text",)]
    keys = base.read_part(table, part, [name for name in ("doc_id", "url") if name in columns])
    if DOC_ID.fullmatch(query):
        hit = pc.equal(keys.column("doc_id"), query) if "doc_id" in keys.column_names else None
    else:
        hit = pc.equal(keys.column("url"), query)
        if not pc.any(hit).as_py() and "://" in query:
            wanted = canonical_url(query)
            hit = pa.array([url is not None and canonical_url(url) == wanted for url in keys.column("url").to_pylist()])
    if hit is None or not pc.any(hit).as_py():
        return
    rows = pc.indices_nonzero(hit).to_pylist()
    found = base.read_part(table, part, columns).take(pa.array(rows)).to_pylist()
    yield from zip(rows, found, strict=True)


def _page(place: dict[str, Any], findings: list[Finding]) -> Page:
    return Page(
        url=place["url"],
        doc_id=place.get("doc_id"),
        captured_at=str(place["captured_at"]),
        warc=f"{place['warc_file']}:{place['warc_offset']}+{place['warc_length']}",
        findings=findings,
    )


def _extracted(base: Artifact, place: dict[str, Any]) -> Finding:
    details = {name: value for name, value in place.items() if name not in PROVENANCE and value is not None}
    text = f"text extracted from {place['html_bytes']:,} bytes of {place['mime']} ({place['charset']})"
    return Finding("extract", base.ref, "kept", text, details)


def _skipped(base: Artifact, place: dict[str, Any]) -> Finding:
    detail = f": {place['detail']}" if place.get("detail") else ""
    return Finding("extract", base.ref, "dropped", f"{place['reason']}{detail}", {"reason": place["reason"]})


def _follow(store: Store, chain: dict[str, Artifact], part: int, row: int) -> Iterator[Finding]:
    """The stages after extract, until one drops the page."""
    for name, look in (("filter", _filtered), ("dedup", _deduplicated), ("mix", _mixed)):
        if name not in chain:
            return
        finding = look(chain[name], part, row)
        yield finding
        if finding.fate == "dropped":
            return
    yield from _used(store, chain["mix"], part, row)


def _row(artifact: Artifact, table: str, part: int, row: int, column: str = "row") -> dict[str, Any] | None:
    """The row of a table that is about a document, if there is one."""
    found = artifact.read_part(table, part)
    rows = found.filter(pc.equal(found.column(column), row)).to_pylist()
    return rows[0] if rows else None


def _filtered(artifact: Artifact, part: int, row: int) -> Finding:
    verdicts = explain_filter(artifact, part, row)
    fired = [
        f"{verdict.rule.signal} is {verdict.value}, rule {verdict.rule.name} wants it not {verdict.rule.comparison}"
        f" {verdict.rule.threshold}"
        for verdict in verdicts
        if verdict.fired
    ]
    rejected = _row(artifact, "rejected", part, row)
    if rejected is None:
        return Finding("filter", artifact.ref, "kept", f"none of {len(verdicts)} rules fired")
    others = f"; also: {'; '.join(fired[1:])}" if len(fired) > 1 else ""
    return Finding("filter", artifact.ref, "dropped", f"{rejected['reason']}: {fired[0]}{others}", rejected)


def _deduplicated(artifact: Artifact, part: int, row: int) -> Finding:
    cluster = _row(artifact, "clusters", part, row)
    if cluster is None:
        return Finding("dedup", artifact.ref, "kept", "no duplicate of it was found")
    if cluster["kept"]:
        return Finding("dedup", artifact.ref, "kept", "has duplicates; this one stays", cluster)
    similar = "" if cluster["jaccard"] is None else f", estimated Jaccard {cluster['jaccard']:.2f}"
    text = (
        f"{cluster['kind']} duplicate of {cluster['matched_with']}{similar};"
        f" {cluster['cluster_id']} stays ({cluster['keep_reason']})"
    )
    return Finding("dedup", artifact.ref, "dropped", text, cluster)


def _mixed(artifact: Artifact, part: int, row: int) -> Finding:
    found = _row(artifact, "documents", part, row)
    if found is None:
        return Finding("mix", artifact.ref, "dropped", "too_short_after_edits: too little text left after the edits")
    details = {name: value for name, value in found.items() if name != "text"}
    text = f"split {found['split']}, domain {found['domain']}, {found['n_bytes']:,} bytes"
    return Finding("mix", artifact.ref, "kept", text, details)


def _used(store: Store, mix: Artifact, part: int, row: int) -> Iterator[Finding]:
    """Where the document went: token files, and how often each model had seen it by which step."""
    from tasks.exposure import exposures  # it needs torch's data order; most questions end before

    yield from (Finding(one.stage, one.ref, "used", one.text, one.details) for one in exposures(store, mix, part, row))
