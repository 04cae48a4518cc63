"""Parameter groups and learning-rate schedules."""

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

from model.config import ModelConfig
from model.muon import Muon
from model.optim import OptimConfig, build_optimizer, learning_rate_scale, parameter_groups
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
