"""Parameter groups and learning-rate schedules."""

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

from model.config import ModelConfig
from model.job import Phase
from model.muon import Muon
from model.optim import OptimConfig, build_optimizer, parameter_groups
from model.schedule import learning_rate_scale, phased_learning_rate_scale, phases_that_learn_nothing
from model.transformer import Transformer

SHAPE = ModelConfig(
    vocab_size=31, hidden_size=16, n_layers=2, n_heads=2, n_kv_heads=1, intermediate_size=24, max_seq_len=16
)


def names_by_group(model, config):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [sorted(names[id(p)] for p in group["params"]) for group in parameter_groups(model, config)]


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(name, tied):
    model = Transformer(SHAPE.model_copy(update={"tie_embeddings": tied}))
    config = OptimConfig(name=name, weight_decay=0.1)
    members = [one for group in names_by_group(model, config) for one in group]
    assert sorted(members) == sorted(one for one, _ in model.named_parameters())
    names = {id(parameter): one for one, parameter in model.named_parameters()}
    for group in parameter_groups(model, config):
        for parameter in group["params"]:
            undecayed = "norm" in names[id(parameter)] or "embed" in names[id(parameter)]
            assert group["weight_decay"] == (0.0 if undecayed else 0.1)


def test_muon_takes_the_blocks_matrices_at_its_own_rate():
    model = Transformer(SHAPE)
    config = OptimConfig(name="muon", lr=0.003, muon_lr=0.02)
    groups = parameter_groups(model, config)
    assert [group["lr"] for group in groups] == [0.02, 0.003, 0.003, 0.003]
    assert [group["muon"] for group in groups] == [True, False, False, False]
    assert all(name.startswith("model.layers") and "norm" not in name for name in names_by_group(model, config)[0])


def test_build_optimizer_gives_what_is_named():
    model = Transformer(SHAPE)
    assert isinstance(build_optimizer(model, OptimConfig(name="adamw")), torch.optim.AdamW)
    assert isinstance(build_optimizer(model, OptimConfig(name="muon")), Muon)


def scales(steps=100, **settings):
    config = OptimConfig(**{"warmup_steps": 10, "decay_fraction": 0.2, **settings})
    return [learning_rate_scale(config, step, steps) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "wsd", "trapezoid"])
def test_every_schedule_warms_up_linearly_and_never_rises_again(schedule):
    found = scales(schedule=schedule)
    assert found[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert all(later <= earlier for earlier, later in itertools.pairwise(found[10:]))
    assert all(0 < scale <= 1 for scale in found)


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 99, 1.0),
        ("linear", 55, 0.5),
        ("cosine", 55, 0.5),
        ("cosine", 40, (1 + math.cos(math.pi / 3)) / 2),
        ("wsd", 80, 1.0),
        ("wsd", 85, 0.5),
        ("trapezoid", 80, 1.0),
        ("trapezoid", 90, 0.5),
    ],
)
def test_schedules_have_their_shapes(schedule, step, expected):
    assert scales(schedule=schedule)[step] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd", "trapezoid"])
def test_schedules_end_near_the_stated_minimum(schedule):
    assert scales(schedule=schedule, steps=10_000, min_lr_ratio=0.1)[-1] == pytest.approx(0.1, abs=0.03)


def test_decay_never_reaches_into_the_warm_up():
    found = scales(schedule="trapezoid", warmup_steps=50, decay_fraction=1.0)
    assert found[49] == 1.0 and found[50] == 1.0 and found[75] == pytest.approx(0.5)


def test_no_warm_up_starts_at_the_peak():
    assert scales(schedule="cosine", warmup_steps=0)[0] == 1.0


def test_a_run_that_is_all_warm_up_has_a_schedule():
    assert scales(schedule="cosine", steps=5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_step_outside_the_run_is_refused():
    with pytest.raises(ValueError, match="run of 5 steps"):
        learning_rate_scale(OptimConfig(), 5, 5)


def test_betas_must_be_rates():
    with pytest.raises(ValidationError, match="betas"):
        OptimConfig(betas=(0.9, 1.0))


def phased(config, *phases):
    found = [Phase(name=str(number), **phase) for number, phase in enumerate(phases)]
    steps = sum(phase.steps for phase in found)
    return [phased_learning_rate_scale(config, found, step) for step in range(steps)]


def test_a_single_phase_has_the_plain_schedule():
    config = OptimConfig(warmup_steps=10, decay_fraction=0.2)
    assert phased(config, {"steps": 60}, {"steps": 40}) == scales()


def test_the_schedule_runs_over_the_phases_that_have_no_rate_of_their_own():
    """Cosine to a tenth over the main phase, held while the context grows, linear to zero while annealing."""
    config = OptimConfig(schedule="cosine", warmup_steps=10, min_lr_ratio=0.1)
    found = phased(config, {"steps": 50}, {"steps": 10, "rate": {"shape": "constant"}}, {"steps": 10, "rate": {}})
    assert found[:50] == [learning_rate_scale(config, step, 50) for step in range(50)]
    assert found[50:60] == [0.1] * 10
    assert found[60:] == pytest.approx([0.1 * (1 - step / 10) for step in range(10)])


@pytest.mark.parametrize(
    ("shape", "middle"), [("linear", 0.5), ("cosine", 0.5), ("sqrt", 1 - math.sqrt(0.5)), ("constant", 1.0)]
)
def test_a_phase_goes_its_way_from_start_to_end(shape, middle):
    config = OptimConfig(schedule="constant", warmup_steps=0)
    found = phased(config, {"steps": 5}, {"steps": 10, "rate": {"shape": shape, "start": 0.8, "end": 0.2}})
    end = 0.8 if shape == "constant" else 0.2
    assert found[5] == 0.8 and found[10] == pytest.approx(end + (0.8 - end) * middle)


def test_a_phase_without_a_rate_keeps_that_of_the_one_before_it():
    config = OptimConfig(schedule="constant", warmup_steps=0)
    found = phased(config, {"steps": 2}, {"steps": 2, "rate": {"end": 0.5}}, {"steps": 2}, {"steps": 2, "rate": {}})
    assert found == [1.0, 1.0, 1.0, 0.75, 0.5, 0.5, 0.5, 0.25]


def test_a_run_may_begin_with_a_rate_and_ends_where_it_ends():
    config = OptimConfig(warmup_steps=0)
    assert phased(config, {"steps": 4, "rate": {"shape": "linear", "start": 0.0, "end": 1.0}}) == [0, 0.25, 0.5, 0.75]
    with pytest.raises(ValueError, match="run of 4 steps"):
        phased_learning_rate_scale(config, [Phase(name="a", steps=4, rate={})], 4)


def test_a_warm_up_that_is_not_over_is_where_the_next_phase_begins():
    found = phased(OptimConfig(warmup_steps=10), {"steps": 5}, {"steps": 2, "rate": {}})
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.25])


@pytest.mark.parametrize(
    ("config", "rates", "silent"),
    [
        ({}, [None, None, {"end": 0.0}], ["2"]),  # the default schedule ends at 0
        ({"min_lr_ratio": 0.1}, [None, None, {"end": 0.0}], []),
        ({}, [None, {"start": 0.1}], []),
        ({"warmup_steps": 100}, [None, {"end": 0.0}], []),  # a warm-up that is not over
        ({"schedule": "constant"}, [None, {"end": 0.0}, None, {"shape": "constant"}], ["2", "3"]),
        ({}, [{"shape": "constant", "start": 0.0}, {"end": 1.0}], ["0"]),
    ],
)
def test_phases_that_learn_nothing_are_those_whose_rate_is_0_throughout(config, rates, silent):
    found = [Phase(name=str(number), steps=25, rate=rate) for number, rate in enumerate(rates)]
    optim = OptimConfig(**config)
    assert phases_that_learn_nothing(optim, found) == silent
    steps = [phased_learning_rate_scale(optim, found, step) for step in range(25 * len(rates))]
    assert silent == [str(n) for n in range(len(rates)) if not any(steps[25 * n : 25 * (n + 1)])]
