"""One training loop for every objective, on DeepSpeed.

What holds at any world size, micro-batch and ZeRO stage: the global batch of a step, the divisor of its loss, the
learning rate. At equal (world size, threads, machine type) a run is bit-equal to itself, interrupted or not; dropout
does not exist here, so no generator's state has to be kept.
"""

import gc
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from model import checkpoint as ckpt
from model.batching import micro_batches, sample_rows, share_of_rank
from model.data import ChatRows, PairRows, TokenRows
from model.hf import Network, load_hf, load_network, new_network, save_hf
from model.job import Job
from model.masked import MaskTokens
from model.metrics import MetricsLog
from model.objectives import MaskedToken, NextToken, Objective, Preferences, load_token_bytes
from model.optim import build_optimizer, learning_rate_scale
from model.precision import native_bfloat16
from model.transformer import Transformer

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
REFERENCE = "reference-{split}.npy"

BUCKET_ELEMENTS = 500_000_000  # DeepSpeed's own default of gradients reduced at once, which a small model need not hold

Say = Callable[[str], None]


class Trainer:
    """One rank's view of a run. Construction is collective: every rank of the process group makes one."""

    def __init__(self, job: Job, say: Say) -> None:
        self.job, self.say = job, say
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self.device = _device()
        self.micro_batch_size, self.grad_accum_steps = micro_batches(
            job.batch_size, self.world_size, job.work.micro_batch_size
        )
        self.network = _network(job)
        if job.data.seq_len > self.network.config.max_seq_len:
            raise ValueError(
                f"seq_len {job.data.seq_len} exceeds the model's {self.network.config.max_seq_len} positions"
            )
        vocab_size = self.network.config.vocab_size
        self.token_bytes = load_token_bytes(job.data.token_bytes, vocab_size)
        self.training: Objective = self._objective(job.data.train)
        self.validation = self._objective(job.data.validation) if job.data.validation else None
        if not len(self.training):
            raise ValueError(f"no row of {job.data.seq_len} positions in {', '.join(map(str, job.data.train))}")
        self.checkpoints = ckpt.Checkpoints(job.work.folder / CHECKPOINTS, job.work.keep_checkpoints)
        self.state = ckpt.TrainState(
            world_size=self.world_size, zero_stage=job.work.zero_stage, dtype=_dtype(job.dtype, self.device)
        )
        self._start()

    def _objective(self, prefixes: list[Path]) -> Objective:
        data = self.job.data
        z_loss = self.job.optim.z_loss
        special = self.job.special_tokens
        if self.job.objective in ("lm", "mlm"):
            rows = TokenRows(prefixes, data.seq_len, data.document_mask)
            if self.job.objective == "lm":
                return NextToken(rows, self.token_bytes, self.device, z_loss)
            vocabulary = MaskTokens(
                self.network.config.vocab_size, mask=special.pad, special=frozenset([special.bos, *special.eos])
            )
            return MaskedToken(rows, vocabulary, self.job.seed, self.device, z_loss)
        if self.job.objective == "sft":
            return NextToken(ChatRows(prefixes[0], data.seq_len, special.pad), None, self.device, z_loss)
        assert self.job.dpo is not None
        return Preferences(PairRows(prefixes[0], data.seq_len, self.job.special_tokens.pad), self.job.dpo, self.device)

    def _start(self) -> None:
        """Hand the network to DeepSpeed and bring it to where the last attempt stopped."""
        import deepspeed

        found = self.checkpoints.latest()
        universal = False
        if found is not None:
            saved = ckpt.read_state(found)
            self.state.dtype = saved.dtype  # a run keeps the type it began with, on whatever machine it goes on
            universal = ckpt.needs_universal(saved, self.world_size, self.job.work.zero_stage)
            if universal:
                ckpt.make_universal(found, self.say)
        optimizer = build_optimizer(self.network, self.job.optim)
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=self.network, optimizer=optimizer, config=self._deepspeed_config(universal)
        )
        if self.job.objective == "dpo":  # before a checkpoint replaces the reference model's weights
            self._reference("train", self.training)
            if self.validation is not None:
                self._reference("validation", self.validation)
        if found is not None:
            self.state = ckpt.load(self.engine, found, universal)
            self.state.world_size = self.world_size
            self.say(f"continuing after step {self.state.step} of {self.job.steps}")

    def _deepspeed_config(self, universal: bool) -> dict[str, Any]:
        config: dict[str, Any] = {
            "train_micro_batch_size_per_gpu": self.micro_batch_size,
            "gradient_accumulation_steps": self.grad_accum_steps,
            "train_batch_size": self.micro_batch_size * self.grad_accum_steps * self.world_size,
            "gradient_clipping": self.job.optim.grad_clip,
            "zero_optimization": {
                "stage": self.job.work.zero_stage,
                "reduce_bucket_size": min(BUCKET_ELEMENTS, self.network.config.n_params),
            },
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 1 << 60,  # metrics.jsonl says it
            "checkpoint": {"load_universal": universal},
        }
        if self.state.dtype == "bfloat16":
            # No module is listed as safe for low precision *communication*: gradients are reduced in fp32.
            config["torch_autocast"] = {
                "enabled": True,
                "dtype": "bfloat16",
                "lower_precision_safe_modules": [],
            }
        return config

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last step, with validation and checkpoints on the way."""
        work = self.job.work
        log = None
        if self.rank == 0:
            log = MetricsLog(
                work.folder / METRICS, work.folder / TENSORBOARD if work.tensorboard else None, self.state.step
            )
        try:
            while self.state.step < self.job.steps:
                row = self._step()
                step = self.state.step
                last = step == self.job.steps
                if self.validation is not None and (last or _due(step, self.job.validate_every)):
                    row |= {f"val_{name}": value for name, value in self.validate(self.validation).items()}
                if log is not None:
                    log.write(row)
                if last or _due(step, work.checkpoint_every):
                    self.checkpoints.save(self.engine, self.state)
        finally:
            if log is not None:
                log.close()

    def _step(self) -> dict[str, Any]:
        """One optimizer step; returns its row of metrics."""
        job, state = self.job, self.state
        started = time.perf_counter()
        rows = sample_rows(state.samples, job.batch_size, len(self.training), job.seed)
        micros = [
            self.training.micro_batch(samples, state.step + 1)
            for samples in share_of_rank(rows, self.rank, self.world_size, self.micro_batch_size)
        ]
        weight, tokens = self._sum([sum(m.weight for m in micros), sum(m.tokens for m in micros)])
        scale = learning_rate_scale(job.optim, state.step, job.steps)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * scale
        totals: dict[str, Tensor] = {}
        grad_norm = None
        for micro in micros:
            loss, sums = self.training.loss(self.engine, micro)
            # DeepSpeed divides by the micro-batches and averages over the ranks; together that leaves sum / weight.
            self.engine.backward(loss * (self.world_size * self.grad_accum_steps / max(weight, 1.0)))
            if self.engine.is_gradient_accumulation_boundary() and job.work.zero_stage == 0:
                grad_norm = _grad_norm(self.network)  # DeepSpeed keeps none at stage 0
            self.engine.step()
            for name, value in {**sums, "loss": loss}.items():
                totals[name] = totals.get(name, torch.zeros(())) + value.detach().float().cpu()
        if grad_norm is None:
            grad_norm = float(self.engine.get_global_grad_norm())
        names = sorted(totals)
        summed = dict(zip(names, self._sum([float(totals[name]) for name in names]), strict=True))
        metrics = self.training.summary({**summed, "weight": weight})
        seconds = time.perf_counter() - started
        state.step += 1
        state.samples += job.batch_size
        state.tokens += int(tokens)
        state.seconds += seconds
        if not math.isfinite(metrics["loss"]) or not math.isfinite(grad_norm):
            raise FloatingPointError(
                f"step {state.step}: loss {metrics['loss']}, gradient norm {grad_norm}; lower the learning rate"
            )
        return {
            "step": state.step,
            **metrics,
            "lr": job.optim.lr * scale,
            "grad_norm": grad_norm,
            "tokens": state.tokens,
            "epoch": state.samples / len(self.training),
            "tokens_per_s": tokens / seconds,
            "seconds": state.seconds,
        }

    @torch.no_grad()
    def validate(self, objective: Objective) -> dict[str, float]:
        """Metrics over the held-out rows (the first `validation_rows`), the same at any world size but for rounding."""
        n = min(len(objective), self.job.data.validation_rows or len(objective))
        totals: dict[str, Tensor] = {}
        for samples in self._spread(n):
            for name, value in objective.measure(self.engine, objective.micro_batch(samples)).items():
                totals[name] = totals.get(name, torch.zeros((), dtype=torch.float64)) + value.double().cpu()
        names = sorted(totals)
        summed = dict(zip(names, self._sum([float(totals[name]) for name in names]), strict=True))
        return objective.summary(summed) if summed.get("weight") else {}

    def _spread(self, n: int) -> list[list[int | None]]:
        """Micro-batches of the samples 0..n-1 that fall to this rank; equally many on each (ZeRO-3 gathers in step)."""
        if n == 0:
            return []
        return share_of_rank(np.arange(n), self.rank, self.world_size, self.micro_batch_size)

    @torch.no_grad()
    def _reference(self, split: str, objective: Objective) -> None:
        """Log-probabilities of every pair under the starting model: once a run, kept beside the checkpoints."""
        assert isinstance(objective, Preferences)
        path = self.job.work.folder / REFERENCE.format(split=split)
        if not path.exists():
            table = torch.zeros(len(objective), 2, dtype=torch.float64, device=self.device)
            for samples in self._spread(len(objective)):
                log_probs, _ = objective.log_probs(self.engine, objective.micro_batch(samples))
                for column, sample in enumerate(samples):
                    if sample is not None:
                        table[sample] = log_probs[:, column].double()
            dist.all_reduce(table)
            if self.rank == 0:
                partial = path.with_suffix(".partial.npy")
                np.save(partial, table.cpu().numpy())
                partial.replace(path)
            dist.barrier()
        objective.reference = torch.from_numpy(np.load(path, allow_pickle=False)).float()

    def _sum(self, values: list[float] | list[int]) -> list[float]:
        """Sum over ranks, in float64: exact for counts."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    # -- the end --------------------------------------------------------------------------------------------------

    def export(self) -> None:
        """Write the model as a Hugging Face folder (rank 0; with ZeRO-3 the ranks gather it first)."""
        import deepspeed

        parameters = list(self.network.parameters())
        with deepspeed.zero.GatheredParameters(parameters, enabled=self.job.work.zero_stage == 3):
            if self.rank == 0:
                special = self.job.special_tokens
                save_hf(
                    self.network,
                    self.job.work.export,
                    bos_token_id=special.bos,
                    eos_token_id=special.eos,
                    pad_token_id=special.pad,
                )
        dist.barrier()

    def close(self) -> None:
        """The order in which DeepSpeed's threads and gloo's end without aborting the process."""
        dist.barrier()
        self.engine.destroy()
        del self.engine, self.optimizer
        gc.collect()
        dist.destroy_process_group()


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _device() -> torch.device:
    from deepspeed.accelerator import get_accelerator

    return torch.device(get_accelerator().current_device_name())


def _dtype(wanted: Literal["auto", "bfloat16", "float32"], device: torch.device) -> Literal["bfloat16", "float32"]:
    """What `auto` stands for: one answer for all ranks."""
    if wanted != "auto":
        return wanted
    native = torch.tensor(int(native_bfloat16(device)), device=device)
    dist.all_reduce(native, op=dist.ReduceOp.MIN)
    return "bfloat16" if int(native) else "float32"


def _network(job: Job) -> Network:
    if job.shape is not None:
        network = new_network(job.shape, seed=job.seed)
    else:
        assert job.init_from is not None
        network = (load_network if job.objective in ("lm", "mlm") else load_hf)(job.init_from)
        if network.config.causal == (job.objective == "mlm"):
            raise ValueError(f"{job.init_from} was trained on {'next' if network.config.causal else 'masked'} tokens")
    if isinstance(network, Transformer):  # an LSTM has no blocks
        network.checkpoint_activations = job.work.activation_checkpointing
        if job.work.compile:
            network.compile_blocks()
    return network


def _grad_norm(network: torch.nn.Module) -> float:
    """L2 norm of all gradients before clipping."""
    return float(torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None]))
