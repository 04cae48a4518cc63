"""A road in miniature without crawl, Spark or training: real tokenizer and tokens, made-up documents and models.

What the tests of `evaluate` and `report` stand on. Models are small random networks; each later one is the one before
it with a little noise, so that everything differs and nothing takes time.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import torch

from infra.params import Params
from infra.stage import Draft, Stage
from infra.store import Artifact, Store
from model.config import ModelConfig
from model.hf import load_hf, save_hf
from model.transformer import Transformer
from tasks.encoding import TOKENIZER_FILE, Encoder, write_hf_tokenizer
from tasks.tokenizer import TokenizerParams, train_tokenizer
from tasks.tokens import TokensParams, tokens

SUBJECTS = ["array", "heap", "queue", "socket", "thread", "parser", "window", "stream", "buffer", "kernel"]
NASTY = "<script>alert('x')</script>"
MIX = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("url", pa.string()),
        ("site", pa.string()),
        ("captured_at", pa.timestamp("us", tz="UTC")),
        ("text", pa.string()),
        ("split", pa.string()),
        ("domain", pa.string()),
        ("quality", pa.float32()),
        ("n_bytes", pa.int64()),
        ("language", pa.string()),
    ]
)


class Nothing(Params):
    """No parameters."""


class ModelParams(Params):
    seed: int = 0
    noise: float = 0.0


def _stage(function, name: str, tables=None) -> Stage:
    # Made here and not by `@stage`: the registry holds the real ones.
    return Stage(function, name=name, version=0, libraries=(), tables=tables or {}, one_to_one=False, fingerprint=None)


def _documents() -> Iterator[dict[str, object]]:
    for k in range(40):
        subject = SUBJECTS[k % len(SUBJECTS)]
        text = f"The {subject} number {k} returns its size. A {subject} is closed after use, and {k} others wait."
        yield {
            "doc_id": f"{k:032x}",
            "row": k,
            "url": f"http://site{k % 3}.sample/{k}",
            "site": f"site{k % 3}.sample" if k else NASTY,
            "captured_at": datetime(2026, 9, 1, tzinfo=UTC) + timedelta(days=k),
            "text": text,
            "split": ("train", "train", "train", "test", "validation")[k % 5],
            "domain": "general",
            "quality": None,
            "n_bytes": len(text.encode()),
            "language": "en" if k % 4 else "de",
        }


def _write_mix(params: Nothing, out: Draft) -> None:
    rows = list(_documents())
    out.write("documents", pa.Table.from_pylist(rows, schema=MIX))
    out.count("documents", len(rows) + 3, dropped={"too_short_after_edits": 3}, out=len(rows))


def _write_chat(documents: Artifact, params: Nothing, out: Draft) -> None:
    questions = [
        {
            "messages": [
                {"role": "user", "content": f"What does the {subject} do?" if k else NASTY},
                {"role": "assistant", "content": f"The {subject} returns its size."},
            ]
        }
        for k, subject in enumerate(SUBJECTS)
    ]
    questions.append({"messages": [{"role": "user", "content": "long " * 200}, questions[0]["messages"][1]]})
    pairs = [
        {
            "prompt": row["messages"][:1],
            "chosen": row["messages"][1:],
            "rejected": [{"role": "assistant", "content": "No."}],
        }
        for row in questions
    ]
    for name, rows in (("test.jsonl", questions), ("preferences-test.jsonl", pairs)):
        out.path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out.count("documents", 40, dropped={"no_question": 30}, out=len(questions), out_unit="conversations")


def _save(network: Transformer, tokenizer: Path, out: Draft, chat: bool) -> None:
    folder = out.path("model/config.json").parent
    save_hf(network, folder)
    write_hf_tokenizer(tokenizer, folder, chat=chat)
    rows = [{"step": k, "loss": 5.0 / k, "tokens": 100 * k} for k in range(1, 11)]
    rows[-1]["val_loss"] = 0.7
    out.path("metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out.count("tokens", 1000, out=1, out_unit="model")


def _pretrain(tokens: Artifact, tokenizer: Artifact, params: ModelParams, out: Draft) -> None:
    folder = tokenizer.file(TOKENIZER_FILE).parent
    shape = ModelConfig(
        vocab_size=Encoder.load(folder).vocab_size,
        hidden_size=32,
        n_layers=1,
        n_heads=2,
        n_kv_heads=1,
        intermediate_size=32,
        max_seq_len=96,
        init_std=0.2,
    )
    _save(Transformer(shape, seed=params.seed), folder, out, chat=False)


def _tune(model: Artifact, chat: Artifact, params: ModelParams, out: Draft) -> None:
    folder = model.file("model/config.json").parent
    network = load_hf(folder)
    generator = torch.Generator().manual_seed(params.seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += params.noise * torch.randn(parameter.shape, generator=generator)
    _save(network, folder, out, chat=True)


def little_road(store: Store) -> dict[str, Artifact]:
    """Every artifact that `evaluate` needs, by stage name."""
    made: dict[str, Artifact] = {}
    made["mix"] = _stage(_write_mix, "mix", {"documents": MIX}).run(store, params=Nothing())
    made["tokenizer"] = train_tokenizer.run(store, documents=made["mix"], params=TokenizerParams(vocab_size=320))
    made["tokens"] = tokens.run(store, documents=made["mix"], tokenizer=made["tokenizer"], params=TokensParams())
    made["chat-data"] = _stage(_write_chat, "chat-data").run(store, documents=made["mix"], params=Nothing())
    made["pretrain"] = _stage(_pretrain, "pretrain").run(
        store, tokens=made["tokens"], tokenizer=made["tokenizer"], params=ModelParams()
    )
    previous = made["pretrain"]
    for name in ("sft", "dpo"):
        previous = made[name] = _stage(_tune, name).run(
            store, model=previous, chat=made["chat-data"], params=ModelParams(noise=0.05)
        )
    return made


def models(made: dict[str, Artifact]) -> list[Artifact]:
    """The three models of a little road."""
    return [made[name] for name in ("pretrain", "sft", "dpo")]
