"""One part of a corpus, looked at: where its documents went, what their signals were, and some of them to read.

Pure functions over the tables of a part. Nothing is decided again: fates are the rows that the stages wrote.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from infra.store import Artifact
from tasks.curation_report.histogram import Axis
from tasks.documents import KEPT, Step
from tasks.pii.replace import edits, mask

HISTOGRAMS = pa.schema([("signal", pa.string()), ("fate", pa.string()), ("bin", pa.int32()), ("n", pa.int64())])
SAMPLES = pa.schema(
    [
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("rank", pa.string()),  # samples are those with the smallest
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("verdict", pa.string()),
        ("excerpt", pa.string()),
    ]
)
TALLIES = pa.schema([("kind", pa.string()), ("name", pa.string()), ("measured", pa.int64()), ("kept", pa.int64())])
REASONS = pa.schema([("stage", pa.string()), ("reason", pa.string()), ("n", pa.int64())])

PASSED, HERE, ELSEWHERE = "passed", "here", "elsewhere"
KEPT_STAGE = ""  # the stage of a document that none dropped
RULE_STAGES = ("filter", "select")


@dataclass(frozen=True)
class Fates:
    """What became of each measured document of a part; all arrays are (n_documents,).

    Attributes:
        stage: the stage that dropped it, `KEPT_STAGE` where none did.
        reason: under which reason.
        signal: the signal of the rule that did, empty where it was no rule.
        verdict: the decision in words.
    """

    stage: npt.NDArray[np.object_]
    reason: npt.NDArray[np.object_]
    signal: npt.NDArray[np.object_]
    verdict: npt.NDArray[np.object_]

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        return self.stage == KEPT_STAGE

    @property
    def passed_rules(self) -> npt.NDArray[np.bool_]:
        return ~np.isin(self.stage.astype(str), RULE_STAGES)


def fates_of(steps: Sequence[Step], n: int) -> Fates:
    """Follow the documents of a part from the base text to the nearest artifact.

    Args:
        steps: the part's lineage, nearest first (`tasks.documents.lineage`).
        n: measured documents of the part.
    """
    columns = [np.full(n, "", dtype=object) for _ in range(4)]
    fates = Fates(*columns)
    alive = np.ones(n, bool)
    for step in reversed(steps):
        rows = _kept_rows(step)
        if rows is None:
            continue
        kept = np.zeros(n, bool)
        kept[rows] = True
        dropped = alive & ~kept
        if dropped.any():
            reasons = _reasons(step)
            for row in np.flatnonzero(dropped).tolist():
                reason, signal, verdict = reasons.get(row, ("unexplained", "", ""))
                fates.stage[row], fates.reason[row] = step.artifact.stage, reason
                fates.signal[row], fates.verdict[row] = signal, verdict
        alive &= kept
    return fates


def _kept_rows(step: Step) -> npt.NDArray[np.int64] | None:
    artifact = step.artifact
    if artifact.has_table(KEPT):
        return artifact.read_part(KEPT, step.part, ["row"]).column("row").to_numpy()
    if artifact.stage == "mix":
        return artifact.read_part("documents", step.part, ["row"]).column("row").to_numpy()
    return None


def _reasons(step: Step) -> dict[int, tuple[str, str, str]]:
    """row -> (reason, signal, verdict) of the documents that a stage dropped."""
    artifact = step.artifact
    if artifact.has_table("rejected"):
        rows = artifact.read_part("rejected", step.part).to_pylist()
        return {row["row"]: (row["reason"], row.get("signal") or "", _rule_verdict(row)) for row in rows}
    if artifact.has_table("clusters"):
        rows = artifact.read_part("clusters", step.part).to_pylist()
        return {row["row"]: (row["kind"], "", _cluster_verdict(row)) for row in rows if not row["kept"]}
    return _Always(("too_short_after_edits", "", "too little text left after the edits"))


class _Always(dict[int, tuple[str, str, str]]):
    """The same answer for every row."""

    def __init__(self, answer: tuple[str, str, str]) -> None:
        super().__init__()
        self._answer = answer

    def get(self, key: int, default: Any = None) -> Any:  # noqa: ARG002
        return self._answer


def _rule_verdict(row: Mapping[str, Any]) -> str:
    if not row.get("signal"):
        return ""
    value = row["value_text"] if row["value"] is None else f"{row['value']:.6g}"
    threshold = row["threshold_text"] if row["threshold"] is None else f"{row['threshold']:.6g}"
    return f"{row['rule']}: {row['signal']} is {value}, rejected when {row['comparison']} {threshold}"


def _cluster_verdict(row: Mapping[str, Any]) -> str:
    similar = "" if row["jaccard"] is None else f", estimated Jaccard {row['jaccard']:.2f}"
    return f"{row['kind']} duplicate of {row['matched_with']}{similar}"


def numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """(n,) a numeric or boolean signal as float64, NaN where it is null."""
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a signal has a distribution to draw."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def histogram_rows(table: pa.Table, axes: Mapping[str, Axis], fates: Fates) -> pa.Table:
    """Count the documents of a part along each signal; the rows of `HISTOGRAMS`."""
    rows = []
    passed = fates.passed_rules
    for signal, axis in axes.items():
        bins = axis.bins_of(numbers(table.column(signal)))
        here = ~passed & (fates.signal == signal)
        for fate, rows_of_it in ((PASSED, passed), (HERE, here), (ELSEWHERE, ~passed & ~here)):
            found, counts = np.unique(bins[rows_of_it], return_counts=True)
            rows += [
                {"signal": signal, "fate": fate, "bin": b, "n": n}
                for b, n in zip(found.tolist(), counts.tolist(), strict=True)
            ]
    return pa.Table.from_pylist(rows, schema=HISTOGRAMS)


def tally_rows(columns: Mapping[str, pa.ChunkedArray], fates: Fates) -> pa.Table:
    """Measured and kept documents by each value of some columns; the rows of `TALLIES`."""
    rows = []
    kept = fates.kept.tolist()
    for kind, column in columns.items():
        names = [name if name else "unknown" for name in column.to_pylist()]
        measured, left = Counter(names), Counter(name for name, k in zip(names, kept, strict=True) if k)
        rows += [
            {"kind": kind, "name": name, "measured": measured[name], "kept": left[name]} for name in sorted(measured)
        ]
    return pa.Table.from_pylist(rows, schema=TALLIES)


def reason_rows(fates: Fates) -> pa.Table:
    """How many documents left by which stage and reason; the rows of `REASONS`."""
    counts = Counter(zip(fates.stage.tolist(), fates.reason.tolist(), strict=True))
    rows = [{"stage": stage, "reason": reason, "n": n} for (stage, reason), n in sorted(counts.items())]
    return pa.Table.from_pylist(rows, schema=REASONS)


def sampled_rows(doc_ids: Sequence[str], fates: Fates, each: int, kept: int) -> list[tuple[str, int]]:
    """(rank, row) of the documents to show: for each stage and reason those with the smallest hash of their id."""
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for row, (stage, reason) in enumerate(zip(fates.stage.tolist(), fates.reason.tolist(), strict=True)):
        groups.setdefault((stage, reason), []).append((rank_of(doc_ids[row]), row))
    chosen: list[tuple[str, int]] = []
    for (stage, _), ranked in sorted(groups.items()):
        chosen += heapq.nsmallest(kept if stage == KEPT_STAGE else each, ranked)
    return chosen


def rank_of(identity: str) -> str:
    """A hash that says nothing about a page, to choose samples by."""
    return hashlib.blake2b(identity.encode(), digest_size=8, person=b"sample").hexdigest()


def skipped_samples(extracted: Artifact, part: int, each: int) -> list[dict[str, Any]]:
    """Samples of what `extract` skipped, by reason, as rows of `SAMPLES`."""
    columns = ["doc_id", "url", "reason", "detail", "warc_file", "warc_offset"]
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for row in extracted.read_part("skipped", part, columns).to_pylist():
        groups.setdefault(row["reason"], []).append((rank_of(f"{row['warc_file']}:{row['warc_offset']}"), row))
    found = []
    for reason, ranked in sorted(groups.items()):
        for rank, row in heapq.nsmallest(each, ranked, key=lambda one: one[0]):
            place = f"{row['warc_file']}:{row['warc_offset']}"
            found.append(
                {
                    "stage": "extract",
                    "reason": reason,
                    "rank": rank,
                    "doc_id": row["doc_id"],
                    "url": row["url"] or place,
                    "verdict": row["detail"],
                    "excerpt": "",
                }
            )
    return found


def masked_excerpt(text: str, chars: int) -> str:
    """The beginning of a text without its blank lines, cut at a word, personal data of every kind masked."""
    text = "\n".join(line for line in text[: 4 * chars].split("\n") if line.strip()).strip()
    if len(text) > chars:
        cut = text.rfind(" ", 0, chars)
        text = text[: cut if cut > chars // 2 else chars].rstrip() + " …"
    return mask(text, edits(text))


def summed(tables: Iterable[pa.Table], keys: Sequence[str], values: Sequence[str]) -> pa.Table:
    """Rows of several parts with equal keys added up, in the order of the keys."""
    whole = pa.concat_tables(tables)
    grouped = whole.group_by(list(keys)).aggregate([(value, "sum") for value in values])
    renamed = grouped.rename_columns([name.removesuffix("_sum") for name in grouped.column_names])
    order = pc.sort_indices(renamed, sort_keys=[(key, "ascending") for key in keys])
    return renamed.take(order)
