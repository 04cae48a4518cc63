"""From budgets and sizes to runs: lengths, schedules, what is left out and what is refused."""

from collections import Counter

import pytest
from pydantic import ValidationError

from infra.errors import BadConfig
from infra.store import Artifact, Store
from tasks.pretrain import PretrainParams, held_out_tokens, shape_of
from tasks.scaling.grid import Pace, Plan, PlannedRun, counted_params, plan_runs
from tasks.scaling.settings import GridParams
from tasks.shape import Shape
from tests.tasks.scaling.made_runs import corpus_of, little_corpus, vocab_size_of

BASE = PretrainParams.model_validate({"seq_len": 32, "batch_size": 4, "optim": {"name": "muon"}})
GRID = {"budgets": [1e10, 2e10, 4e10], "sizes": [3e4, 6e4, 1.2e5], "max_epochs": 1e9}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Artifact]:
    """(tokenizer, tokens)"""
    return little_corpus(Store(tmp_path_factory.mktemp("grid") / "store"))[1:]


def planned(corpus: tuple[Artifact, Artifact], base: PretrainParams = BASE, **given: object) -> Plan:
    tokenizer, tokens = corpus
    return plan_runs(GridParams.model_validate({**GRID, **given}), base, vocab_size_of(tokenizer), corpus_of(tokens))


def test_each_run_is_as_long_as_its_budget_pays_for(corpus):
    plan = planned(corpus)
    assert Counter(run.budget for run in plan.runs) == {1e10: 3, 2e10: 3, 4e10: 3}
    for run in plan.runs:
        network = shape_of(run.params, vocab_size_of(corpus[0]))
        assert run.tokens == run.params.steps * 4 * 32
        assert run.flops == network.flops_per_token(32) * run.tokens
        assert abs(run.flops / run.budget - 1) <= 0.5 * network.flops_per_token(32) * 4 * 32 / run.budget
        assert run.size == counted_params(network) == network.n_matmul_params


def test_a_schedule_is_as_long_as_its_run_and_all_runs_are_judged_on_as_many_rows_at_their_end(corpus):
    for run in planned(corpus, warmup=0.1).runs:
        assert run.params.optim.warmup_steps == round(0.1 * run.params.steps)
        assert (run.params.validate_every, run.params.validation_rows) == (run.params.steps, 1024)
        assert run.params.tokens is None
    assert {run.params.validation_rows for run in planned(corpus, validation_rows=None).runs} == {None}


def test_a_validation_costs_what_its_rows_do_and_is_no_part_of_the_budget(corpus):
    few, every = (planned(corpus, validation_rows=rows).runs for rows in (8, None))
    for one, other in zip(few, every, strict=True):
        a_token = shape_of(one.params, vocab_size_of(corpus[0])).flops_per_token(32)
        assert one.validation_flops == pytest.approx(8 * 32 * a_token / 3)
        assert other.validation_flops == pytest.approx(held_out_tokens(corpus_of(corpus[1])) * a_token / 3)
        assert one.flops == other.flops and one.work == one.flops + one.validation_flops < other.work


def test_a_budget_below_the_smallest_makes_only_its_own_runs_where_sizes_move_with_it(corpus):
    before = {run.identity for run in planned(corpus).runs}
    budgets = [5e9, *GRID["budgets"]]
    moved = {run.identity for run in planned(corpus, budgets=budgets, min_steps=1).runs}
    assert not before <= moved
    sizes = [size * 0.5**0.5 for size in GRID["sizes"]]
    kept = {run.identity for run in planned(corpus, budgets=budgets, sizes=sizes, min_steps=1).runs}
    assert before < kept and len(kept) == 12


def test_the_ladder_has_what_is_not_size_of_the_shape_that_all_runs_have_in_common(corpus):
    said = {"qk_norm": True, "tie_embeddings": False, "rope_theta": 5e4}
    common = PretrainParams.model_validate({**BASE.model_dump(), "shape": {"hidden_size": 96, "n_layers": 9, **said}})
    point = {"flops": 1e12, "params": 1e6}
    compare = {"architectures": {"at": [point]}, "width_depth": {"at": [point], "aspects": [10, 64]}}
    usual, plan = planned(corpus, compare=compare), planned(corpus, common, compare=compare)
    assert [run.size for run in plan.runs] == [run.size for run in usual.runs]
    for run in plan.runs:
        shape = run.params.shape
        assert shape.tie_embeddings is False
        if shape.architecture == "transformer":
            assert shape.model_dump(include=said.keys()) == said
    preset = BASE.model_copy(update={"shape": Shape(preset="8b")})
    assert {(run.params.shape.rope_theta, run.params.shape.tie_embeddings) for run in planned(corpus, preset).runs} == {
        (500_000.0, False)
    }


def test_shapes_that_are_said_are_taken_whole_and_what_is_compared_is_like_them(corpus):
    shapes = [{"hidden_size": 32 * k, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "qk_norm": True} for k in (1, 2, 3)]
    compare = {"rates": {"at": [{"flops": 1e12, "params": 1e6}]}}
    untied = BASE.model_copy(update={"shape": Shape(tie_embeddings=False)})
    plan = planned(corpus, untied, shapes=shapes, compare=compare)
    assert {run.params.shape for run in plan.runs if run.in_grid} == {Shape.model_validate(one) for one in shapes}
    (compared,) = {run.params.shape for run in plan.runs if not run.in_grid}
    assert (compared.qk_norm, compared.tie_embeddings, compared.n_heads // compared.n_kv_heads) == (True, True, 2)


def test_sizes_grow_with_budgets(corpus):
    sizes = {budget: [r.size for r in planned(corpus).runs if r.budget == budget] for budget in (1e10, 4e10)}
    for small, large in zip(sizes[1e10], sizes[4e10], strict=True):
        assert 1.5 < large / small < 2.6  # a factor of 4 to the power of 0.5, and shapes are a tenth apart
    still = {budget: [r.size for r in planned(corpus, growth=0).runs if r.budget == budget] for budget in (1e10, 4e10)}
    assert still[1e10] == still[4e10]


def test_shapes_and_seeds_may_be_said(corpus):
    shapes = [{"hidden_size": 32 * k, "n_layers": 2, "n_heads": 2} for k in (1, 2, 3)]
    plan = planned(corpus, shapes=shapes, seeds=2)
    assert {(run.params.shape.hidden_size, run.params.seed) for run in plan.runs} == {
        (width, seed) for width in (32, 64, 96) for seed in (0, 1)
    }
    assert len(plan.runs) == 18 and all(run.in_grid for run in plan.runs)


def test_the_same_run_for_two_questions_is_made_once(corpus):
    point = {"flops": 1e12, "params": 1e6}
    compare = {
        "architectures": {"at": [point]},
        "width_depth": {"at": [point], "aspects": [10, 64]},
        "rates": {"at": [point]},
        "mixtures": {"at": [point], "mixtures": {"news": {"news": 1.0}}},
        "objectives": {"at": [point]},
    }
    plan = planned(corpus, compare=compare)
    beside = [run for run in plan.runs if not run.in_grid]
    tags = Counter(tag.kind for run in plan.runs for tag in run.tags)
    assert tags == {"architecture": 2, "width_depth": 2, "rate": 3, "mixture": 2, "objective": 2}
    assert len(beside) == 11 - 4  # at each point the grid's own way stands for one of the variants
    by_tag = {tag.variant: run for run in beside for tag in run.tags}
    lstm, own = by_tag["lstm"], by_tag["transformer"]
    assert abs(lstm.size / own.size - 1) < 0.1 and lstm.params.shape.architecture == "lstm"
    assert by_tag["0.01"].params.optim.muon_lr == 0.01 and by_tag["0.01"].params.optim.lr == BASE.optim.lr / 2
    assert by_tag["news"].params.mixture == {"news": 1.0}
    masked = by_tag["masked tokens"]
    assert masked.params == by_tag["next tokens"].params.model_copy(update={"objective": "masked"})
    alone = planned(corpus, compare={"width_depth": {"at": [{"flops": 2e10, "params": 5e4}], "aspects": [100, 200]}})
    assert all(run.in_grid and not run.tags for run in alone.runs)  # what has nothing beside it is not trained
    assert alone.left_out == ("width_depth at 2e+10 FLOP, 5e+04 parameters: one run, and nothing to compare it with",)


def test_what_the_data_cannot_carry_is_left_out_and_said(corpus):
    lengths = sorted(run.epochs for run in planned(corpus, sizes=[3e4, 4.5e4, 6e4, 1.2e5]).runs)
    plan = planned(corpus, sizes=[3e4, 4.5e4, 6e4, 1.2e5], max_epochs=lengths[-1] * 0.99)
    assert len(plan.runs) == 11
    assert len(plan.left_out) == 1 and "and max_epochs is" in plan.left_out[0] and "4e+10 FLOP" in plan.left_out[0]
    with pytest.raises(BadConfig, match=r"budget 1e\+10 FLOP has 0 sizes left and needs 3 .*min_steps is 100000"):
        planned(corpus, min_steps=100_000)
    with pytest.raises(BadConfig, match=r"has 2 sizes left and needs 3 .*max_epochs is"):
        planned(corpus, max_epochs=lengths[-4] * 0.99)


def test_what_the_stage_would_refuse_is_left_out_and_said(corpus):
    shares = BASE.model_copy(update={"mixture": {"news": 0.9, "code": 0.1}})
    epochs = sorted(run.epochs for run in planned(corpus, shares, sizes=[3e4, 4.5e4, 6e4, 1.2e5]).runs)
    limited = shares.model_copy(update={"max_epochs": epochs[-1] * 0.9})
    plan = planned(corpus, limited, sizes=[3e4, 4.5e4, 6e4, 1.2e5])
    assert len(plan.runs) == 11
    assert len(plan.left_out) == 1 and "pretrain.max_epochs:" in plan.left_out[0] and "of news" in plan.left_out[0]


def test_a_run_whose_whole_steps_miss_its_budget_is_left_out(corpus):
    """Else it would be taken for one of a budget that nobody asked for, after all have been trained."""
    per_step = {run.size: run.flops / run.params.steps for run in planned(corpus).runs if run.budget == 1e10}
    budget = 1.4 * max(per_step.values())  # one step or two, both far from it
    with pytest.raises(BadConfig, match="too far from the budget to be of it"):
        planned(corpus, budgets=[budget, 1e10], min_steps=1, growth=0)


def test_a_mixture_counts_the_epochs_of_its_scarcest_domain(corpus):
    natural = planned(corpus).runs[0]
    news = planned(corpus, BASE.model_copy(update={"mixture": {"news": 0.9, "code": 0.1}})).runs[0]
    assert news.params.steps == natural.params.steps and news.epochs > 2 * natural.epochs


def test_sizes_that_a_vocabulary_forbids_are_one_line(corpus):
    with pytest.raises(BadConfig, match=r"no network of 1,000 parameters: .* take larger sizes or a smaller") as caught:
        planned(corpus, sizes=[1e3, 4e4, 8e4])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"objective": "masked"}, "pretrain.objective"),
        ({"batch_ramp": [{"tokens": 1000, "batch_size": 8}]}, "pretrain.batch_ramp"),
        ({"phases": [{"name": "main", "steps": 10}]}, "pretrain.phases"),
        ({"shape": {"architecture": "lstm"}}, "pretrain.shape.architecture"),
    ],
)
def test_what_runs_of_a_study_cannot_have_in_common_is_named(corpus, given, named):
    with pytest.raises(BadConfig, match=f"one phase, one batch size, .*; leave out {named}$") as caught:
        planned(corpus, PretrainParams.model_validate({**BASE.model_dump(), **given}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": [1e4, 1e4, 2e4]}, "at least 3 different sizes, not 2"),
        ({"budgets": [1e9, 1.15e9]}, "nearly equal"),
        ({"compare": {"mixtures": {"mixtures": {"as pretrain.mixture": "natural"}}}}, "give yours another name"),
        ({"budgets": [1e9]}, "at least 2"),
        ({"shapes": [{"preset": "1m"}]}, "at least 3 different shapes, not 1"),
        ({"shapes": [{"preset": "1m"}, {"preset": "3m"}, {"architecture": "lstm"}]}, "an LSTM goes into"),
    ],
)
def test_a_grid_that_cannot_be_fitted_is_refused_before_anything_runs(given, message):
    with pytest.raises(ValidationError, match=message):
        GridParams.model_validate(given)


def test_what_is_left_is_told_by_the_work_that_was_done():
    def run(work: float) -> PlannedRun:
        return PlannedRun(BASE, work, 1, 1, work / 4, 1.0, True, validation_flops=work * 3 / 4)

    plan = Plan((run(1.0), run(1.0), run(2.0), run(4.0)), ())
    pace = Pace(plan)
    assert pace.seconds_left(plan.runs) is None
    pace.finished(plan.runs[0], 100.0, reused=True)
    assert pace.seconds_left(plan.runs[1:]) is None  # what was reused tells nothing of the rate
    pace.finished(plan.runs[1], 10.0, reused=False)
    assert pace.seconds_left(plan.runs[2:]) == 60.0
    assert pace.share == 0.25
