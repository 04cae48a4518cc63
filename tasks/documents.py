"""The only reader of text: the documents that an artifact stands for, resolved through its lineage.

`extract` writes every document once and `measure` its cleaned text, row by row the same documents. The stages after
them write only which rows they keep and what they add. `open_part(ref, k, columns)` puts it together again: the rows of
part k that `ref` keeps, in row order, with any column that `ref` or an ancestor holds, found nearest first.

    part, row    where a document is: `row` counts the rows of the base text's part. Both are stable identities;
                 `doc_id` may repeat (the same record in two files).
    spans        edits to the measured text, in code points: (row, start, end, replacement). A cut (empty replacement)
                 beats a mask, the longer beats the shorter; `apply_spans` applies what is left.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.errors import BadInput
from infra.store import Artifact
from tasks.extract.records import part_borders

BASE = "documents"  # table with one row a document
KEPT = "kept"  # table with the rows that a stage keeps
SPANS = "spans"  # table of edits
SCORES = "scores"  # table of what classifiers said; its column `named` maps further names to numbers
IDENTITY = ("doc_id", "part", "row")


class Documents(Artifact):
    """Role: anything that stands for a set of documents."""

    accepts = (
        "extract",
        "imported",
        "measure",
        "filter",
        "score",
        "select",
        "signatures",
        "dedup",
        "pii",
        "decontaminate",
        "mix",
    )


@dataclass(frozen=True)
class Step:
    """One artifact of the lineage and the number that the asked-for part has there."""

    artifact: Artifact
    part: int


def part_count(ref: Artifact) -> int:
    """How many parts the documents of `ref` come in."""
    return ref.part_count


def open_part(ref: Artifact, part: int, columns: Sequence[str] = (), *, edits: bool = True) -> pa.Table:
    """The documents of part `part` that `ref` keeps.

    Args:
        columns: wanted besides doc_id, part and row, which always come first.
        edits: apply the lineage's spans to `text`.

    Returns:
        One row a kept document, in row order.

    Raises:
        BadInput: no artifact in the lineage has such a column, or such a part.
    """
    steps = lineage(ref, part)
    kept = _kept_rows(steps)
    found: dict[str, pa.ChunkedArray | pa.Array] = {}
    for name in columns:
        if name not in IDENTITY and name not in found:
            found[name] = _column(steps, name, kept, ref)
    if edits and "text" in found:
        found["text"] = _edited(steps, kept, found["text"])
    identity = {
        "doc_id": _column(steps, "doc_id", kept, ref),
        "part": pa.array(np.full(len(kept), part, dtype=np.int32)),
        "row": pa.array(kept, type=pa.int32()),
    }
    return pa.table({**identity, **found})


def iter_documents(ref: Artifact, columns: Sequence[str] = ()) -> Iterator[pa.Table]:
    """`open_part` of every part in order."""
    for part in range(part_count(ref)):
        yield open_part(ref, part, columns)


def columns_of(ref: Artifact) -> list[str]:
    """Every column that `open_part` can give."""
    names: dict[str, None] = dict.fromkeys(IDENTITY)
    for step in lineage(ref, 0):
        for table in (KEPT, BASE):
            if step.artifact.has_table(table):
                names.update(dict.fromkeys(step.artifact.columns(table)))
        names.update(dict.fromkeys(_scored(step.artifact)))
    return list(names)


def apply_spans(text: str, spans: Sequence[tuple[int, int, str]]) -> str:
    """Apply edits to a text.

    Args:
        spans: (start, end, replacement) in code points of `text`, in any order. Of two that overlap a cut (empty
            replacement) beats a mask, then the longer the shorter, then the earlier the later.
    """
    chosen: list[tuple[int, int, str]] = []
    starts: list[int] = []  # of the chosen, ascending: they lie apart, so that the n-th start goes with the n-th end
    ends: list[int] = []
    for start, end, replacement in sorted(set(spans), key=lambda s: (s[2] != "", s[0] - s[1], s)):
        if bisect_right(ends, start) >= bisect_left(starts, end):  # each chosen one ends before it or begins after it
            chosen.append((start, end, replacement))
            insort(starts, start)
            insort(ends, end)
    pieces, position = [], 0
    for start, end, replacement in sorted(chosen):
        pieces.append(text[position:start] + replacement)
        position = end
    return "".join(pieces) + text[position:]


def lineage(ref: Artifact, part: int, *, through_mix: bool = False) -> list[Step]:
    """`ref` and the document-bearing artifacts it comes from, nearest first, ending with the base text's source.

    Each with the number that part `part` of `ref` has there: an artifact over several corpora numbers their parts one
    corpus after the other. What follows `mix` reads its text only, so a lineage ends there unless it is asked to go
    `through_mix`.
    """
    steps = [Step(ref, part)]
    while True:
        step = steps[-1]
        parents = step.artifact.manifest.parents
        role = next((name for name in ("documents", "signatures") if name in parents), None)
        if role is None or (step.artifact.stage == "mix" and not through_mix):
            return steps
        steps.append(_parent_step(step, role))


def crawl_file(base: Step, name: str) -> str:
    """Where the file `name` lay that a part of an `extract` was cut from: two files of a crawl may have one name.

    The name alone where the crawl's files were an artifact's, or the base is no extract.
    """
    files = base.artifact.manifest.inputs.get("crawl", [])
    size = base.artifact.manifest.params.get("part_bytes")
    if not files or size is None:
        return name
    cut = [file.path for file in files for _ in part_borders(file.bytes, size)]
    return cut[base.part]


def _parent_step(step: Step, role: str) -> Step:
    """The parent that holds the step's part: parts of several parents are numbered one parent after the other."""
    part = step.part
    for parent in step.artifact.parents(role):
        if part < parent.part_count:
            return Step(parent, part)
        part -= parent.part_count
    raise BadInput(f"{step.artifact.ref} has no part {step.part}")


def _kept_rows(steps: Sequence[Step]) -> np.ndarray:
    """Rows of the base that the nearest artifact keeps, ascending, int32."""
    for step in steps:
        if step.artifact.has_table(KEPT):
            return step.artifact.read_part(KEPT, step.part, ["row"]).column("row").to_numpy().astype(np.int32)
        if step.artifact.stage == "mix":
            return step.artifact.read_part(BASE, step.part, ["row"]).column("row").to_numpy().astype(np.int32)
        if step.artifact.has_table(BASE):
            rows = step.artifact.read_part(BASE, step.part, ["doc_id"]).num_rows
            return np.arange(rows, dtype=np.int32)
    raise BadInput(f"{steps[0].artifact.ref} does not stand for documents")


def _column(steps: Sequence[Step], name: str, kept: np.ndarray, ref: Artifact) -> pa.ChunkedArray:
    for step in steps:
        if name in _scored(step.artifact):
            return _score(step, name, kept)
        for table in (KEPT, BASE, "signatures"):
            if not step.artifact.has_table(table) or name not in step.artifact.columns(table):
                continue
            own_rows = "row" in step.artifact.columns(table)
            rows = step.artifact.read_part(table, step.part, ["row", name] if own_rows else [name])
            if own_rows:  # rows of this table are a superset of the kept ones, both ascending
                places = np.searchsorted(rows.column("row").to_numpy(), kept)
            else:
                places = kept
            return rows.column(name).take(pa.array(places))
    raise BadInput(f"{ref.ref} and its lineage hold no column {name!r}; there are: {', '.join(columns_of(ref))}")


def _scored(artifact: Artifact) -> list[str]:
    """The scores that an artifact holds: of the columns of its table those that a classifier filled."""
    return list(artifact.manifest.metrics["scores"]) if artifact.has_table(SCORES) else []


def _score(step: Step, name: str, kept: np.ndarray) -> pa.ChunkedArray:
    own_column = name in step.artifact.columns(SCORES)
    rows = step.artifact.read_part(SCORES, step.part, ["row", name if own_column else "named"])
    column = rows.column(1) if own_column else pc.map_lookup(rows.column(1), query_key=name, occurrence="first")
    return column.take(pa.array(np.searchsorted(rows.column("row").to_numpy(), kept)))


def _edited(steps: Sequence[Step], kept: np.ndarray, text: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    by_row: dict[int, list[tuple[int, int, str]]] = {}
    for step in steps:
        if step.artifact.has_table(SPANS):
            table = step.artifact.read_part(SPANS, step.part, ["row", "start", "end", "replacement"])
            for edit in table.to_pylist():
                by_row.setdefault(edit["row"], []).append((edit["start"], edit["end"], edit["replacement"]))
    if not by_row:
        return text
    texts = text.to_pylist()
    for place, row in enumerate(kept.tolist()):
        if row in by_row:
            texts[place] = apply_spans(texts[place], by_row[row])
    return pa.array(texts, type=text.type)
