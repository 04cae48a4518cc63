"""Weights kept beside the checkpoints, to export something else than the last step's.

Two ways to choose: the weights with the lowest validation loss, or an average of several steps near the end. A mean of
checkpoints takes the place of part of a learning rate's decay (Sanyal et al. 2023; Llama 3 averages its last ones,
section 3.4.3; OLMo 2 its runs). Only weights are kept, as safetensors, named by their step: a run that is killed and
goes on writes the same files again.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.averaging import average_weights, averaged_steps
from model.checkpoint import TrainState, replace_text
from model.hf import Network, save_hf
from model.job import Job

NAME = "step-{step:08d}.safetensors"
SNAPSHOTS = "snapshots"
EXPORTED = "exported.json"


class KeptWeights:
    """The snapshots of one run, and its export. All methods are collective."""

    def __init__(self, job: Job, network: Network, state: TrainState) -> None:
        self.job, self.network, self.state = job, network, state
        self.folder = job.work.folder / SNAPSHOTS

    def wanted(self) -> list[int]:
        """Steps whose weights are needed in the end, as far as is known now."""
        if self.job.average is not None:
            return averaged_steps(self.job.average, self.job.steps)
        return [self.state.best_step] if self.state.best_step is not None else []

    def keep(self, val_loss: float | None) -> None:
        """Keep the weights of the step that was just done, where the export may need them."""
        state = self.state
        if self.job.export == "best":
            if val_loss is None or (state.best_loss is not None and val_loss >= state.best_loss):
                return
            state.best_step, state.best_loss = state.step, val_loss
        elif state.step not in self.wanted():
            return
        weights = self._whole()
        if dist.get_rank() == 0:
            save_snapshot(self.folder, state.step, weights)

    def prune(self) -> None:
        """Forget what is not wanted. Only after a checkpoint: until then a resumed run may want what was wanted."""
        if dist.get_rank() == 0:
            prune(self.folder, self.wanted())

    @torch.no_grad()
    def export(self, validate: Callable[[], dict[str, float]] | None) -> None:
        """Write the chosen weights as a Hugging Face folder; which, and how good they are, as `exported.json`."""
        job = self.job
        if job.export != "last":
            steps = self.wanted()
            self._load(steps)
            held_out = {f"val_{name}": value for name, value in (validate() if validate else {}).items()}
            if dist.get_rank() == 0:
                found = {"weights": job.export, "steps": steps, **held_out}
                replace_text(job.work.folder / EXPORTED, json.dumps(found) + "\n")
        weights = self._whole()
        if dist.get_rank() == 0:
            special = job.special_tokens
            save_hf(
                self.network,
                job.work.export,
                bos_token_id=special.bos,
                eos_token_id=special.eos,
                pad_token_id=special.pad,
                weights=weights,
            )
        dist.barrier()

    def _load(self, steps: list[int]) -> None:
        """Put the mean of these steps' weights into the network."""
        holds_all = dist.get_rank() == 0 or self.state.zero_stage < 3
        decay = self.job.average.decay if self.job.average is not None else None
        weights = mean_snapshot(self.folder, steps, decay) if holds_all else {}
        for name, parameter in self.network.named_parameters():
            with self._gathered(parameter, modifier_rank=0):
                if holds_all:
                    parameter.copy_(weights[name])

    def _whole(self) -> dict[str, Tensor]:
        """All weights on the first rank, in the machine's memory; nothing on the others.

        One parameter at a time: gathered all at once, a model that ZeRO-3 alone makes fit would not.
        """
        sharded = self.state.zero_stage == 3  # only what is given back when the next one comes need be copied
        found: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            with self._gathered(parameter):
                if dist.get_rank() == 0:
                    found[name] = parameter.detach().to("cpu", copy=sharded)
        return found

    def _gathered(self, parameter: nn.Parameter, modifier_rank: int | None = None) -> Any:
        """A context in which every rank has a parameter whole (ZeRO-3 gathers it)."""
        import deepspeed

        enabled = self.state.zero_stage == 3
        return deepspeed.zero.GatheredParameters([parameter], modifier_rank=modifier_rank, enabled=enabled)


def save_snapshot(folder: Path, step: int, weights: Mapping[str, Tensor]) -> None:
    """Keep these weights as those after `step`, in one rename."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME.format(step=step)
    partial = path.with_suffix(".partial")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, partial)
    partial.replace(path)


def load_snapshot(folder: Path, step: int) -> dict[str, Tensor]:
    """The weights after `step`."""
    return load_file(folder / NAME.format(step=step))


def mean_snapshot(folder: Path, steps: Iterable[int], decay: float | None = None) -> dict[str, Tensor]:
    """The weighted mean of the weights after these steps, summed in float64, in the type that they have."""
    steps = list(steps)
    total: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    for step, share in zip(steps, average_weights(len(steps), decay), strict=True):
        for name, tensor in load_snapshot(folder, step).items():
            dtypes[name] = tensor.dtype
            part = tensor.double() * share
            total[name] = part if name not in total else total[name].add_(part)
    return {name: tensor.to(dtypes[name]) for name, tensor in total.items()}


def prune(folder: Path, wanted: Iterable[int]) -> None:
    """Forget the weights of all other steps."""
    names = {NAME.format(step=step) for step in wanted}
    for path in folder.glob("step-*") if folder.is_dir() else ():
        if path.name not in names:
            path.unlink()
