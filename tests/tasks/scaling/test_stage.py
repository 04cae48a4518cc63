"""The stage on runs whose law is known: tables, fit, recommendation, page, and what it refuses."""

import json
import re
import xml.etree.ElementTree as ET

import pyarrow as pa
import pytest

from flows.resolving import resolve
from infra.canonical import digest
from infra.errors import BadInput
from infra.params import Params
from infra.stage import Draft, Source, Stage
from infra.store import Artifact, Store
from tasks.evaluate.stage import SCORES
from tasks.pretrain import PretrainParams
from tasks.scaling.comparisons import Compared
from tasks.scaling.downstream import AccuracyCurve
from tasks.scaling.grid import Plan, plan_runs
from tasks.scaling.recommended import Recommendation, recommended_yaml
from tasks.scaling.settings import GridParams
from tasks.scaling.stage import ScalingFitParams, scaling_fit
from tasks.shape import Shape
from tasks.tokenizer import Vocabulary
from tasks.tokenizer.stage import TokenizerParams, train_tokenizer
from tasks.tokens.stage import TokensParams
from tasks.tokens.stage import tokens as tokens_stage
from tests.tasks.scaling.made_runs import BEST_RATE, LAW, corpus_of, little_corpus, pretend_pretrain, vocab_size_of
from tests.tasks.test_imported_model import hf_folder, take

BASE = PretrainParams.model_validate({"seq_len": 32, "batch_size": 4, "optim": {"name": "muon"}})
POINT = {"flops": 1e12, "params": 1e6}
GRID = GridParams.model_validate(
    {
        "budgets": [1e11, 2e11, 4e11],
        "sizes": [4e4, 8e4, 1.6e5, 3.2e5],
        "aspect": 24,
        "max_epochs": 1e9,
        "compare": {
            "architectures": {"at": [POINT]},
            "width_depth": {"at": [POINT], "aspects": [10, 64]},
            "rates": {"at": [POINT, {"flops": 1e12, "params": 2e5}]},
            "mixtures": {"at": [POINT], "mixtures": {"<b>news</b>": {"news": 1.0}}},
            "objectives": {"at": [POINT]},
        },
    }
)

SMALL_GRID = GridParams.model_validate({"budgets": [1e11, 2e11], "sizes": [4e4, 8e4, 1.6e5], "max_epochs": 1e9})


class Made:
    """A study, all its runs pretended."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.mix, self.tokenizer, self.tokens = little_corpus(store)
        self.plan: Plan = plan_runs(GRID, BASE, vocab_size_of(self.tokenizer), corpus_of(self.tokens))
        self.train = pretend_pretrain()
        self.models = {run.identity: self.pretend(run.params) for run in self.plan.runs}
        self.grid = [self.models[run.identity] for run in self.plan.runs if run.in_grid]
        self.beside = [self.models[run.identity] for run in self.plan.runs if not run.in_grid]
        self.tags = tuple(
            Compared(**vars(tag), run=self.models[run.identity].ref) for run in self.plan.runs for tag in run.tags
        )

    def pretend(self, params: PretrainParams) -> Artifact:
        return self.train.run(self.store, tokens=self.tokens, tokenizer=self.tokenizer, params=params)

    def fit(
        self, heldout: list[Artifact] | None = None, evaluations: list[Artifact] | None = None, **given: object
    ) -> Artifact:
        params = ScalingFitParams.model_validate({"bootstrap": 60, "comparisons": self.tags, **given})
        roles = {"compared": self.beside, "heldout": heldout, "evaluations": evaluations}
        return scaling_fit.run(self.store, runs=self.grid, params=params, **roles)


class EvaluationParams(Params):
    content: str


def pretended_evaluation(store: Store, scores: list[dict[str, object]]) -> Artifact:
    """An artifact of `evaluate` with these scores."""

    def run(params: EvaluationParams, out: Draft) -> None:
        out.write("scores", pa.Table.from_pylist(scores, schema=SCORES))
        out.count("models", len(scores), out=len(scores), out_unit="scores")

    stage = Stage(
        run, name="evaluate", version=0, libraries=(), tables={"scores": SCORES}, one_to_one=False, fingerprint=None
    )
    return stage.run(store, params=EvaluationParams(content=digest(scores)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(Store(tmp_path_factory.mktemp("stage") / "store"))


@pytest.fixture(scope="module")
def fit(made: Made) -> Artifact:
    return made.fit()


def read_fit(fit: Artifact) -> dict:
    return json.loads(fit.file("fit.json").read_text())


def test_every_run_is_a_row(made: Made, fit: Artifact):
    rows = fit.read_table("runs").to_pylist()
    assert len(rows) == len(made.plan.runs) and {row["role"] for row in rows} == {"grid", "compared"}
    of_grid = [row for row in rows if row["role"] == "grid"]
    assert len({row["budget"] for row in of_grid}) == 3
    planned = {made.models[run.identity].ref: run for run in made.plan.runs}
    for row in of_grid:
        run = planned[row["ref"]]
        assert (row["params"], row["tokens"], row["flops"]) == (run.size, run.tokens, run.flops)
        assert row["total_params"] > row["params"] and row["width"] == run.params.shape.hidden_size


def test_the_law_behind_the_losses_comes_back(fit: Artifact):
    found = read_fit(fit)
    low, high = found["isoflop"]["params"]["exponent_95"]
    assert low < LAW.exponent < high
    low, high = found["parametric"]["intervals_95"]["exponent"]
    assert low < LAW.exponent < high
    assert "embedding lookup" in found["parameters_counted"]
    assert [budget["runs"] for budget in found["budgets"]] == [4, 4, 4]


def test_the_recommended_file_is_a_configuration_of_pretrain(made: Made, fit: Artifact):
    file = fit.file("recommended.yaml")
    for profile in ("demo", "laptop", "gpu"):
        config = resolve("pretrain", profile, file)
        found = read_fit(fit)["recommended"]
        assert config.pretrain.steps == found["steps"] and config.pretrain.tokens is None
        assert config.pretrain.shape.model_dump(exclude_none=True) == found["shape"] | {"qk_norm": False}
        assert config.documents == made.mix.ref
        assert config.tokenizer.model_dump(mode="json") == made.tokenizer.manifest.params
        assert config.pretrain.optim.name == "muon" and config.pretrain.validation_rows == 1024
    total = found["flops"] / (4 * 4e11)
    assert 0.98 < total < 1.02
    best = LAW.optimum(1.6e12)[0]
    assert best / 2.5 < found["params"] < best * 2.5


def test_a_larger_run_is_predicted_without_being_fitted(made: Made, fit: Artifact):
    params = resolve("pretrain", "demo", fit.file("recommended.yaml")).pretrain
    later = made.pretend(params)
    again = made.fit(heldout=[later])
    before, after = read_fit(fit), read_fit(again)
    assert (after["isoflop"], after["parametric"]) == (before["isoflop"], before["parametric"])
    assert after["recommended"] == before["recommended"]
    (prediction,) = [one for one in after["predictions"] if one["ref"]]
    assert prediction["ref"] == later.ref and prediction["measured"] == pytest.approx(
        later.manifest.metrics["val_loss"]
    )
    interval = prediction["parametric"]
    assert interval["low"] < prediction["measured"] < interval["high"]
    assert interval == before["predictions"][0]["parametric"]
    page = again.file("scaling.html").read_text()
    assert "which no fit has" in page and "not fitted" in page


def test_comparisons_say_who_is_better_and_by_how_much(fit: Artifact):
    rows = fit.read_table("comparisons").to_pylist()
    (lstm,) = [row for row in rows if row["variant"] == "lstm"]
    assert 0.15 < lstm["above_best"] < 0.25
    rates = [row for row in rows if row["kind"] == "rate" and row["params"] == 1e6]
    assert [row["variant"] for row in rates] == ["0.01", "0.02", "0.04"] and rates[1]["above_best"] == 0
    objectives = {row["variant"]: row["above_best"] for row in rows if row["kind"] == "objective"}
    assert objectives == {"masked tokens": None, "next tokens": None}  # of different tasks
    for found in read_fit(fit)["rates"]:
        assert found["best_rate"] == pytest.approx(BEST_RATE, rel=0.5)


def test_a_tokenizer_that_was_given_as_a_file_is_asked_for_and_not_learnt_anew(made: Made, tmp_path, monkeypatch):
    given = tmp_path / "own.json"
    given.write_bytes(made.tokenizer.file("tokenizer.json").read_bytes())
    store = Store(tmp_path / "store")
    mix, _, _ = little_corpus(store)
    tokenizer = train_tokenizer.run(
        store, documents=mix, file=Source.of_files([given], store.digest_cache()), params=TokenizerParams()
    )
    run = made.train.run(
        store,
        tokens=tokens_stage.run(store, documents=mix, tokenizer=tokenizer, params=TokensParams()),
        tokenizer=tokenizer,
        params=BASE.model_copy(update={"steps": 5}),
    )
    config = tmp_path / "recommended.yaml"
    config.write_text(recommended_yaml(Recommendation(BASE, 1.0, 1, 1), run, "about"))
    assert resolve("pretrain", "demo", config).tokenizer_file == "own.json"


def test_the_tokenizer_of_an_imported_model_is_asked_for_among_its_files(made: Made, tmp_path):
    model = take(made.store, hf_folder(tmp_path / "hf"))
    vocabulary = Vocabulary(model.store, model.manifest)
    tokens = tokens_stage.run(made.store, documents=made.mix, tokenizer=vocabulary, params=TokensParams())
    plan = plan_runs(SMALL_GRID, BASE, vocabulary.encoder.vocab_size, corpus_of(tokens))
    runs = [made.train.run(made.store, tokens=tokens, tokenizer=vocabulary, params=run.params) for run in plan.runs]
    fit = scaling_fit.run(made.store, runs=runs, params=ScalingFitParams(bootstrap=0))
    config = resolve("pretrain", "demo", fit.file("recommended.yaml"))
    assert config.tokenizer_file == "tokenizer.json" and len(model.manifest.inputs["folder"]) > 1


def test_what_all_fitted_runs_share_is_recommended(made: Made):
    """Groups of queries, QK-norm and untied embeddings, five layers whatever the width."""
    kind = {"n_heads": 4, "n_kv_heads": 2, "qk_norm": True, "tie_embeddings": False}
    shapes = [{"hidden_size": width, "n_layers": 5, **kind} for width in (32, 48, 64, 96, 128)]
    grid = GridParams.model_validate({"budgets": GRID.budgets, "shapes": shapes, "max_epochs": 1e9})
    plan = plan_runs(grid, BASE, vocab_size_of(made.tokenizer), corpus_of(made.tokens))
    runs = [made.pretend(run.params) for run in plan.runs]
    fitted = {aspect: scaling_fit.run(made.store, runs=runs, params=params_with(aspect)) for aspect in (None, 50)}
    shape, wider = (Shape.model_validate(read_fit(fit)["recommended"]["shape"]) for fit in fitted.values())
    assert (shape.qk_norm, shape.tie_embeddings, shape.n_heads // shape.n_kv_heads) == (True, False, 2)
    assert 9 < shape.hidden_size / shape.n_layers < 18 and wider.hidden_size / wider.n_layers > 30  # median 12.8


def params_with(aspect: float | None) -> ScalingFitParams:
    return ScalingFitParams(bootstrap=0, aspect=aspect)


def test_evaluated_runs_give_a_curve_from_loss_to_right_answers(made: Made):
    """The sigmoid that made the shares comes back; a task in which no run is better than chance has none."""
    wanted = AccuracyCurve(chance=0.25, loss0=4.0, k=2.0)
    losses = {model.ref: model.manifest.metrics["val_loss"] for model in made.grid}
    scores = [
        {"model": ref, "task": task, "metric": "accuracy", "value": value}
        for ref, loss in losses.items()
        for task, value in (("questions", wanted(loss)), ("guesses", 0.2))
    ]
    evaluation = pretended_evaluation(made.store, scores)
    fit = made.fit(evaluations=[evaluation], chance={"questions": 0.25, "guesses": 0.25})
    guesses, questions = read_fit(fit)["accuracies"]
    assert (guesses["task"], guesses["problem"], "k" in guesses) == (
        "guesses",
        "no run is better than chance (0.25)",
        False,
    )
    assert (questions["loss0"], questions["k"]) == pytest.approx((wanted.loss0, wanted.k), rel=0.01)
    assert "From loss to right answers" in fit.file("scaling.html").read_text()
    recommended = read_fit(fit)["predictions"][0]["parametric"]["value"]
    expected = questions["recommended"]
    assert expected["low"] <= expected["value"] <= expected["high"]
    assert expected["value"] == pytest.approx(wanted(recommended), abs=0.01)
    none = made.fit(evaluations=[evaluation], accuracies=["exact_form"])
    assert any("no exact_form of any of these runs" in line for line in read_fit(none)["warnings"])


def test_a_run_that_was_not_fitted_stands_beside_the_curve(made: Made):
    later = made.pretend(resolve("pretrain", "demo", made.fit().file("recommended.yaml")).pretrain)
    shares = [(model.ref, 0.5 + 0.1 / model.manifest.metrics["val_loss"]) for model in [*made.grid, later]]
    scores = [{"model": ref, "task": "choices", "metric": "accuracy", "value": value} for ref, value in shares]
    (found,) = read_fit(made.fit(heldout=[later], evaluations=[pretended_evaluation(made.store, scores)]))["accuracies"]
    assert found["unseen"] == [
        {"loss": pytest.approx(later.manifest.metrics["val_loss"]), "value": pytest.approx(shares[-1][1], rel=1e-4)}
    ]


def test_answers_that_do_not_follow_the_loss_have_no_curve(made: Made):
    shares = [0.02, 0.03, 0.01, 0.05]
    scores = [
        {"model": model.ref, "task": "questions", "metric": "accuracy", "value": shares[k % 4]}
        for k, model in enumerate(made.grid)
    ]
    (found,) = read_fit(made.fit(evaluations=[pretended_evaluation(made.store, scores)]))["accuracies"]
    assert "do not follow the loss" in found["problem"] and found["recommended"] is None


def test_the_page_stands_alone_and_its_drawings_are_whole(fit: Artifact):
    page = fit.file("scaling.html").read_text()
    assert not re.search(r"<script|https?://(?!www\.w3)|@import|url\((?!data:)", page)
    drawings = re.findall(r"<svg class=\"chart\".*?</svg>", page, re.S)
    assert len(drawings) == 7  # isoFLOP, size, tokens, loss, predicted, shapes, rates
    for drawing in drawings:
        assert ET.fromstring(drawing).attrib["aria-label"]
    assert "&lt;b&gt;news&lt;/b&gt;" in page and "<b>news</b>" not in page
    assert "nan" not in page.lower().replace("sans", "")


def test_the_same_runs_give_the_same_bytes(made: Made, fit: Artifact):
    from infra.stage import RunContext

    context = RunContext(store=made.store, refresh=frozenset(["scaling-fit"]))
    params = ScalingFitParams.model_validate(fit.manifest.params)
    scaling_fit.run_in(context, params=params, runs=made.grid[::-1], compared=made.beside)
    assert context.results[-1].reproduced and context.results[-1].artifact.ref == fit.ref


def test_a_run_that_is_given_twice_is_refused(made: Made):
    last = made.grid[-1]
    with pytest.raises(BadInput, match=f"{last.ref} is given 2 times among runs, compared and heldout") as caught:
        made.fit(heldout=[last])
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match=f"{made.grid[0].ref} is given 3 times"):
        scaling_fit.run(made.store, runs=[*made.grid, made.grid[0], made.grid[0]])


def test_runs_that_cannot_be_compared_are_refused(made: Made, tmp_path):
    with pytest.raises(BadInput, match="none of the runs given"):
        made.fit(comparisons=[{"kind": "rate", "flops": 1, "params": 1, "variant": "x", "run": "pretrain/0"}])
    with pytest.raises(BadInput, match="has 2 sizes; a parabola needs 3"):
        scaling_fit.run(made.store, runs=made.grid[:2] + made.grid[4:8])
    as_grid = {"steps": 5, "validation_rows": 1024}
    masked = BASE.model_copy(update={**as_grid, "objective": "masked"})
    with pytest.raises(BadInput, match="one phase, at one batch size, from nothing, on next tokens"):
        made.fit(heldout=[made.pretend(masked)])
    ramp = PretrainParams.model_validate({"batch_ramp": [{"tokens": 1000, "batch_size": 8}]}).batch_ramp
    with pytest.raises(BadInput, match="only runs in one phase, at one batch size"):
        made.fit(heldout=[made.pretend(BASE.model_copy(update={**as_grid, "batch_ramp": ramp}))])
    other_rows = BASE.model_copy(update={**as_grid, "validation_rows": 64})
    with pytest.raises(BadInput, match=r"has validation_rows 64, pretrain/.* 1024: their losses are not of one kind"):
        made.fit(heldout=[made.pretend(other_rows)])
    adamw = BASE.model_copy(update={**as_grid, "optim": BASE.optim.model_copy(update={"name": "adamw"})})
    with pytest.raises(BadInput, match=r"has optimizer adamw, pretrain/.* muon: one law is of runs of one kind"):
        made.fit(heldout=[made.pretend(adamw)])
