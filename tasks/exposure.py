"""Which data is in this model? From a training row back to WARC records, and from a page to the steps that saw it.

Both directions rest on one fact: which rows a step shows is a pure function of the seed and the step
(`model/batching.py`), and which tokens a row holds, and whose they are, is in the tokens artifact.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow.compute as pc

from infra.errors import BadInput
from infra.store import Artifact, Store
from infra.store.maintenance import children
from model.batching import sample_rows
from tasks.documents import open_part
from tasks.tokens.files import token_files
from tasks.tokens.trace import Position, TracedDocument, parse_stream, position_of, row_documents

STREAM_PLACE = re.compile(r"(?P<stream>[^:]+):(?P<offset>\d+)")
STEP_PLACE = re.compile(r"(?P<step>\d+):(?P<row>\d+)")
TEXT_START = 80  # characters of a document that are shown
SAMPLES_AT_ONCE = 1 << 20  # of a long run, so that memory stays bounded


@dataclass(frozen=True)
class Order:
    """What fixes which rows a pretraining run showed, and when."""

    steps: int
    batch_size: int
    seq_len: int
    seed: int

    @classmethod
    def of(cls, model: Artifact) -> "Order":
        """The order of a pretrain artifact."""
        params, metrics = model.manifest.params, model.manifest.metrics
        if params.get("phases") or params.get("batch_ramp"):
            raise BadInput(f"{model.ref} was trained in phases or with growing batches: its rows cannot be traced yet")
        return cls(metrics["steps"], params["batch_size"], params["seq_len"], params["seed"])


@dataclass(frozen=True)
class Origin:
    """A stretch of tokens, the document it is of, and the WARC record that the document was in."""

    file: str
    split: str
    token_start: int  # of the document in its file
    token_end: int
    doc_id: str
    part: int
    row: int
    url: str
    captured_at: str
    warc_path: str
    warc_offset: int
    warc_length: int
    text_start: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Exposure:
    """Something that was made from a document."""

    stage: str
    ref: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)


def trace(artifact: Artifact, place: str) -> list[Origin]:
    """From a place in tokens, or in training, to documents and WARC records.

    Args:
        artifact: tokens with `DOMAIN/SPLIT:OFFSET` (a token), or pretrain with `STEP:ROW` (a row of a global batch;
            steps and rows count from 0).

    Raises:
        BadInput: the place does not fit the artifact or is outside of it.
    """
    if artifact.stage == "tokens":
        match = STREAM_PLACE.fullmatch(place)
        if match is None:
            raise BadInput(f"{place}: for {artifact.ref} give DOMAIN/SPLIT:OFFSET, such as general/train:1234")
        domain, split = parse_stream(match["stream"])
        offset = int(match["offset"])
        return _origins(artifact, Position(split, offset, offset + 1, domain))
    if artifact.stage == "pretrain":
        match = STEP_PLACE.fullmatch(place)
        if match is None:
            raise BadInput(f"{place}: for {artifact.ref} give STEP:ROW, such as 100:3")
        order, step = Order.of(artifact), int(match["step"])
        if step >= order.steps:
            raise BadInput(f"{place}: {artifact.ref} was trained for {order.steps} steps, 0 to {order.steps - 1}")
        tokens = artifact.parent("tokens")
        position = position_of(
            tokens,
            step=step,
            row=int(match["row"]),
            batch_size=order.batch_size,
            seq_len=order.seq_len,
            seed=order.seed,
        )
        return _origins(tokens, position)
    raise BadInput(f"{artifact.ref}: trace starts at an artifact of tokens or pretrain")


def exposures(store: Store, mix: Artifact, part: int, row: int) -> Iterator[Exposure]:
    """Token files and models that a document of a mix went into, and when each model saw it."""
    for manifest in children(store, mix.ref):
        if manifest.stage != "tokens":
            continue
        tokens = store.open(manifest.ref)
        spans = _token_spans(tokens, part, row)
        for span in spans:
            text = f"tokens {span.token_start:,}..{span.token_end:,} of {span.file}"
            yield Exposure("tokens", tokens.ref, text, asdict(span))
        for child in children(store, tokens.ref):
            if child.stage == "pretrain":
                yield _seen(store.open(child.ref), tokens, spans)


def _token_spans(tokens: Artifact, part: int, row: int) -> list[TracedDocument]:
    found: list[TracedDocument] = []
    columns = ["doc_id", "part", "row", "domain", "split", "file", "token_start", "token_end"]
    for table in tokens.iter_parts("documents", columns):
        mine = table.filter(pc.and_(pc.equal(table.column("part"), part), pc.equal(table.column("row"), row)))
        found.extend(TracedDocument(**entry, offset=0) for entry in mine.to_pylist())
    return found


def _seen(model: Artifact, tokens: Artifact, spans: list[TracedDocument]) -> Exposure:
    """When a model saw the training spans of a document."""
    if model.manifest.params.get("phases") or model.manifest.params.get("batch_ramp"):
        return Exposure("pretrain", model.ref, "trained on these files in phases: by step this is not known", {})
    order = Order.of(model)
    rows = _rows_of(tokens, [span for span in spans if span.split == "train"], order.seq_len)
    steps = steps_showing(rows, _row_total(tokens, order.seq_len), order)
    if not rows:
        return Exposure("pretrain", model.ref, "never seen: held out of training", {"steps": []})
    if not steps:
        return Exposure("pretrain", model.ref, f"not seen in its {order.steps:,} steps", {"steps": []})
    shown = ", ".join(map(str, steps[:8])) + (" …" if len(steps) > 8 else "")
    times = len(steps) / len(rows)
    text = f"seen {times:.1f} times by step {order.steps:,}: its {len(rows)} rows {len(steps)} times, in steps {shown}"
    return Exposure("pretrain", model.ref, text, {"steps": steps, "rows": rows})


def steps_showing(rows: list[int], n_rows: int, order: Order) -> list[int]:
    """The steps of a run in which any of these rows was shown, once for each time, in order."""
    steps: list[int] = []
    total = order.steps * order.batch_size
    for first in range(0, total if rows else 0, SAMPLES_AT_ONCE):
        shown = sample_rows(first, min(SAMPLES_AT_ONCE, total - first), n_rows, order.seed)
        steps.extend(((np.flatnonzero(np.isin(shown, rows)) + first) // order.batch_size).tolist())
    return steps


def _row_total(tokens: Artifact, seq_len: int) -> int:
    return max(0, sum(file.tokens for file in token_files(tokens, "train")) - 1) // seq_len


def _rows_of(tokens: Artifact, spans: list[TracedDocument], seq_len: int) -> list[int]:
    """The training rows that predict a token of the spans: row r predicts tokens r T + 1 … r T + T of the stream."""
    if not spans:
        return []
    files = token_files(tokens, "train")
    before = accumulate((file.tokens for file in files), initial=0)
    starts = dict(zip((file.file for file in files), before, strict=False))
    last_row = _row_total(tokens, seq_len) - 1
    rows: set[int] = set()
    for span in spans:
        first, end = starts[span.file] + span.token_start, starts[span.file] + span.token_end
        rows.update(range(max(first - 1, 0) // seq_len, min((end - 2) // seq_len, last_row) + 1))
    return sorted(rows)


def _origins(tokens: Artifact, position: Position) -> list[Origin]:
    mix = tokens.parent("documents")
    inputs = [files for artifact in mix.ancestors() for files in artifact.manifest.inputs.values()]
    paths = {file.name: file.path for files in inputs for file in files}
    return [_origin(found, mix, paths) for found in row_documents(tokens, position)]


def _origin(found: TracedDocument, mix: Artifact, paths: dict[str, str]) -> Origin:
    base = mix.parent("documents")
    columns = ["url", "captured_at", "warc_file", "warc_offset", "warc_length"]
    table = open_part(base, found.part, columns)
    place = table.filter(pc.equal(table.column("row"), found.row)).to_pylist()[0]
    text = open_part(mix, found.part, ["text"])
    start = text.filter(pc.equal(text.column("row"), found.row)).column("text")[0].as_py()[:TEXT_START]
    return Origin(
        file=found.file,
        split=found.split,
        token_start=found.token_start,
        token_end=found.token_end,
        doc_id=found.doc_id,
        part=found.part,
        row=found.row,
        url=place["url"],
        captured_at=str(place["captured_at"]),
        warc_path=paths.get(place["warc_file"], place["warc_file"]),
        warc_offset=place["warc_offset"],
        warc_length=place["warc_length"],
        text_start=start,
    )
