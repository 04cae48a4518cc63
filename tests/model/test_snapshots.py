"""Weights that are kept, averaged and forgotten."""

from pathlib import Path

import pytest
import torch

from model.averaging import Average, average_weights, averaged_steps
from model.snapshots import load_snapshot, mean_snapshot, prune, save_snapshot


def test_averaged_steps_end_with_the_last():
    assert averaged_steps(Average(checkpoints=3, every=10), 100) == [80, 90, 100]
    assert averaged_steps(Average(checkpoints=5, every=10), 25) == [5, 15, 25]


def test_weights_of_a_mean():
    assert average_weights(4, None) == [0.25] * 4
    assert average_weights(3, 0.5) == pytest.approx([1 / 7, 2 / 7, 4 / 7])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_is_that_of_the_numbers(tmp_path: Path, dtype: torch.dtype):
    generator = torch.Generator().manual_seed(0)
    kept = {step: torch.randn(5, 7, generator=generator).to(dtype) for step in (1, 2, 3)}
    for step, tensor in kept.items():
        save_snapshot(tmp_path, step, {"w": tensor.T})  # not contiguous
    assert torch.equal(load_snapshot(tmp_path, 2)["w"], kept[2].T)
    expected = sum(tensor.double() for tensor in kept.values()) / 3
    assert torch.equal(mean_snapshot(tmp_path, [1, 2, 3])["w"], expected.to(dtype).T)
    assert torch.equal(mean_snapshot(tmp_path, [3])["w"], kept[3].T)
    weighted = (kept[2].double() + 2 * kept[3].double()) / 3
    assert torch.allclose(mean_snapshot(tmp_path, [2, 3], 0.5)["w"].double(), weighted.T, atol=1e-2, rtol=1e-2)


def test_pruning_leaves_what_is_wanted(tmp_path: Path):
    prune(tmp_path / "none", [1])
    for step in (1, 2, 3):
        save_snapshot(tmp_path, step, {"w": torch.ones(1)})
    prune(tmp_path, [2, 9])
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002.safetensors"]
