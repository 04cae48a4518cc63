"""Both directions between pages and training rows, against what the loader really shows."""

import json
from typing import Any

import pyarrow as pa
import pytest
from pydantic import Field

from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, Stage
from infra.store import Artifact
from model.batching import sample_rows
from model.data import TokenRows
from tasks.encoding import Encoder
from tasks.exposure import OWN_ORDER_UNTIL, exposures, trace
from tasks.pretrain import pretrain
from tasks.tokenizer import TokenizerParams, train_tokenizer
from tasks.tokens.files import prefixes, token_files
from tasks.tokens.stage import TokensParams, tokens

PLACES = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("captured_at", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
        ("text", pa.string()),
    ]
)
FINAL = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("text", pa.string()),
        ("split", pa.string()),
        ("domain", pa.string()),
        ("n_bytes", pa.int64()),
        ("language", pa.string()),
    ]
)
N_DOCUMENTS = 30
HELD_OUT = 7  # this document is in the validation split


class NoParams(Params):
    """None."""


class RunParams(Params):
    batch_size: int = 4
    seq_len: int = 16
    seed: int = 5
    exported_steps: tuple[int, ...] = ()
    skipped: tuple[int, ...] = ()
    phases: tuple[dict[str, Any], ...] = ()
    mixture: dict[str, float] | str = "natural"
    optim: dict[str, Any] = Field(default_factory=dict)


def _extract(params: NoParams, out: Draft) -> None:
    rows = [
        {
            "doc_id": f"{k:032x}",
            "url": f"http://a.sample/{k}",
            "captured_at": "2026-09-01",
            "warc_file": "one.warc.gz",
            "warc_offset": 100 * k,
            "warc_length": 100,
            "text": f"Page {k} tells of {'many ' * (k % 5)}things, {k * k} in all.",
        }
        for k in range(N_DOCUMENTS)
    ]
    out.write("documents", pa.Table.from_pylist(rows, schema=PLACES))
    out.count("documents", N_DOCUMENTS, out=N_DOCUMENTS)


def _mix(documents: Artifact, params: NoParams, out: Draft) -> None:
    texts = documents.read_table("documents", ["doc_id", "text"]).to_pylist()
    rows = [
        {
            **row,
            "row": k,
            "split": "validation" if k == HELD_OUT else "train",
            "domain": "general",
            "n_bytes": len(row["text"]),
            "language": "en",
        }
        for k, row in enumerate(texts)
    ]
    out.write("documents", pa.Table.from_pylist(rows, schema=FINAL))
    out.count("documents", N_DOCUMENTS, out=N_DOCUMENTS)


def _pretrain(tokens: Artifact, params: RunParams, out: Draft) -> None:
    out.metrics["steps"] = 9
    if params.exported_steps:
        out.metrics["exported_steps"] = list(params.exported_steps)
    if params.skipped:
        skipped = [sum(step <= now for step in params.skipped) for now in range(1, 10)]
        out.metrics["skipped_steps"] = skipped[-1]
        rows = [{"step": step, "skipped_steps": n} for step, n in enumerate(skipped, start=1)]
        out.path("metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out.count("tokens", 1, out=1)


def _stage(function, name, tables=None):
    return Stage(function, name=name, version=0, libraries=(), tables=tables or {}, one_to_one=False, fingerprint=None)


@pytest.fixture
def road(store):
    extracted = _stage(_extract, "extract", {"documents": PLACES}).run(store)
    mixed = _stage(_mix, "mix", {"documents": FINAL}).run(store, documents=extracted)
    vocabulary = train_tokenizer.run(store, documents=mixed, params=TokenizerParams(vocab_size=300))
    tokenized = tokens.run(store, documents=mixed, tokenizer=vocabulary, params=TokensParams())
    model = _stage(_pretrain, "pretrain").run(store, tokens=tokenized)
    return store, mixed, tokenized, model


def rows_shown(tokenized, model):
    """step -> row of the batch -> labels, by the loader itself."""
    size, seed = model.manifest.params["batch_size"], model.manifest.params["seed"]
    rows = TokenRows(prefixes(tokenized, token_files(tokenized, "train")), model.manifest.params["seq_len"])
    for step in range(model.manifest.metrics["steps"]):
        for place, row in enumerate(sample_rows(step * size, size, len(rows), seed)):
            yield step, place, rows[int(row)]


def test_a_model_of_phases_is_traced_whatever_its_rates_are(road):
    """What rows are shown does not depend on the optimizer, without which a last phase down to 0 would be refused."""
    store, _, tokenized, _ = road
    phases = ({"name": "main", "steps": 6}, {"name": "anneal", "steps": 3, "rate": {"end": 0}})
    params = RunParams(phases=phases, optim={"min_lr_ratio": 0.1})
    model = _stage(_pretrain, "pretrain").run(store, tokens=tokenized, params=params)
    for place in ("1:0", "9:3"):
        assert trace(model, place)
    assert any(made.ref == model.ref for made in exposures(store, road[1], 0, 0))


def test_a_model_whose_rows_came_in_an_order_of_before_is_not_told_wrongly(road):
    store, mixed, tokenized, model = road
    phases = ({"name": "main", "steps": 6}, {"name": "anneal", "steps": 3, "max_epochs": 2.0})
    drawn = RunParams(phases=phases, mixture={"general": 1})

    def made(version, params):
        stage = Stage(
            _pretrain, name="pretrain", version=version, libraries=(), tables={}, one_to_one=False, fingerprint=None
        )
        return stage.run(store, tokens=tokenized, params=params)

    assert pretrain.stage_version == OWN_ORDER_UNTIL + 1  # raised for it, so that no version has both orders
    older = made(OWN_ORDER_UNTIL, drawn)
    with pytest.raises(BadInput, match="made by an older Sluice, in which a limit of epochs gave a phase an order"):
        trace(older, "9:3")
    seen = {made.ref: made for made in exposures(store, mixed, 0, 0)}
    assert seen[older.ref].text.startswith("not known: ") and seen[model.ref].text.startswith("seen ")
    assert trace(made(OWN_ORDER_UNTIL + 1, drawn), "9:3")
    assert trace(made(OWN_ORDER_UNTIL, RunParams(phases=phases)), "9:3")  # all text as one: the order was the same
    for phase in phases:
        phase["max_epochs"] = 2.0
    assert trace(made(OWN_ORDER_UNTIL, RunParams(phases=phases, mixture={"general": 1})), "9:3")


def test_a_row_of_a_step_leads_to_the_documents_whose_tokens_it_holds(road):
    _, mixed, tokenized, model = road
    encoder = Encoder.load(tokenized.parent("tokenizer").path / "data")
    texts = {row["doc_id"]: row["text"] for row in mixed.read_table("documents").to_pylist()}
    for step, place, shown in list(rows_shown(tokenized, model))[::5]:
        origins = trace(model, f"{step + 1}:{place}")  # steps are told from 1 on
        whole = "".join(texts[origin.doc_id] + "<|endoftext|>" for origin in origins)
        assert encoder.decode(shown.tokens.tolist()).replace("<|endoftext|>", "") in whole.replace("<|endoftext|>", "")
        assert all(origin.url == f"http://a.sample/{int(origin.doc_id, 16)}" for origin in origins)
        assert all(origin.warc_offset == 100 * int(origin.doc_id, 16) for origin in origins)


def test_a_document_is_seen_in_exactly_the_steps_that_predict_one_of_its_tokens(road):
    store, mixed, tokenized, _ = road
    for row in (0, 3, N_DOCUMENTS - 1):
        (span,) = [e.details for e in exposures(store, mixed, 0, row) if e.stage == "tokens"]
        (seen,) = [e.details for e in exposures(store, mixed, 0, row) if e.stage == "pretrain"]
        order = RunParams()
        stream = TokenRows(prefixes(tokenized, token_files(tokenized, "train")), order.seq_len)
        mine = set(range(span["token_start"], span["token_end"]))
        expected = []
        for step in range(9):
            for number in sample_rows(step * order.batch_size, order.batch_size, len(stream), order.seed):
                labels = range(int(number) * order.seq_len + 1, (int(number) + 1) * order.seq_len + 1)
                expected += [step + 1] * bool(mine & set(labels))
        assert seen["steps"] == expected


def test_a_model_has_not_seen_what_came_after_its_exported_step_or_in_a_skipped_one(road):
    store, mixed, tokenized, whole = road
    row = 3
    (all_steps,) = [e.details["steps"] for e in exposures(store, mixed, 0, row) if e.ref == whole.ref]
    assert len(all_steps) >= 2
    (first, *_, last) = all_steps
    run = _stage(_pretrain, "pretrain").run
    best = run(store, tokens=tokenized, params=RunParams(exported_steps=(last - 1,)))
    average = run(store, tokens=tokenized, params=RunParams(exported_steps=(first, last)))
    skipping = run(store, tokens=tokenized, params=RunParams(skipped=(first,)))
    early = run(store, tokens=tokenized, params=RunParams(exported_steps=(max(first - 1, 1),), skipped=(1,)))
    seen = {e.ref: e for e in exposures(store, mixed, 0, row) if e.stage == "pretrain"}
    assert seen[best.ref].details["steps"] == [step for step in all_steps if step < last]
    assert f"by step {last - 1}:" in seen[best.ref].text
    assert seen[average.ref].details["steps"] == all_steps
    assert seen[skipping.ref].details["steps"] == [step for step in all_steps if step != first]
    assert "not seen in its" in seen[early.ref].text


def test_a_held_out_document_was_never_seen(road):
    store, mixed, _, _ = road
    (seen,) = [one for one in exposures(store, mixed, 0, HELD_OUT) if one.stage == "pretrain"]
    assert "held out" in seen.text and seen.details["steps"] == []


def test_a_token_leads_to_its_record(road):
    _, _, tokenized, _ = road
    (origin,) = trace(tokenized, "general/train:0")
    assert (origin.doc_id, origin.warc_offset, origin.text_start[:6]) == (f"{0:032x}", 0, "Page 0")


@pytest.mark.parametrize(
    ("stage", "place", "message"),
    [
        ("tokens", "12", "give DOMAIN/SPLIT:OFFSET"),
        ("tokens", "general/test:0", "holds no general/test"),
        ("tokens", "general/train:999999", "which has"),
        ("pretrain", "general/train:0", "give STEP:ROW"),
        ("pretrain", "10:0", "was trained for 9 steps, 1 to 9"),
        ("pretrain", "0:0", "was trained for 9 steps, 1 to 9"),
        ("pretrain", "9:4", "step 9 has rows 0 to 3"),
        ("mix", "0:0", "trace starts at an artifact of tokens or pretrain"),
    ],
)
def test_a_place_that_does_not_exist_is_one_line(road, stage, place, message):
    store, *_ = road
    with pytest.raises(BadInput, match=message):
        trace(store.open(stage), place)
