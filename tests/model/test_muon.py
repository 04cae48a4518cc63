"""Muon alone, and under DeepSpeed on two ranks at every ZeRO stage it supports."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.muon import Muon, orthogonalize
from tests.model import muon_ranks
from tests.model.training_jobs import environment


def random_matrices(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_orthogonalize_keeps_singular_vectors_and_flattens_singular_values(dtype):
    for matrix in random_matrices((24, 24), (40, 16), (16, 40)):
        (found,) = orthogonalize([matrix], dtype)
        assert found.dtype == torch.float32
        u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
        core = u.T @ found @ vt.T / max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        values = core.diagonal()
        assert (core - torch.diag(values)).abs().max() < 0.05
        # The quintic's fixed range; the smallest singular values of a square matrix may not have arrived.
        assert values.max() < 1.3 and values.median() > 0.6


def test_equal_shapes_in_a_batch_are_as_if_alone():
    matrices = random_matrices((8, 12), (12, 8), (8, 12))
    for matrix, found in zip(matrices, orthogonalize(matrices), strict=True):
        torch.testing.assert_close(found, orthogonalize([matrix])[0], rtol=1e-4, atol=1e-5)


def test_one_step_is_momentum_orthogonalised_and_decayed():
    (weight,) = random_matrices((6, 6))
    gradient = weight.flip(0).contiguous()
    parameter = torch.nn.Parameter(weight.clone())
    optimizer = Muon(
        [{"params": [parameter], "muon": True, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.5}], (0.9, 0.95), 1e-8
    )
    parameter.grad = gradient.clone()
    optimizer.step()
    blended = 0.1 * gradient + 0.9 * 0.1 * gradient  # (1 - m) g + m (0 + (1 - m) g), Nesterov's look ahead
    expected = weight * (1 - 0.1 * 0.5) - 0.1 * orthogonalize([blended])[0]
    torch.testing.assert_close(parameter.data, expected)
    assert torch.equal(parameter.grad, gradient)


def test_other_groups_are_torchs_adamw():
    (weight,) = random_matrices((5, 3))
    ours, theirs = torch.nn.Parameter(weight.clone()), torch.nn.Parameter(weight.clone())
    muon = Muon([{"params": [ours], "muon": False, "lr": 0.01, "weight_decay": 0.1}], (0.9, 0.95), 1e-8)
    adamw = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for step in range(5):
        for parameter in (ours, theirs):
            parameter.grad = torch.sin(parameter.detach() * (step + 1))
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_state_survives_saving():
    def optimizer_of(parameters):
        return Muon(
            [{"params": [p], "muon": p.ndim == 2, "lr": 0.05, "weight_decay": 0.0} for p in parameters],
            (0.9, 0.95),
            1e-8,
        )

    def step(optimizer, parameters):
        for parameter in parameters:
            parameter.grad = torch.cos(parameter.detach())
        optimizer.step()

    first = [torch.nn.Parameter(m) for m in random_matrices((4, 6), (5,))]
    optimizer = optimizer_of(first)
    step(optimizer, first)
    second = [torch.nn.Parameter(p.detach().clone()) for p in first]
    resumed = optimizer_of(second)
    # torch shares tensors between a state dict and whoever loads it; a file does not.
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(optimizer, first)
    step(resumed, second)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_vectors_are_not_muons():
    with pytest.raises(ValueError, match="matrices only"):
        Muon([{"params": [torch.nn.Parameter(torch.ones(3))], "muon": True}], (0.9, 0.95), 1e-8)


def test_two_ranks_at_zero_0_1_and_2_learn_as_one_process_does(tmp_path):
    expected = muon_ranks.train_alone()
    ranks = [
        subprocess.Popen(
            [sys.executable, muon_ranks.__file__, str(rank), "2", str(tmp_path)],
            env={**environment(), "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    output = [rank.communicate(timeout=200)[0] for rank in ranks]
    assert all((tmp_path / f"losses-{rank}.json").exists() for rank in range(2)), "\n".join(output)
    found = json.loads(Path(tmp_path / "losses-0.json").read_text())
    for stage in ("0", "1", "2"):
        assert found[stage] == pytest.approx(expected, rel=1e-4), f"ZeRO stage {stage}"
    assert expected[-1] < expected[0] - 0.5
