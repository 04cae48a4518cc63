"""What utilisation is measured against."""

import pytest
import torch

from model import speed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peak_is_measured_on_numbers_that_differ_and_leaves_random_states_alone(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
):
    monkeypatch.setattr(speed, "_CPU_SIZE", 64)
    taken: list[torch.Tensor] = []
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda left, right: (taken.append(left), product(left, right))[1])
    before = torch.get_rng_state()
    assert speed.matmul_flops_per_s(dtype, torch.device("cpu")) > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert len({id(tensor) for tensor in taken}) == 1 and taken[0].dtype == dtype
    assert taken[0].float().std() == pytest.approx(1.0, abs=0.1)
