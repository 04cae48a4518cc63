"""Which checkpoint a run goes on from."""

from pathlib import Path

import pytest

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
