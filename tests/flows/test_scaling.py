"""The scaling flow from documents to a verified prediction: on pretended runs, and once on real ones."""

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from flows import scaling
from flows.config import ScalingConfig
from flows.resolving import resolve
from flows.road import Road, _UntilReached
from infra.errors import BadConfig, BadInput, SluiceError
from infra.params import Params, Runtime
from infra.stage import Draft, RunContext, Stage, running
from infra.store import Artifact, Store
from tests.tasks.mixtures import mixture
from tests.tasks.scaling.made_runs import law_loss, little_corpus, pretend_pretrain

CONFIG: dict[str, Any] = {
    "tokenizer": {"vocab_size": 300},
    "pretrain": {"seq_len": 32, "batch_size": 4, "optim": {"name": "muon"}, "dtype": "float32"},
    "scaling": {
        "budgets": [1e11, 2e11, 4e11],
        "sizes": [4e4, 8e4, 1.6e5, 3.2e5],
        "aspect": 24,
        "max_epochs": 1e9,
        "compare": {"architectures": {"at": [{"flops": 2e11, "params": 1.1314e5}]}},
    },
    "fit": {"bootstrap": 40},
}


NO_LSTM = {name: value for name, value in CONFIG["scaling"].items() if name != "compare"}


@pytest.fixture
def mix(store: Store) -> Artifact:
    return little_corpus(store)[0]


def config_of(**over: Any) -> ScalingConfig:
    return ScalingConfig.model_validate({**CONFIG, **over})


def walk(mix: Artifact, config: ScalingConfig, until: str | None = None) -> tuple[Artifact | None, RunContext]:
    """(the fit, the run) of the flow's road, without Prefect."""
    context = RunContext(store=mix.store, runtime=Runtime(world_size=1))
    with running(context):
        try:
            return scaling.scaling_road(Road(context, until, None), config, mix), context
        except _UntilReached:
            return None, context


def pretending(monkeypatch: pytest.MonkeyPatch, stage: Stage | None = None) -> None:
    monkeypatch.setattr(scaling, "pretrain_stage", stage or pretend_pretrain())


def made(context: RunContext, stage: str) -> list[bool]:
    """Of the results of a stage, which were not reused."""
    return [not result.reused for result in context.results if result.artifact.stage == stage]


def test_a_second_study_makes_nothing_and_another_budget_only_its_own_runs(mix, monkeypatch):
    pretending(monkeypatch)
    fit, first = walk(mix, config_of(at_once=3))
    assert made(first, "pretrain") == [True] * 13  # the transformer of the comparison is one of the grid's
    again, second = walk(mix, config_of())
    assert again.ref == fit.ref and made(second, "pretrain") == [False] * 13 and made(second, "scaling-fit") == [False]
    more = {**CONFIG["scaling"], "budgets": [1e11, 2e11, 4e11, 8e11]}
    _, third = walk(mix, config_of(scaling=more))
    assert sum(made(third, "pretrain")) == 4 and len(made(third, "pretrain")) == 17


def test_the_recommended_shape_has_the_proportions_and_the_kind_of_the_grids(mix, monkeypatch):
    pretending(monkeypatch)
    deep = {**NO_LSTM, "aspect": 8}
    shape = {"qk_norm": True, "tie_embeddings": False}
    fit, _ = walk(mix, config_of(scaling=deep, pretrain={**CONFIG["pretrain"], "shape": shape}))
    recommended = resolve("pretrain", "demo", fit.file("recommended.yaml")).pretrain.shape
    assert 5 < recommended.hidden_size / recommended.n_layers < 11
    assert (recommended.qk_norm, recommended.tie_embeddings) == (True, False)


def test_the_recommended_run_is_predicted_first_and_made_after(mix, monkeypatch):
    pretending(monkeypatch)
    fit, context = walk(mix, config_of(verify=True))
    before, after = [result.artifact for result in context.results if result.artifact.stage == "scaling-fit"]
    assert after.ref == fit.ref and "heldout" not in before.manifest.parents
    (later,) = after.parents("heldout")
    recommended = resolve("pretrain", "demo", after.file("recommended.yaml")).pretrain
    assert later.manifest.params == recommended.model_dump(mode="json")
    first, second = (json.loads(one.file("fit.json").read_text()) for one in (before, after))
    assert first["predictions"][0]["measured"] is None
    measured = second["predictions"][1]
    assert measured["ref"] == later.ref and measured["parametric"] == first["predictions"][0]["parametric"]
    assert measured["measured"] == pytest.approx(later.manifest.metrics["val_loss"])


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_study_that_broke_off_goes_on_with_what_is_there(mix, monkeypatch, at_once):
    finished = []

    def breaks(params, network, n_tokens):
        if len(finished) >= 5:
            raise SluiceError("training stopped: out of memory")
        finished.append(params)
        return law_loss(params, network, n_tokens)

    pretending(monkeypatch, pretend_pretrain(breaks))
    with pytest.raises(SluiceError, match="out of memory"):
        walk(mix, config_of(at_once=at_once))
    pretending(monkeypatch)
    _, context = walk(mix, config_of(at_once=at_once))
    assert sorted(made(context, "pretrain")) == [False] * 5 + [True] * 8


def test_what_is_left_is_told_after_each_run(mix, monkeypatch, caplog):
    pretending(monkeypatch)
    with caplog.at_level(logging.INFO, logger="sluice"):
        walk(mix, config_of(scaling={**CONFIG["scaling"], "min_steps": 500}))
    lines = [record.message for record in caplog.records if record.name == "sluice.scaling"]
    first = next(k for k, line in enumerate(lines) if "runs," in line)
    assert lines[:first] and all("min_steps is 500; left out" in line for line in lines[:first])
    assert lines[first].endswith("FLOP; 0 exist already") and "1 of" in lines[first + 1] and " left" in lines[first + 1]
    assert " left" not in lines[-1]


def test_until_pretrain_ends_after_the_last_run(mix, monkeypatch):
    pretending(monkeypatch)
    fit, context = walk(mix, config_of(), until="pretrain")
    assert fit is None and len(made(context, "pretrain")) == 13 and made(context, "scaling-fit") == []


def test_what_cannot_be_is_one_line_before_the_first_run(store, mix, monkeypatch):
    pretending(monkeypatch)
    with pytest.raises(BadConfig, match=r"budget 1e\+11 FLOP has 0 sizes left and needs 3 .*max_epochs is 0.001"):
        walk(mix, config_of(scaling={**CONFIG["scaling"], "max_epochs": 0.001}))
    shared = Runtime.model_validate({"world_size": 3, "parallel": {"sequence": 3}})
    with pytest.raises(BadConfig, match=r"scaling: .*key and value heads"):
        walk(mix, config_of(runtime=shared, pretrain={**CONFIG["pretrain"], "seq_len": 33}, scaling=NO_LSTM))
    silent, _, _ = little_corpus(Store(store.root.parent / "other"), validation=False)
    with pytest.raises(BadInput, match="has no row of 32 tokens of validation text"):
        walk(silent, config_of())
    assert store.versions("pretrain") == []


def test_a_recommended_run_that_the_text_cannot_carry_is_refused_before_it_starts(mix, monkeypatch):
    pretending(monkeypatch)
    _, context = walk(mix, config_of())
    longest = max(run.epochs for run in scaling.checked_plan(config_of(), *context_pair(context)).runs)
    limited = {**CONFIG["scaling"], "max_epochs": longest * 1.01}
    with pytest.raises(BadConfig, match=r"verify: the recommended run would show its text .* lower fit.target"):
        walk(mix, config_of(verify=True, scaling=limited, fit={**CONFIG["fit"], "target": 40}))


def chat_of(mix: Artifact) -> Artifact:
    """An artifact of `chat-data` mined from these documents."""

    def run(documents: Artifact, params: Params, out: Draft) -> None:
        out.path("test.jsonl").write_text("", encoding="utf-8")
        out.count("documents", 1, out=1)

    stage = Stage(run, name="chat-data", version=0, libraries=(), tables={}, one_to_one=False, fingerprint=None)
    return stage.run(mix.store, documents=mix, params=Params())


def test_what_the_runs_are_to_answer_is_looked_at_before_anything_is_trained(store, mix, monkeypatch):
    pretending(monkeypatch)
    with pytest.raises(BadInput, match="chat-data"):
        walk(mix, config_of(chat="chat-data@latest"))
    chat = chat_of(mix)
    with pytest.raises(BadConfig, match="max_new_tokens 128 leaves no room for a question in rows of 32 tokens"):
        walk(mix, config_of(chat=chat.ref))
    rows = mix.read_table("documents").to_pylist()
    other = mixture(store, [[{**row, "text": row["text"] + " More."} for row in rows]])
    with pytest.raises(BadInput, match=f"{chat.ref} was mined from {mix.ref}, and the runs learn from {other.ref}"):
        walk(other, config_of(chat=chat.ref))
    assert store.versions("pretrain") == []


def context_pair(context: RunContext) -> tuple[Artifact, Artifact]:
    by_stage = {result.artifact.stage: result.artifact for result in context.results}
    return by_stage["tokenizer"], by_stage["tokens"]


def test_a_run_under_way_ends_when_the_study_has():
    stop = threading.Event()
    told: list[str] = []

    class Inner:
        def progress(self, stage: str, done: float, total: float, text: str) -> None:
            told.append(text)

    reporter = scaling.RunReporter(Inner(), "1e+11 FLOP", stop)
    reporter.progress("pretrain", 1, 2, "step 1")
    stop.set()
    with pytest.raises(SluiceError, match=r"1e\+11 FLOP: stopped"):
        reporter.progress("pretrain", 2, 2, "step 2")
    assert told == ["1e+11 FLOP: step 1"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("scaling.sizes=[1e5, 2e5]", "at least 3 different sizes, not 2"),
        ("scaling.budgets=[1e12, 1.01e12]", "nearly equal"),
        ("scaling.budgts=[1e12]", "did you mean 'budgets'"),
        ("pretrain.objective=masked", "one phase, one batch size, .*; leave out pretrain.objective"),
        ("pretrain.batch_ramp=[{tokens: 1000, batch_size: 8}]", "leave out pretrain.batch_ramp"),
        ("pretrain.phases=[{name: main, steps: 10}]", "leave out pretrain.phases"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(setting, message):
    with pytest.raises(BadConfig, match=message) as caught:
        resolve("scaling", "demo", None, [setting])
    assert "\n" not in str(caught.value)


def test_real_runs_become_a_fit(mix, tmp_path: Path):
    """Two budgets of three tiny networks, trained for a few dozen steps each, side by side."""
    small = {"budgets": [4e8, 8e8], "sizes": [8e3, 1.4e4, 2.4e4], "aspect": 16, "max_epochs": 100, "min_steps": 5}
    fit, context = walk(mix, config_of(scaling=small, at_once=2))
    rows = fit.read_table("runs").to_pylist()
    assert len(rows) == 6 and made(context, "pretrain") == [True] * 6
    for row in rows:
        model = mix.store.open(row["ref"])
        assert row["loss"] == model.manifest.metrics["val_loss"] and 2 < row["loss"] < 6
        assert abs(row["flops"] / row["budget"] - 1) < 0.1
        lines = model.file("metrics.jsonl").read_text().splitlines()
        assert len([line for line in lines if "val_loss" in line]) == 1
    found = json.loads(fit.file("fit.json").read_text())
    assert [budget["runs"] for budget in found["budgets"]] == [3, 3]
    assert "</html>" in fit.file("scaling.html").read_text()
