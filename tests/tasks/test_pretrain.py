"""Pretraining in phases, from parameters to an artifact; how its parallel layout is asked for and refused."""

import json
import logging
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from infra.errors import BadConfig, BadInput
from infra.params import Runtime
from infra.store import Artifact, Store
from model.job import Job, Phase
from model.schedule import phased_learning_rate_scale
from tasks.course import phase_steps, phases_of, readings_of, steps_of
from tasks.exposure import shown_by
from tasks.pretrain import PretrainParams, Shape, pretrain
from tasks.row_order import PhaseParams
from tasks.tokenizer.stage import TokenizerParams, train_tokenizer
from tasks.tokens.files import Tokens, token_files
from tasks.tokens.stage import TokensParams, tokens
from tasks.tokens.trace import row_documents
from tasks.training import work_of, world_size_of
from tests.tasks.mixtures import mixture
from tests.tasks.test_training import things

SMALL = Shape(hidden_size=32, n_layers=2, n_heads=4, n_kv_heads=2, intermediate_size=64)
PHASED = PretrainParams.model_validate(
    {
        "shape": SMALL,
        "seq_len": 32,
        "batch_size": 4,
        "dtype": "float32",
        "optim": {"schedule": "constant", "warmup_steps": 2},
        "batch_ramp": [{"tokens": 300, "batch_size": 6}],
        "phases": [
            {"name": "main", "tokens": 700},
            {"name": "long", "steps": 2, "seq_len": 64, "rope_theta": 50_000.0, "batch_size": 2},
            {"name": "anneal", "tokens": 256, "batch_size": 2, "rate": {"end": 0.0}, "split": "anneal"},
        ],
        "skip": {},
        "export": "average",
        "average": {"checkpoints": 2, "every": 1},
    }
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Artifact, Artifact]:
    """(store, tokenizer, tokens)"""
    store = Store(tmp_path_factory.mktemp("pretrain") / "store")
    documents = [thing | {"anneal": k % 3 == 0} for k, thing in enumerate(things())]
    mix = mixture(store, [documents])
    tokenizer = train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=400))
    return store, tokenizer, tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())


def test_phases_take_over_what_they_do_not_say(made: tuple[Store, Artifact, Tokens]):
    """128 tokens a step until 300 have been seen (3 steps), then 192: 2 more make 768 of at least 700."""
    _, _, made_tokens = made
    found = phases_of(PHASED, made_tokens, readings_of(PHASED, made_tokens))
    assert [(phase.name, phase.steps) for phase in found] == [("main", 5), ("long", 2), ("anneal", 2)]
    assert [phase.data.seq_len for phase in found if phase.data] == [32, 64, 64]
    assert [phase.rope_theta for phase in found] == [None, 50_000.0, None]
    assert [[path.name for path in phase.data.train] for phase in found if phase.data] == [
        ["train-00000"],
        ["train-00000"],
        ["anneal-00000"],
    ]
    unknown = PHASED.model_copy(update={"phases": [PhaseParams(name="x", steps=1, domains=["poems"])]})
    with pytest.raises(BadInput, match="no train text of poems"):
        readings_of(unknown, made_tokens)
    long = PHASED.model_copy(update={"phases": [PhaseParams(name="x", steps=1, seq_len=1_000_000)]})
    with pytest.raises(BadInput, match="do not fill one row of 1000000"):
        readings_of(long, made_tokens)


def test_a_run_in_phases_leaves_the_last_ones_model(made: tuple[Store, Artifact, Tokens]):
    store, tokenizer, made_tokens = made
    runtime = Runtime(world_size=1, csv=True, peak_flops=1e12)
    model = pretrain.run(store, tokens=made_tokens, tokenizer=tokenizer, params=PHASED, runtime=runtime)
    config = json.loads(model.file("model/config.json").read_text())
    assert (config["max_position_embeddings"], config["rope_theta"]) == (64, 50_000.0)
    metrics = model.manifest.metrics
    assert metrics["phases"] == {"main": 5, "long": 2, "anneal": 2}
    assert (metrics["exported"], metrics["exported_steps"]) == ("average", [8, 9])
    assert metrics["skipped_steps"] == 0 and metrics["tokens"] == 768 + 2 * 128 + 2 * 128
    rows = [json.loads(line) for line in model.file("metrics.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == ["main"] * 5 + ["long"] * 2 + ["anneal"] * 2
    assert rows[-1]["lr"] == pytest.approx(PHASED.optim.lr / 2)
    assert metrics["val_loss"] != rows[-1]["val_loss"]
    assert model.file("csv/loss.csv").read_text().startswith("step,loss\n1,")
    run = shown_by(model)
    assert [run.course.at(step).phase for step in range(9)] == [0] * 5 + [1] * 2 + [2] * 2
    assert {document.split for document in row_documents(made_tokens, run.position(8, 1))} == {"anneal"}


def test_another_tokenizer_with_as_many_ids_is_refused(made: tuple[Store, Artifact, Tokens], tmp_path: Path):
    store, tokenizer, made_tokens = made
    mix = made_tokens.parent("documents")
    other = train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=400, split_pattern="gpt2"))
    again = train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=400, measure_bytes=1000))
    params = PretrainParams.model_validate({"shape": SMALL, "steps": 1, "seq_len": 16, "dtype": "float32"})
    one = Runtime(world_size=1)
    with pytest.raises(
        BadInput, match=rf"{made_tokens.ref} was made with {tokenizer.ref}: give that .* not {other.ref}"
    ):
        pretrain.run(store, tokens=made_tokens, tokenizer=other, params=params, runtime=one)
    model = pretrain.run(store, tokens=made_tokens, tokenizer=again, params=params, runtime=one)  # the same ids
    others = tokens.run(store, documents=mix, tokenizer=other, params=TokensParams())
    with pytest.raises(BadInput, match=f"{model.ref} was trained with {again.ref}: give that"):
        pretrain.run(store, tokens=others, tokenizer=other, model=model, params=params, runtime=one)
    longer = params.model_copy(update={"seq_len": 32})
    with pytest.raises(BadConfig, match=rf"pretrain.seq_len: {model.ref} has 16 positions, and rows have 32"):
        pretrain.run(store, tokens=made_tokens, tokenizer=again, model=model, params=longer, runtime=one)
    masked = params.model_copy(update={"objective": "masked"})
    with pytest.raises(BadConfig, match="was trained by the objective causal: go on with that"):
        pretrain.run(store, tokens=made_tokens, tokenizer=again, model=model, params=masked, runtime=one)


@pytest.mark.parametrize("phase", [{"seq_len": 64}, {"rope_theta": 50_000.0}])
def test_a_phase_that_an_lstm_cannot_follow_is_refused_with_the_parameters(phase: dict):
    phases = [{"name": "main", "steps": 6}, {"name": "long", "steps": 2, **phase}]
    shape = {"architecture": "lstm", "hidden_size": 32, "n_layers": 1}
    with pytest.raises(ValidationError, match="phase long: an lstm's context of 32 tokens cannot be changed"):
        PretrainParams.model_validate({"shape": shape, "seq_len": 32, "phases": phases})


class Written(Exception):
    """The job that would have been trained."""


def job_of(made: tuple[Store, Artifact, Tokens], monkeypatch: pytest.MonkeyPatch, given: dict) -> Job:
    """The job that `pretrain` writes for these parameters."""

    def stop(job: Job, *_: object, **__: object) -> None:
        raise Written(job)

    store, tokenizer, made_tokens = made
    monkeypatch.setattr("tasks.pretrain.run_job", stop)
    params = PretrainParams.model_validate({"shape": SMALL, "dtype": "float32", "steps": 2, **given})
    with pytest.raises(Written) as written:
        pretrain.run(store, tokens=made_tokens, tokenizer=tokenizer, params=params, runtime=Runtime(world_size=1))
    return written.value.args[0]


def test_too_little_to_validate_on_is_said_and_refused_where_it_decides(
    made: tuple[Store, Artifact, Tokens], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING, logger="sluice.pretrain"):
        assert job_of(made, monkeypatch, {"seq_len": 64}).data.validation
        assert "validation" not in caplog.text
        assert job_of(made, monkeypatch, {"seq_len": 1024}).data.validation == []
    assert "for validation do not fill one row of 1,024: there will be no validation" in caplog.text
    with pytest.raises(BadInput, match=r"do not fill one row of 1,024, so nothing would tell .* \(export: best\)"):
        job_of(made, monkeypatch, {"seq_len": 1024, "export": "best"})


def test_a_phase_too_long_to_validate_goes_without_unless_it_decides(
    made: tuple[Store, Artifact, Tokens], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    phases = [{"name": "main", "steps": 1, "seq_len": 64}, {"name": "long", "steps": 1, "seq_len": 1024}]
    given = {"steps": None, "phases": phases}
    with caplog.at_level(logging.WARNING, logger="sluice.pretrain"):
        assert job_of(made, monkeypatch, given).data.validation
    assert "do not fill one row of 1,024: there will be no validation in phases with such rows" in caplog.text
    with pytest.raises(BadInput, match=r"fill one row of 1,024, .*\(export: best\)"):
        job_of(made, monkeypatch, {**given, "export": "best"})
    assert job_of(made, monkeypatch, {**given, "phases": phases[::-1], "export": "best"}).data.validation


def test_a_length_that_no_phase_has_counts_for_nothing(
    made: tuple[Store, Artifact, Tokens], monkeypatch: pytest.MonkeyPatch
):
    """The default of 256 tokens would else decide what the model takes and how many rows are held at once."""
    phases = [{"name": "main", "steps": 1, "seq_len": 64}, {"name": "on", "steps": 1}]
    job = job_of(made, monkeypatch, {"steps": None, "phases": phases})
    assert job.data.seq_len == 64
    assert job.shape is not None and job.shape.max_seq_len == 64


def test_rows_that_every_phase_replaces_are_not_asked_for(
    made: tuple[Store, Artifact, Tokens], monkeypatch: pytest.MonkeyPatch
):
    phase = {"name": "main", "steps": 2, "mixture": "natural", "seq_len": 64}
    job = job_of(made, monkeypatch, {"seq_len": 32, "steps": None, "mixture": {"poems": 1.0}, "phases": [phase]})
    assert job.data.seq_len == 64 and job.data.validation
    assert [path.name for path in job.phases[0].data.train] == ["train-00000"]  # type: ignore[union-attr]


def test_a_domain_too_small_for_the_recipe_is_said_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("tasks.pretrain.run_job", lambda *_, **__: None)
    store = Store(tmp_path / "store")
    poem = {"doc_id": "poem", "text": "A poem.", "split": "train", "domain": "poems", "language": "en"}
    shares = {"general": {"drawn": 0.5}, "poems": {"drawn": 0.5}}
    mix = mixture(store, [[*things(), poem]], {"domains": shares, "max_epochs": 4.0})
    tokenizer = train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=400))
    made_tokens = tokens.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams())
    params = PretrainParams(shape=SMALL, seq_len=64, mixture="recipe", steps=2)
    with caplog.at_level(logging.WARNING, logger="sluice.pretrain"):
        model = pretrain.run(store, tokens=made_tokens, tokenizer=tokenizer, params=params)
    in_poems = sum(file.tokens for file in token_files(made_tokens, "train", "poems"))
    assert 0 < in_poems <= 64
    dropped = model.manifest.counts.dropped
    assert dropped["shorter_than_a_row"] == in_poems and "not_in_mixture" not in dropped
    assert f"the {in_poems} tokens of poems do not fill a row of 64" in caplog.text


def test_a_ramp_shortens_a_run():
    ramp = [{"tokens": 4 * 16 * 5, "batch_size": 8}]
    given = {"seq_len": 16, "batch_size": 4}
    assert steps_of(PretrainParams.model_validate({**given, "tokens": 4 * 16 * 25}), 50) == 25
    assert steps_of(PretrainParams.model_validate({**given, "tokens": 4 * 16 * 25, "batch_ramp": ramp}), 50) == 15


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"phases": [{"name": "a", "steps": 1}], "steps": 2}, "the phases say how long"),
        ({"phases": [{"name": "a", "steps": 1, "tokens": 2}]}, "phase a: give steps or tokens"),
        ({"export": "average"}, "go together"),
        (
            {"phases": [{"name": "main", "steps": 50}, {"name": "end", "tokens": 99, "rate": {"end": 0}}]},
            r"phase end: its learning rate would be 0 at every step; give it a rate\.start .* \(optim\.min_lr_ratio\)",
        ),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(given: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        PretrainParams.model_validate(given)


def test_the_phases_of_the_documentation_all_learn():
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    example = text.split("## Phases", 1)[1].split("\n    ", 1)[1].split("\n\n", 1)[0]
    params = PretrainParams.model_validate(yaml.safe_load(example)["pretrain"])
    assert [phase.name for phase in params.phases] == ["main", "long", "anneal"]
    phases = [
        Phase(name=phase.name, steps=steps, rate=phase.rate)
        for phase, steps in zip(params.phases, phase_steps(params), strict=True)
    ]
    ends = [sum(phase.steps for phase in phases[: number + 1]) for number in range(3)]
    rates = [phased_learning_rate_scale(params.optim, phases, end - 1) for end in ends]
    assert rates[0] > rates[1] > rates[2] > 0
    assert phased_learning_rate_scale(params.optim, phases, ends[1]) == pytest.approx(0.1)


def test_ranks_that_share_rows_come_in_groups():
    runtime = Runtime.model_validate({"world_size": 6, "parallel": {"sequence": 2}})
    assert world_size_of(runtime, largest_batch=8) == 6
    assert world_size_of(runtime, largest_batch=2) == 4
    assert world_size_of(Runtime(world_size=6), largest_batch=4) == 4
    one_core = Runtime.model_validate({"cores": 1, "parallel": {"sequence": 2}})
    assert world_size_of(one_core, largest_batch=8) == 2
    assert world_size_of(one_core.model_copy(update={"cores": 5}), largest_batch=8) == 4


@pytest.mark.parametrize("world_size", [1, 3])
def test_ranks_that_make_no_whole_groups_are_refused(world_size: int):
    with pytest.raises(ValidationError, match=f"world_size {world_size} is no multiple of parallel.sequence 2"):
        Runtime.model_validate({"world_size": world_size, "parallel": {"sequence": 2}})


@pytest.mark.parametrize("name", ["tensor", "pipeline"])
def test_parallelism_that_is_not_built_is_refused_in_one_line(name: str):
    with pytest.raises(ValidationError, match=f"{name} parallelism is not built"):
        Runtime.model_validate({"parallel": {name: 2}})


def test_the_runtime_reaches_the_work(tmp_path: Path):
    class Folder:
        keep = tmp_path

    given = {"parallel": {"sequence": 2}, "peak_flops": 1e12, "keep_checkpoints": 5, "csv": True}
    work = work_of(Folder(), Runtime.model_validate(given), 100)  # type: ignore[arg-type]
    assert (work.sequence_parallel, work.peak_flops, work.keep_checkpoints, work.csv) == (2, 1e12, 5, True)
    for steps, told, every in ((100, None, 5), (10, None, 1), (100_000, None, 500), (100_000, 20, 20), (10, 7, 7)):
        work = work_of(Folder(), Runtime(checkpoint_every=told), steps)  # type: ignore[arg-type]
        assert work.checkpoint_every == every
