"""The stages that train, on a tiny corpus: base model, answers, better answers; resumed, reused, refused."""

import contextlib
import json
import logging
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from infra.errors import BadConfig, BadInput, SluiceError
from infra.params import Params, Runtime
from infra.stage import Draft, Stage
from infra.store import Artifact, Store
from model.indexed import MASK_SUFFIX, IndexedDataset
from model.job import Job
from tasks import training
from tasks.chat import Message
from tasks.chat_training import render_answer, write_conversations, write_preferences
from tasks.course import steps_of
from tasks.dpo import DpoParams, dpo
from tasks.encoding import Encoder
from tasks.pretrain import PretrainParams, Shape, pretrain
from tasks.sft import SftParams, sft
from tasks.tokenizer import TokenizerParams, train_tokenizer
from tasks.tokens.stage import TokensParams, tokens
from tests.model.training_jobs import job as training_job
from tests.model.training_jobs import write_data
from tests.tasks.mixtures import mixture

ONE_RANK = Runtime(world_size=1)
SMALL = Shape(hidden_size=32, n_layers=2, n_heads=4, n_kv_heads=2, intermediate_size=64)
TINY = PretrainParams(shape=SMALL, seq_len=64, batch_size=4, steps=8, validate_every=4, dtype="float32")
NAMES = ["heap", "queue", "thread", "parser", "window", "stream", "buffer", "kernel"]


class ChatFiles(Params):
    files: dict[str, list[dict]]


def _write_chat(params: ChatFiles, out: Draft) -> None:
    for name, lines in params.files.items():
        out.path(name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    out.count("line", 1, out=1)


def chat_artifact(store: Store, files: dict[str, list[dict]]) -> Artifact:
    """Commit chat data with these lines."""
    made = Stage(_write_chat, name="chat-data", version=0, libraries=(), tables={}, one_to_one=False, fingerprint=None)
    return made.run(store, params=ChatFiles(files=files))


def question(name: str) -> list[Message]:
    return [{"role": "user", "content": f"What is a {name}?"}]


def conversation(name: str) -> dict:
    return {"messages": [*question(name), {"role": "assistant", "content": f"A {name} is a thing of code."}]}


def preference(name: str) -> dict:
    right = [{"role": "assistant", "content": f"A {name} is a thing of code."}]
    return {"prompt": question(name), "chosen": right, "rejected": f"{name} {name} {name}"}


@dataclass
class Road:
    store: Store
    tokenizer: Artifact
    tokens: Artifact
    chat: Artifact
    pretrain: Artifact
    sft: Artifact
    dpo: Artifact


def things() -> list[dict]:
    """Documents about eight things, every tenth held out."""
    return [
        {
            "doc_id": f"d{k}",
            "text": f"A {NAMES[k % 8]} is a thing of code. See {NAMES[k % 5]} number {k}.\n" * 6,
            "split": "validation" if k % 10 == 9 else "train",
            "domain": "general",
            "language": "en",
        }
        for k in range(60)
    ]


def corpus(store: Store) -> tuple[Artifact, Artifact]:
    """(tokenizer, tokens) of a corpus about eight things."""
    documents = things()
    mix = mixture(store, [documents[:30], documents[30:]])
    tokenizer = train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=400))
    return tokenizer, tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    store = Store(tmp_path_factory.mktemp("road") / "store")
    tokenizer, tokenized = corpus(store)
    long = [*question("heap"), {"role": "assistant", "content": "word " * 400}]
    chat = chat_artifact(
        store,
        {
            "train.jsonl": [*map(conversation, NAMES), {"messages": long}, {"messages": question("heap")}],
            "validation.jsonl": [conversation("socket")],
            "preferences-train.jsonl": [
                *map(preference, NAMES),
                preference("x") | {"rejected": "A x is a thing of code."},
            ],
            "preferences-validation.jsonl": [preference("socket")],
        },
    )
    base = pretrain.run(store, tokens=tokenized, tokenizer=tokenizer, params=TINY, runtime=Runtime(world_size=2))
    tuned = sft.run(store, model=base, chat=chat, params=SftParams(batch_size=2, steps=4), runtime=ONE_RANK)
    aligned = dpo.run(store, model=tuned, chat=chat, params=DpoParams(batch_size=4, steps=4), runtime=ONE_RANK)
    return Road(store, tokenizer, tokenized, chat, base, tuned, aligned)


def test_a_model_artifact_holds_what_readers_need(road: Road):
    for artifact in (road.pretrain, road.sft, road.dpo):
        names = {entry.path for entry in artifact.manifest.files}
        assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json", "metrics.jsonl"} <= names
        assert {"model/generation_config.json", "checkpoint/state.json"} <= names
        assert any(name.startswith("tensorboard/") for name in names)
        assert any(name.startswith("checkpoint/deepspeed/") for name in names)
        assert not any("/work" in name or "job" in name for name in names)
        lasting = {entry.path for entry in artifact.manifest.files if not entry.volatile}
        assert lasting == {name for name in names if name.startswith("model/")}


def test_transformers_loads_what_was_trained(road: Road):
    transformers = pytest.importorskip("transformers")
    for artifact, end in ((road.pretrain, ["<|endoftext|>"]), (road.dpo, ["<|im_end|>", "<|endoftext|>"])):
        folder = artifact.file("model/config.json").parent
        network = transformers.AutoModelForCausalLM.from_pretrained(folder)
        encoder = Encoder.load(folder)
        ends = network.generation_config.eos_token_id
        assert (ends if isinstance(ends, list) else [ends]) == [encoder.special_ids[name] for name in end]
        assert network.config.vocab_size == encoder.vocab_size
        assert (folder / "chat_template.jinja").exists() == (artifact is road.dpo)


def test_each_stage_learns_and_says_so(road: Road):
    for artifact in (road.pretrain, road.sft):
        assert artifact.manifest.metrics["loss"] < artifact.manifest.metrics["first_loss"]
    metrics = road.pretrain.manifest.metrics
    assert metrics["steps"] == 8
    assert metrics["tokens"] == 8 * 4 * 64
    assert metrics["world_size"] == 2
    assert 0 < metrics["val_bits_per_byte"] < 8
    assert road.dpo.manifest.metrics["first_loss"] == pytest.approx(np.log(2), abs=1e-3)
    assert "val_rewards/accuracy" in road.dpo.manifest.metrics


def test_accounts_name_what_was_left_out(road: Road):
    assert road.sft.manifest.counts.dropped == {"no_answer": 1, "too_long": 1}
    assert road.dpo.manifest.counts.dropped == {"same_answer": 1}
    counts = road.pretrain.manifest.counts
    assert counts.in_.n == counts.used + sum(counts.dropped.values())
    assert counts.used % 64 == 0


def test_a_finished_model_is_reused(road: Road):
    again = pretrain.run(
        road.store, tokens=road.tokens, tokenizer=road.tokenizer, params=TINY, runtime=Runtime(world_size=1)
    )
    assert again.ref == road.pretrain.ref
    assert again.manifest.metrics["world_size"] == 2


def test_an_interrupted_stage_goes_on_from_its_checkpoint(
    road: Road, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Interrupted as a cancelled flow is, by a BaseException; the second attempt trains only what is missing."""
    params = TINY.model_copy(update={"steps": 24, "seed": 1})  # with a checkpoint each
    look = training.Follower.look

    def cancel(self: training.Follower) -> None:
        look(self)
        if (self.path.parent / "checkpoints" / "latest").exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.Follower, "look", cancel)
        patch.setattr(training, "POLL_SECONDS", 0.02)
        pretrain.run(road.store, tokens=road.tokens, tokenizer=road.tokenizer, params=params, runtime=ONE_RANK)
    with caplog.at_level(logging.DEBUG, logger="sluice.pretrain"):
        resumed = pretrain.run(
            road.store, tokens=road.tokens, tokenizer=road.tokenizer, params=params, runtime=ONE_RANK
        )
    assert re.search(r"continuing after step [1-9]\d* of 24", caplog.text)
    rows = [json.loads(line) for line in resumed.file("metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 25))


@pytest.mark.slow
def test_a_published_checkpoint_goes_on_at_another_world_size(
    road: Road, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """As docs/training.md says it is done: eight steps of two ranks are taken over, two more are done by one."""
    train = training._train

    def continued(job: Job, runtime: Runtime, out: Draft) -> None:
        folder = job.work.folder / "checkpoints"
        for entry in road.pretrain.manifest.files:
            if entry.path.startswith("checkpoint/"):
                target = folder / "step-8" / entry.path.removeprefix("checkpoint/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(road.pretrain.file(entry.path), target)
        (folder / "latest").write_text("step-8\n")
        train(job, runtime, out)

    monkeypatch.setattr(training, "_train", continued)
    params = TINY.model_copy(update={"steps": 10})
    with caplog.at_level(logging.DEBUG, logger="sluice.pretrain"):
        longer = pretrain.run(road.store, tokens=road.tokens, tokenizer=road.tokenizer, params=params, runtime=ONE_RANK)
    assert "converting step-8 for another world size" in caplog.text
    assert "continuing after step 8 of 10" in caplog.text
    rows = [json.loads(line) for line in longer.file("metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["tokens"]) for row in rows] == [(9, 9 * 4 * 64), (10, 10 * 4 * 64)]
    assert rows[0]["loss"] < road.pretrain.manifest.metrics["first_loss"] - 0.2


def test_rows_cut_back_and_grown_again_between_two_looks_are_followed(tmp_path: Path):
    """A resumed child cuts the file to its checkpoint and may have written past the old end before the next look."""
    told: list[tuple[int, int, str]] = []

    class Told:
        def check_lock(self) -> None: ...

        def progress(self, done: int, total: int, text: str) -> None:
            told.append((done, total, text))

    def write(steps: range, loss: float) -> None:
        rows = [{"step": step, "loss": loss, "tokens_per_s": 1e3} for step in steps]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    path = tmp_path / "metrics.jsonl"
    write(range(1, 4), loss=1.0)
    follower = training.Follower(path, 100, Told())  # type: ignore[arg-type]
    write(range(1, 4), loss=0.123456789)  # longer lines: the old end is inside of the last
    with path.open("rb") as file:
        file.seek(follower.offset - 1)
        assert file.read(1) != b"\n"
    follower.look()
    assert told == [(3, 100, "step 3 of 100: loss 0.1235, 1,000 tokens/s")]
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 4, "loss": 0.5, "tokens_per_s": 1e3}\n{"step": 5, "lo')
    follower.look()
    follower.look()  # the rest of a line is not there yet
    assert [step for step, _, _ in told] == [3, 4]
    write(range(1, 3), loss=0.5)
    follower.look()
    assert told[-1][0] == 2
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "loss": null, "tokens_per_s": 1e3}\n')
    follower.look()
    assert told[-1] == (3, 100, "step 3 of 100: loss none, 1,000 tokens/s")


def test_the_childs_own_reason_is_the_error(road: Road):
    params = TINY.model_copy(update={"optim": TINY.optim.model_copy(update={"lr": 1e30, "warmup_steps": 0})})
    with pytest.raises(SluiceError, match=r"training stopped: FloatingPointError: step .* lower the learning rate"):
        pretrain.run(road.store, tokens=road.tokens, tokenizer=road.tokenizer, params=params, runtime=ONE_RANK)


def test_refusals_come_before_any_work(road: Road, tmp_path: Path):
    other = train_tokenizer.run(
        road.store, documents=road.tokens.parent("documents"), params=TokenizerParams(vocab_size=300)
    )
    with pytest.raises(BadInput, match=r"was made with .*: give that as tokenizer"):
        pretrain.run(road.store, tokens=road.tokens, tokenizer=other, params=TINY)
    with pytest.raises(BadInput, match="do not fill one row"):
        pretrain.run(road.store, tokens=road.tokens, tokenizer=road.tokenizer, params=PretrainParams(seq_len=1_000_000))
    odd = TINY.model_copy(update={"shape": SMALL.model_copy(update={"n_heads": 5})})
    with pytest.raises(BadConfig, match="multiple of n_heads"):
        pretrain.run(road.store, tokens=road.tokens, tokenizer=road.tokenizer, params=odd)
    with pytest.raises(BadInput, match="more than the 64 tokens"):
        sft.run(road.store, model=road.pretrain, chat=road.chat, params=SftParams(seq_len=65))
    empty = chat_artifact(road.store, {"train.jsonl": []})
    with pytest.raises(BadInput, match="none of its 0 training conversations"):
        sft.run(road.store, model=road.pretrain, chat=empty, params=SftParams())


def test_token_bytes_sum_to_the_text(road: Road, tmp_path: Path):
    encoder = Encoder.load(road.pretrain.file("model/config.json").parent)
    table = np.load(training.write_token_bytes(encoder, tmp_path / "bytes.npy", encoder.vocab_size + 2))
    text = "Naïve façade — 漢字 and 🧱 heap\n\tqueue"
    assert int(table[encoder.encode(text)].sum()) == len(text.encode())
    assert table[list(encoder.special_ids.values())].sum() == 0


def test_conversations_are_written_as_rendered(road: Road, tmp_path: Path):
    encoder = Encoder.load(road.pretrain.file("model/config.json").parent)
    account = write_conversations(road.chat, "train.jsonl", encoder, 64, tmp_path / "train")
    ids, mask = IndexedDataset(tmp_path / "train"), IndexedDataset(tmp_path / f"train{MASK_SUFFIX}")
    assert len(ids) == account.n_out == len(NAMES)
    trained = [int(token) for token, kept in zip(ids[0], mask[0], strict=True) if kept]
    assert encoder.decode(trained) == "A heap is a thing of code.<|im_end|>"


def test_preferences_are_pairs_with_a_mask_over_the_answer(road: Road, tmp_path: Path):
    encoder = Encoder.load(road.pretrain.file("model/config.json").parent)
    account = write_preferences(road.chat, "preferences-train.jsonl", encoder, 64, tmp_path / "pairs")
    ids = IndexedDataset(tmp_path / "pairs")
    assert len(ids) == 2 * account.n_out
    history: list[Message] = [*question("heap"), {"role": "assistant", "content": "No."}, *question("queue")]
    ids_, mask = render_answer(encoder, history, "Yes.")
    answer = [token for token, kept in zip(ids_, mask, strict=True) if kept]
    assert encoder.decode(answer) == "Yes.<|im_end|>"  # and not the earlier "No."


@pytest.mark.parametrize(
    ("given", "steps"),
    [({"steps": 7}, 7), ({"tokens": 1000}, 16), ({"epochs": 2.0}, 25), ({"epochs": 0.001}, 1)],
)
def test_length_of_a_run(given: dict, steps: int):
    assert steps_of(PretrainParams(seq_len=16, batch_size=4, **given), n_rows=50) == steps


def no_work(*_: object, **__: object) -> None:
    """In place of a stage's first work."""
    raise AssertionError("work was begun")


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ({"zero_stage": 3}, "runtime and pretrain: muon works at ZeRO stages 0 to 2"),
        (
            {"parallel": {"sequence": 4}},
            "runtime and pretrain: parallel.sequence 4 does not divide 2 key and value heads",
        ),
    ],
)
def test_a_layout_that_cannot_be_is_refused_before_anything_is_written(
    road: Road, monkeypatch: pytest.MonkeyPatch, runtime: dict, message: str
):
    monkeypatch.setattr("tasks.pretrain.write_token_bytes", no_work)
    params = TINY.model_copy(update={"optim": TINY.optim.model_copy(update={"name": "muon"})})
    with pytest.raises(BadConfig, match=f"^{re.escape(message)}"):
        pretrain.run(
            road.store, tokens=road.tokens, tokenizer=road.tokenizer, params=params, runtime=Runtime(**runtime)
        )


def test_what_the_starting_model_does_not_allow_is_refused_before_chats_are_read(
    road: Road, monkeypatch: pytest.MonkeyPatch
):
    for name in ("sft.write_conversations", "dpo.write_preferences"):
        monkeypatch.setattr(f"tasks.{name}", no_work)
    runtime = Runtime.model_validate({"parallel": {"sequence": 4}})
    with pytest.raises(BadConfig, match=r"^runtime and sft: .* does not divide 2 key and value heads"):
        sft.run(road.store, model=road.pretrain, chat=road.chat, params=SftParams(seed=9), runtime=runtime)
    with pytest.raises(BadConfig, match=r"^runtime and dpo: .* not for dpo"):
        dpo.run(road.store, model=road.sft, chat=road.chat, params=DpoParams(seed=9), runtime=runtime)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_training_listens_on_this_machine_only(tmp_path: Path, ranks: int, launcher: str):
    """What torchrun keeps in its store, it unpickles: nobody else may write there."""
    write_data(tmp_path)
    job_file = training_job(tmp_path, "long", steps=100_000, validate_every=None)
    runtime = Runtime(launcher=launcher)
    meeting = training.meeting_place(tmp_path)
    command = training.launch_command(job_file, ranks, runtime, meeting)
    environment = training.child_environment(runtime, meeting) | {"DS_ACCELERATOR": "cpu"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
    family = []
    try:
        while not (tmp_path / "long" / "metrics.jsonl").exists():
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.1)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        listening = {
            place.laddr.ip
            for one in family
            for place in one.net_connections("tcp")
            if place.status == psutil.CONN_LISTEN
        }
        assert listening <= {"127.0.0.1", "::1"}
    finally:
        for one in family or [process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
