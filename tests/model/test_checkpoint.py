"""Which checkpoint a run goes on from."""

from pathlib import Path

import pytest
import torch

from model import checkpoint
from model.checkpoint import Checkpoints, TrainState


def test_the_newest_is_the_one_that_latest_names(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    assert checkpoints.latest() is None
    for step in (5, 10):
        folder = tmp_path / f"step-{step:08d}"
        folder.mkdir()
        (folder / "state.json").write_text(TrainState(step=step).model_dump_json())
    (tmp_path / "latest").write_text("step-00000005\n")
    assert checkpoints.latest() == tmp_path / "step-00000005"


def test_a_checkpoint_that_is_gone_is_an_error_and_no_new_beginning(tmp_path: Path):
    (tmp_path / "latest").write_text("step-00000005\n")
    with pytest.raises(RuntimeError, match=r"latest names a checkpoint that is not there; remove .* to begin anew"):
        Checkpoints(tmp_path, keep_last=2).latest()


class Engine:
    """In the place of DeepSpeed's."""

    def save_checkpoint(self, folder: str, tag: str, save_latest: bool) -> None:
        (Path(folder) / tag).mkdir()


@pytest.mark.parametrize("keep_last", [1, 2])
def test_what_an_attempt_left_beyond_the_newest_is_not_kept_for_it(tmp_path, monkeypatch, keep_last: int):
    """Killed between a checkpoint's name and `latest`, or set back by hand."""
    monkeypatch.setattr(checkpoint.dist, "barrier", lambda: None)
    monkeypatch.setattr(checkpoint.dist, "get_rank", lambda: 0)
    checkpoints = Checkpoints(tmp_path, keep_last)
    for step in (50, 100, 200, 300):
        checkpoints.save(Engine(), TrainState(step=step))
    (tmp_path / "step-00000100").mkdir(exist_ok=True)
    (tmp_path / "latest").write_text("step-00000100\n")
    assert checkpoints.save(Engine(), TrainState(step=150)) == checkpoints.latest()
    left = sorted(path.name for path in tmp_path.glob("step-*"))
    assert left == ["step-00000100", "step-00000150"][-keep_last:]


def test_after_the_universal_form_every_state_counts_its_own_steps():
    """DeepSpeed gives all of them one tensor at stage 3."""
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    optimizer = torch.optim.AdamW(weights, fused=True)
    shared = torch.tensor(7.0)
    for weight in weights:
        weight.grad = torch.ones(2)
        optimizer.state[weight] = {"step": shared, "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}
    checkpoint._steps_apart(optimizer)
    optimizer.step()
    assert [float(optimizer.state[weight]["step"]) for weight in weights] == [8.0] * 3
