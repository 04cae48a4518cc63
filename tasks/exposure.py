"""Which data is in this model? From a training row back to WARC records, and from a page to the steps that saw it.

Both directions rest on one fact: which rows a step shows is a pure function of the run's parameters and the step
(`tasks/course.py`), and which tokens a row holds, and whose they are, is in the tokens artifact. What the weights have
learnt from is less where an earlier step's are exported, or where outlying steps were skipped.

Steps count from 1, as in metrics.jsonl, logs and checkpoints; rows of a batch from 0, as rows of a table.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow.compute as pc

from infra.errors import BadInput
from infra.store import Artifact, Store
from infra.store.maintenance import children
from model.metrics import read_rows
from tasks.course import Shown, shown
from tasks.documents import crawl_file, lineage, open_part
from tasks.row_order import RowOrder
from tasks.tokens.files import ANNEAL, Tokens
from tasks.tokens.trace import Position, TracedDocument, parse_stream, row_documents
from tasks.training import METRICS

STREAM_PLACE = re.compile(r"(?P<stream>[^:]+):(?P<offset>\d+)")
STEP_PLACE = re.compile(r"(?P<step>\d+):(?P<row>\d+)")
TEXT_START = 80  # characters of a document that are shown
OWN_ORDER_UNTIL = 3  # versions of `pretrain` in which a phase's own limit of epochs began the order of its rows anew


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
        artifact: tokens with `DOMAIN/SPLIT:OFFSET` (a token), or pretrain with `STEP:ROW` (a row of a global batch).

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
        run, step = shown_by(artifact), int(match["step"])
        if not 1 <= step <= run.course.steps:
            raise BadInput(f"{place}: {artifact.ref} was trained for {run.course.steps} steps, 1 to {run.course.steps}")
        return _origins(artifact.parent("tokens"), run.position(step - 1, int(match["row"])))
    raise BadInput(f"{artifact.ref}: trace starts at an artifact of tokens or pretrain")


def shown_by(model: Artifact) -> Shown:
    """What a pretrain artifact was shown, from its parameters.

    Raises:
        BadInput: an older version made it, whose rows came in an order that this one does not know.
    """
    given = {name: value for name, value in model.manifest.params.items() if name in RowOrder.model_fields}
    order = RowOrder.model_validate(given)
    tokens = model.parent("tokens")
    run = shown(order, Tokens(tokens.store, tokens.manifest), model.manifest.metrics["steps"])
    if model.manifest.code.stage_version <= OWN_ORDER_UNTIL and _had_more_orders(order, run):
        raise BadInput(
            f"{model.ref} was made by an older Sluice, in which a limit of epochs gave a phase an order of rows of its"
            f" own: ask that one (git {model.manifest.code.git_sha or 'unknown'})"
        )
    return run


def _had_more_orders(order: RowOrder, run: Shown) -> bool:
    """Whether phases that draw from one order of rows differ in the limit that their mixtures once carried."""
    limits = [
        order.max_epochs if phase.mixture is None and phase.max_epochs is None else phase.max_epochs
        for phase in order.phases
    ]
    once = [(reading, str(limit)) for reading, limit in zip(run.readings, limits, strict=False) if reading.shares]
    return len({*once}) > len({reading for reading, _ in once})


def last_step(model: Artifact) -> int:
    """The step whose weights a pretrain artifact holds, of an average the last of them; counted from 1."""
    metrics = model.manifest.metrics
    return max(metrics.get("exported_steps") or [metrics["steps"]])


def skipped_steps(model: Artifact) -> set[int]:
    """The steps that changed no weight since they were outliers, counted from 1: where their number rises."""
    if not model.manifest.metrics.get("skipped_steps"):
        return set()
    rows = read_rows(model.file(METRICS))
    counts = [0, *(row["skipped_steps"] for row in rows)]
    return {row["step"] for before, row in zip(counts, rows, strict=False) if row["skipped_steps"] > before}


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
                yield _seen(store.open(child.ref), spans)


def _token_spans(tokens: Artifact, part: int, row: int) -> list[TracedDocument]:
    found: list[TracedDocument] = []
    columns = ["doc_id", "part", "row", "domain", "split", "file", "token_start", "token_end"]
    for table in tokens.iter_parts("documents", columns):
        mine = table.filter(pc.and_(pc.equal(table.column("part"), part), pc.equal(table.column("row"), row)))
        found.extend(TracedDocument(**entry, offset=0) for entry in mine.to_pylist())
    return found


def _seen(model: Artifact, spans: list[TracedDocument]) -> Exposure:
    """When a model saw the spans of a document, as far as its weights have learnt from it."""
    try:
        run, last = shown_by(model), last_step(model)
    except BadInput as error:  # of this model; the others can be told
        return Exposure("pretrain", model.ref, f"not known: {error}", {"steps": None})
    without = skipped_steps(model)
    rows = run.rows_of(spans)
    by_stream = [
        [step + 1 for step in found if step < last and step + 1 not in without] for found in run.steps_showing(rows)
    ]
    steps = sorted(step for found in by_stream for step in found)
    if not any(span.split in ("train", ANNEAL) for span in spans):
        return Exposure("pretrain", model.ref, "never seen: held out of training", {"steps": []})
    if not any(rows):
        return Exposure("pretrain", model.ref, "never seen: not among what it learned from", {"steps": []})
    if not steps:
        return Exposure("pretrain", model.ref, f"not seen in its {last:,} steps", {"steps": []})
    listed = ", ".join(map(str, steps[:8])) + (" …" if len(steps) > 8 else "")
    times = sum(len(found) / len(own) for found, own in zip(by_stream, rows, strict=True) if own)
    n_rows = sum(map(len, rows))
    text = f"seen {times:.1f} times by step {last:,}: its {n_rows} rows {len(steps)} times, in steps {listed}"
    return Exposure("pretrain", model.ref, text, {"steps": steps, "rows": rows[0] if len(rows) == 1 else rows})


def _origins(tokens: Artifact, position: Position) -> list[Origin]:
    mix = tokens.parent("documents")
    return [_origin(found, mix) for found in row_documents(tokens, position)]


def _origin(found: TracedDocument, mix: Artifact) -> Origin:
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
        warc_path=crawl_file(lineage(mix, found.part, through_mix=True)[-1], place["warc_file"]),
        warc_offset=place["warc_offset"],
        warc_length=place["warc_length"],
        text_start=start,
    )
