"""bfloat16 through the engine: at every ZeRO stage, on one rank and on two, interrupted and moved.

Processes of its own, since DeepSpeed remembers autocast as long as a process lives.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.model.training_jobs import job, losses, rows, run_plan, write_data

STAGES = (0, 1, 2, 3)
OTHER_LAYOUT = 0.02  # products are rounded to 8 bits, so sums in another order are apart by more than in float32
OTHER_TYPE = 0.05


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bfloat16")
    write_data(folder)

    def bf16(name: str, stage: int, **changes: object) -> str:
        return str(job(folder, name, dtype="bfloat16", work__zero_stage=stage, **changes))

    moved = [bf16(f"moved-z{stage}", stage) for stage in STAGES]
    broken = [bf16(f"broken-z{stage}", stage) for stage in STAGES]
    two_ranks = [
        *({"job": bf16(f"two-z{stage}", stage)} for stage in STAGES),
        *({"job": one, "fail_at": 8} for one in [*broken, *moved]),  # after the checkpoint of step 5
        *({"job": one} for one in broken),
    ]
    run_plan(folder, 2, two_ranks)
    run_plan(
        folder,
        1,
        [
            {"job": str(job(folder, "float32"))},
            {"job": bf16("one-z0", 0)},
            *({"job": one} for one in moved),
        ],
    )
    return folder


@pytest.mark.parametrize("name", ["one-z0", *(f"two-z{stage}" for stage in STAGES)])
def test_it_learns_what_float32_does(trained: Path, name: str):
    found = losses(trained, name)
    assert found == pytest.approx(losses(trained, "float32"), abs=OTHER_TYPE)
    assert found != losses(trained, "float32")
    assert found[-1] < found[0] - 0.5
    assert found == pytest.approx(losses(trained, "one-z0"), abs=OTHER_LAYOUT)


@pytest.mark.parametrize("stage", STAGES)
def test_weights_stay_float32(trained: Path, stage: int):
    exported = load_file(trained / f"two-z{stage}" / "export" / "model.safetensors")
    assert {tensor.dtype for tensor in exported.values()} == {torch.float32}
    assert any((tensor != tensor.bfloat16().float()).any() for tensor in exported.values())


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_run_is_bit_equal(trained: Path, stage: int):
    broken, whole = f"broken-z{stage}", f"two-z{stage}"
    assert rows(trained, broken) == rows(trained, whole)
    weights = [(trained / name / "export" / "model.safetensors").read_bytes() for name in (broken, whole)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_goes_on_at_another_world_size(trained: Path, stage: int):
    found, whole = losses(trained, f"moved-z{stage}"), losses(trained, f"two-z{stage}")
    assert found[:5] == whole[:5]
    assert found == pytest.approx(whole, abs=OTHER_LAYOUT)
