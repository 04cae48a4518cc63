"""Checkpoints that are whole or absent, and that continue at any world size.

    <folder>/step-00000100/state.json     where training stands (TrainState)
                           deepspeed/     what DeepSpeed saved: weights and each rank's share of the optimizer
                           universal/     the same, free of the world size; made when a resume needs it
    <folder>/latest                       the name of the newest whole one, written last

A checkpoint is written under another name, pushed to the disk and renamed, so a kill at any moment leaves the previous
one. DeepSpeed's files are pickles by torch.save: they are loaded only from the run's own folder.
"""

import argparse
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from pydantic import BaseModel, ConfigDict, Field

from model.outliers import Recent

LATEST = "latest"
STATE = "state.json"
NATIVE = "deepspeed"
UNIVERSAL = "universal"
PARTIAL = ".partial"


class TrainState(BaseModel):
    """Everything of a run that is neither weights nor optimizer.

    What is shown next follows from `step` alone (`model/course.py`); `samples` is there to find a checkpoint of another
    course, in which the same step stands elsewhere.
    """

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    samples: int = 0  # learnt from, over all streams
    tokens: int = 0  # input tokens seen, padding not counted
    seconds: float = 0.0  # time spent in steps, over all attempts
    recent: Recent = Field(default_factory=Recent)  # what outliers are judged by
    best_step: int | None = None  # of the lowest validation loss so far
    best_loss: float | None = None
    world_size: int = 1
    zero_stage: int = 0
    dtype: Literal["bfloat16", "float32"] = "float32"  # of the matrix products, for the whole run


class Checkpoints:
    """The checkpoints of one run; all methods but `latest` are collective: every rank calls them."""

    def __init__(self, folder: Path, keep_last: int) -> None:
        if keep_last < 1:
            raise ValueError(f"keep_last {keep_last}: at least one checkpoint must stay")
        self.folder = folder
        self.keep_last = keep_last

    def latest(self) -> Path | None:
        """The newest whole checkpoint.

        Raises:
            RuntimeError: `latest` names none. To begin anew instead would also cut the metrics of the run.
        """
        pointer = self.folder / LATEST
        if not pointer.exists():
            return None
        found = self.folder / pointer.read_text(encoding="utf-8").strip()
        if not (found / STATE).is_file():
            raise RuntimeError(f"{pointer} names a checkpoint that is not there; remove {self.folder} to begin anew")
        return found

    def save(self, engine: Any, state: TrainState) -> Path:
        """Write the checkpoint of `state.step` and forget those beyond the newest `keep_last`."""
        final = self.folder / f"step-{state.step:08d}"
        partial = self.folder / f"{PARTIAL}-{final.name}"
        if _is_main():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        dist.barrier()
        engine.save_checkpoint(str(partial), tag=NATIVE, save_latest=False)
        dist.barrier()
        if _is_main():
            (partial / STATE).write_text(state.model_dump_json(indent=1) + "\n", encoding="utf-8")
            sync_tree(partial)
            shutil.rmtree(final, ignore_errors=True)  # of an attempt that was killed before it wrote `latest`
            partial.rename(final)
            replace_text(self.folder / LATEST, final.name + "\n")
            self._prune(final)
        dist.barrier()
        return final

    def _prune(self, newest: Path) -> None:
        """Keep `newest` and those before it; later steps are of an attempt that `latest` never named."""
        done = sorted(path for path in self.folder.glob("step-*") if path.is_dir())
        kept = [path for path in done if path <= newest][-self.keep_last :]
        leftovers = [path for path in self.folder.glob(f"{PARTIAL}-*") if path.is_dir()]
        for path in [*(path for path in done if path not in kept), *leftovers]:
            shutil.rmtree(path)


def read_state(checkpoint: Path) -> TrainState:
    """The state beside the weights."""
    return TrainState.model_validate_json((checkpoint / STATE).read_text(encoding="utf-8"))


def zero_stage_for(asked: int | None, world_size: int) -> int:
    """The ZeRO stage of a run that begins: as asked, else 0 on one rank, which has nothing to divide, and 1 on more."""
    if asked is not None:
        return asked
    return 0 if world_size == 1 else 1


def needs_universal(state: TrainState, world_size: int, zero_stage: int) -> bool:
    """Whether a checkpoint must be converted before this run can read it.

    ZeRO 1-3 cut the optimizer by rank and refuse another world size; stage 0 writes one whole file.

    Raises:
        ValueError: it was made by a ZeRO stage whose files this one cannot read.
    """
    if state.zero_stage != zero_stage:
        raise ValueError(
            f"the checkpoint of step {state.step} was made by ZeRO stage {state.zero_stage}; "
            f"continue with that stage, not {zero_stage}"
        )
    return state.world_size != world_size and zero_stage > 0


def make_universal(checkpoint: Path, say: Callable[[str], None]) -> None:
    """Add the world-size-free form with DeepSpeed's own converter. Collective; nothing when it is there already."""
    target = checkpoint / UNIVERSAL
    if _is_main() and not target.exists():
        from deepspeed.checkpoint import ds_to_universal

        say(f"converting {checkpoint.name} for another world size")
        partial = checkpoint / f"{PARTIAL}-{UNIVERSAL}"
        shutil.rmtree(partial, ignore_errors=True)
        ds_to_universal.main(
            argparse.Namespace(
                input_folder=str(checkpoint / NATIVE),
                output_folder=str(partial),
                num_extract_workers=1,
                num_merge_workers=1,
                keep_temp_folder=False,
                strict=True,
                inject_missing_state=True,  # it refuses checkpoints of anything but Megatron otherwise
            )
        )
        sync_tree(partial)
        partial.rename(target)
    dist.barrier()


def load(engine: Any, checkpoint: Path, universal: bool) -> TrainState:
    """Put a checkpoint into the engine. Collective. Raises RuntimeError when DeepSpeed finds nothing to load."""
    keeping = _groups_apart(engine.optimizer.optimizer) if universal and _shards_weights(engine) else nullcontext()
    with keeping:
        loaded, _ = engine.load_checkpoint(str(checkpoint), tag=UNIVERSAL if universal else NATIVE)
    if loaded is None:
        raise RuntimeError(f"DeepSpeed loaded nothing from {checkpoint}")
    if universal and isinstance(engine.optimizer.optimizer, torch.optim.AdamW):
        _steps_apart(engine.optimizer.optimizer)
    return read_state(checkpoint)


def _shards_weights(engine: Any) -> bool:
    return bool(engine.zero_optimization_stage() == 3)


@contextmanager
def _groups_apart(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Undo what DeepSpeed 0.19.8 mixes up when it loads the universal form at stage 3.

    `load_hp_checkpoint_state_from_checkpoint_dir_stage3` gives every group the hyperparameters of the first one.
    """
    own = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    yield
    for group, kept in zip(optimizer.param_groups, own, strict=True):
        group.update(kept)


def _steps_apart(optimizer: torch.optim.AdamW) -> None:
    """Give every state a `step` of its own, on its parameter's device, where fused AdamW wants it.

    From the universal form DeepSpeed 0.19.8 leaves them on the CPU, at stage 3 one and the same tensor for all states,
    which Adam then raises once a group instead of once a step.
    """
    for parameter, state in optimizer.state.items():
        state["step"] = torch.as_tensor(state["step"]).to(parameter.device, copy=True)


def sync_tree(folder: Path) -> None:
    """Push every file and folder below to the disk."""
    for path in [folder, *folder.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """Write a small file in one rename."""
    partial = path.with_name(path.name + ".tmp")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _is_main() -> bool:
    return dist.get_rank() == 0
