"""How a rank starts, as far as one process without accelerators can show it."""

import pytest
import torch

from model import train


@pytest.mark.parametrize(("gpus", "backend"), [(True, "nccl"), (False, "gloo")])
def test_a_rank_takes_its_own_device_before_it_joins_the_others(
    monkeypatch: pytest.MonkeyPatch, gpus: bool, backend: str
):
    """With a recorder in the accelerator's place; on real devices it has not been run."""
    deepspeed = pytest.importorskip("deepspeed")
    done: list[tuple[str, object]] = []

    class Accelerator:
        def set_device(self, index: int) -> None:
            done.append(("device", index))

    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode: None)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setattr(train, "load_extension", lambda: None)
    monkeypatch.setattr(train, "meet", lambda backend: done.append(("meet", backend)))
    monkeypatch.setattr("deepspeed.accelerator.get_accelerator", Accelerator)
    monkeypatch.setattr(deepspeed, "init_distributed", lambda name, verbose: done.append(("join", name)))
    train.start_process_group(threads=1)
    assert done == [("device", 3), ("meet", backend), ("join", backend)]
