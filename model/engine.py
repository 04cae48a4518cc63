"""One training loop for every objective, on DeepSpeed.

What holds at any world size, micro-batch and ZeRO stage: the global batch of a step, the divisor of its loss, the
learning rate. At equal (world size, threads, machine type) a run is bit-equal to itself, interrupted or not; dropout
does not exist here, so no generator's state has to be kept.
"""

import gc
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from model import checkpoint as ckpt
from model.batching import Int64, micro_batches, share_of_rank, validation_sample
from model.course import course_of, phases_of, streams_of
from model.data import MixedRows
from model.hf import Network, load_hf, load_network, new_network
from model.job import Job
from model.metrics import MetricsLog
from model.mixture import Mixture
from model.objectives import Objective, Preferences, held_out_at, load_token_bytes, objective_of
from model.optim import build_optimizer
from model.precision import agreed_dtype
from model.schedule import phased_learning_rate_scale
from model.snapshots import KeptWeights
from model.speed import matmul_flops_per_s, peak_memory_bytes
from model.step_guard import StepGuard
from model.transformer import Transformer
from model.ulysses import Layout

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
CSV = "csv"
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
        self.layout = Layout(self.rank, self.world_size, job.work.sequence_parallel)
        self.course, self.phases = course_of(job), phases_of(job)
        self.phase = 0
        streams, self.stream_of_phase = streams_of(job)
        self.seq_lens = [data.seq_len for data in streams]
        self.micro_batch_size, self.grad_accum_steps = self._micro_batches(
            self.course.segments[0].batch_size, self.seq_lens[0]
        )
        self.network = _network(job)
        self.layout.join(self.network)
        vocab_size = self.network.config.vocab_size
        token_bytes = load_token_bytes(job.data.token_bytes, vocab_size)
        objective = partial(objective_of, job, vocab_size=vocab_size, token_bytes=token_bytes, device=self.device)
        stretched = self.phases[0].rope_theta is not None or self.phases[0].rope_scaling is not None
        if streams[0].seq_len > self.network.config.max_seq_len and not stretched:
            raise ValueError(
                f"seq_len {streams[0].seq_len} exceeds the model's {self.network.config.max_seq_len} positions"
            )
        self.streams = [objective(data) for data in streams]
        self.sources = [_source(objective) for objective in self.streams]
        self.held_out = {
            n: rows for n in self.seq_lens if job.data.validation and len(rows := objective(held_out_at(job.data, n)))
        }
        if job.export == "best" and self.seq_lens[self.stream_of_phase[-1]] not in self.held_out:
            raise ValueError("export: best needs held-out data that fills a row of the last phase")
        for data, rows in zip(streams, self.streams, strict=True):
            if not len(rows):
                raise ValueError(f"no row of {data.seq_len} positions in {', '.join(map(str, data.train))}")
        self.checkpoints = ckpt.Checkpoints(job.work.folder / CHECKPOINTS, job.work.keep_checkpoints)
        self.state = ckpt.TrainState(
            world_size=self.world_size,
            zero_stage=ckpt.zero_stage_for(job.work.zero_stage, self.world_size),
            dtype=agreed_dtype(job.dtype, self.device),
        )
        self.weights = KeptWeights(job, self.network, self.state)
        self._start()

    def _micro_batches(self, batch_size: int, seq_len: int) -> tuple[int, int]:
        """(samples at once, micro-batches a rank and step); longer rows than the first phase's are fewer at once."""
        limit = self.job.work.micro_batch_size
        if limit is not None:
            limit = max(1, min(limit, limit * self.seq_lens[0] // seq_len))
        return micro_batches(batch_size, self.layout.batch_ranks, limit)

    @property
    def _seq_len(self) -> int:
        """Positions in a row of the current phase."""
        return self.seq_lens[self.stream_of_phase[self.phase]]

    def _enter(self, phase: int) -> None:
        """Go on to a phase, to its context. Called for each phase once, also after a resume."""
        self.phase = phase
        entered, seq_len = self.phases[phase], self._seq_len
        longest = self.network.config.max_seq_len
        if seq_len <= longest and entered.rope_theta is None and entered.rope_scaling is None:
            return
        if not isinstance(self.network, Transformer):
            raise ValueError(f"phase {entered.name}: only a transformer's context can be changed")
        self.network.stretch(max(seq_len, longest), entered.rope_theta, entered.rope_scaling)

    def _begin(self, phase: int) -> None:
        """Go on to a phase for the first time: outliers are judged anew, and where the context changes, the best too.

        Held-out losses at another length of rows, or under another rotation, say nothing about each other.
        """
        before = self._seq_len
        self._enter(phase)
        self.state.recent.forget()
        entered = self.phases[phase]
        if self._seq_len != before or entered.rope_theta is not None or entered.rope_scaling is not None:
            self.state.best_step = self.state.best_loss = None

    def _start(self) -> None:
        """Hand the network to DeepSpeed and bring it to where the last attempt stopped."""
        import deepspeed

        found = self.checkpoints.latest()
        universal = False
        if found is not None:
            saved = ckpt.read_state(found)
            if saved.samples != self.course.samples_before(saved.step):
                raise ValueError(
                    f"the checkpoint of step {saved.step} has learnt from {saved.samples} samples, where this job"
                    f" would have from {self.course.samples_before(saved.step)}: go on with the same batch sizes and"
                    " phases, or rows would come twice or never"
                )
            self.state.dtype = saved.dtype  # a run keeps the type it began with, on whatever machine it goes on
            if self.job.work.zero_stage is None:
                self.state.zero_stage = saved.zero_stage
                self.job.check_stage(saved.zero_stage)
            universal = ckpt.needs_universal(saved, self.world_size, self.state.zero_stage)
            if universal:
                ckpt.make_universal(found, self.say)
        optimizer = build_optimizer(self.network, self.job.optim, getattr(torch, self.state.dtype))
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.guard = StepGuard(self.network, optimizer, self.job.skip, self.state.zero_stage)
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=self.network, optimizer=optimizer, config=self._deepspeed_config(universal)
        )
        if self.world_size == 1 and self.state.zero_stage == 0:  # nobody to sum with: spares two copies of gradients
            self.engine.enable_backward_allreduce = False
        if self.job.objective == "dpo":  # before a checkpoint replaces the reference model's weights
            self._reference("train", self.streams[0])
            for held_out in self.held_out.values():  # one: rows of pairs have one length
                self._reference("validation", held_out)
        if found is not None:
            self.state = self.weights.state = ckpt.load(self.engine, found, universal)
            self.state.world_size = self.world_size
            self.say(f"continuing after step {self.state.step} of {self.job.steps}")
        for phase in range(self.course.at(max(self.state.step - 1, 0)).phase + 1):
            self._enter(phase)

    def _deepspeed_config(self, universal: bool) -> dict[str, Any]:
        config: dict[str, Any] = {
            "train_micro_batch_size_per_gpu": self.micro_batch_size,
            "gradient_accumulation_steps": self.grad_accum_steps,
            "train_batch_size": self.micro_batch_size * self.grad_accum_steps * self.world_size,
            "gradient_clipping": self.job.optim.grad_clip,
            "zero_optimization": self._zero_config(),
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

    def _zero_config(self) -> dict[str, Any]:
        stage = self.state.zero_stage
        config: dict[str, Any] = {
            "stage": stage,
            "reduce_bucket_size": min(BUCKET_ELEMENTS, self.network.config.n_params),
        }
        if stage in (1, 2):
            # All-reduced in any case; this way the sums are not copied into a buffer of their own and back.
            config["reduce_scatter"] = False
            if self.world_size == 1:
                config["reduce_bucket_size"] = 1  # nothing is sent, so nothing need be gathered for sending
        return config

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last step, with validation and checkpoints on the way."""
        work = self.job.work
        self.peak = self._peak_flops()
        log = None
        if self.rank == 0:
            events = work.folder / TENSORBOARD if work.tensorboard else None
            log = MetricsLog(work.folder / METRICS, events, self.state.step, work.folder / CSV if work.csv else None)
        try:
            while self.state.step < self.job.steps:
                row = self._step()
                step = self.state.step
                last = step == self.job.steps
                held_out = self.held_out.get(self._seq_len)
                if held_out is not None and (last or _due(step, self.job.validate_every)):
                    row |= {f"val_{name}": value for name, value in self.validate(held_out).items()}
                    loss = row.get("val_loss", 0.0)
                    if not math.isfinite(loss):  # which would be the best of all to whoever compares
                        raise FloatingPointError(f"step {step}: validation loss {loss}; lower the learning rate")
                self.weights.keep(row.get("val_loss"))
                if log is not None:
                    log.write(row)
                if last or _due(step, work.checkpoint_every):
                    self.checkpoints.save(self.engine, self.state)
                    self.weights.prune()
        finally:
            if log is not None:
                log.close()

    def _step(self) -> dict[str, Any]:
        """One optimizer step; returns its row of metrics."""
        job, state = self.job, self.state
        started = time.perf_counter()
        metrics: dict[str, float] = {}
        place = self.course.at(state.step)
        if place.phase != self.phase:
            self._begin(place.phase)
        training, seq_len = self.streams[place.stream], self.seq_lens[place.stream]
        rows = self.course.rows(state.step, self.sources[place.stream], job.seed)
        micro_batch_size, _ = self._micro_batches(place.batch_size, seq_len)
        micros = [
            self.layout.own(training.micro_batch(samples, state.step + 1))
            for samples in share_of_rank(rows, self.layout.batch_rank, self.layout.batch_ranks, micro_batch_size)
        ]
        data_wait = time.perf_counter() - started
        weight, tokens = self._sum([sum(m.weight for m in micros), sum(m.tokens for m in micros)])
        scale = self._rate(state.step)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * scale
        totals: dict[str, Tensor] = {}
        for number, micro in enumerate(micros, start=1):
            last = number == len(micros)
            # Said, not counted: DeepSpeed's own count of micro-batches is one for the whole run.
            self.engine.set_gradient_accumulation_boundary(last)
            loss, sums = training.loss(self.engine, micro)
            # DeepSpeed divides by the micro-batches and averages over the ranks; together that leaves sum / weight.
            self.engine.backward(loss * (self.world_size * self.grad_accum_steps / max(weight, 1.0)))
            for name, value in {**sums, "loss": loss}.items():
                totals[name] = totals.get(name, torch.zeros(())) + value.detach().float().cpu()
            if last:
                names = sorted(totals)
                summed = dict(zip(names, self._sum([float(totals[name]) for name in names]), strict=True))
                metrics = training.summary({**summed, "weight": weight})
                self.guard.expect(state, metrics["loss"], self.engine)
            self.engine.step()
        skipped, grad_norm = self.guard.skips(), self.guard.grad_norm
        seconds = time.perf_counter() - started
        state.step += 1
        state.samples += place.batch_size
        state.tokens += int(tokens)
        state.seconds += seconds
        if not skipped and not (math.isfinite(metrics["loss"]) and math.isfinite(grad_norm)):
            raise FloatingPointError(
                f"step {state.step}: loss {metrics['loss']}, gradient norm {grad_norm}; lower the learning rate"
            )
        flops = None if job.objective == "dpo" else self.network.config.flops_per_token(seq_len)  # pairs: any length
        return {
            "step": state.step,
            **metrics,
            "lr": job.optim.lr * scale,
            "grad_norm": grad_norm,
            "tokens": state.tokens,
            "epoch": (place.first_sample + place.batch_size) / len(training),
            **({"phase": self.phases[place.phase].name} if job.phases else {}),
            **({"batch_size": place.batch_size} if job.batch_ramp or job.phases else {}),
            **({"skipped_steps": state.recent.skipped} if job.skip else {}),
            "tokens_per_s": tokens / seconds,
            "mfu": None if flops is None else flops * tokens / seconds / self.peak,
            "data_wait_s": data_wait,
            "peak_memory_bytes": peak_memory_bytes(self.device),
            "seconds": state.seconds,
        }

    def _rate(self, step: int) -> float:
        """Learning rate of a step as a share of the peak."""
        job = self.job
        scale = phased_learning_rate_scale(job.optim, self.phases, step)
        place = self.course.at(step)
        if job.ramp_rate == "sqrt" and job.batch_ramp and self.phases[place.phase].batch_size is None:
            scale *= math.sqrt(place.batch_size / job.batch_ramp[-1].batch_size)  # Malladi et al. 2022, definition 4
        return scale

    def _peak_flops(self) -> float:
        """FLOP/s of all ranks together at their best. Collective."""
        configured = self.job.work.peak_flops
        if configured is not None:
            return configured * self.world_size
        dist.barrier()  # all measure at once, as all compute at once
        return self._sum([matmul_flops_per_s(getattr(torch, self.state.dtype), self.device)])[0]

    @torch.no_grad()
    def validate(self, objective: Objective) -> dict[str, float]:
        """Metrics over `validation_rows` of the held-out rows, the same at any world size but for rounding."""
        rows = validation_sample(len(objective), self.job.data.validation_rows)
        totals: dict[str, Tensor] = {}
        for samples in self._spread(rows):
            for name, value in objective.measure(self.engine, self.layout.own(objective.micro_batch(samples))).items():
                totals[name] = totals.get(name, torch.zeros((), dtype=torch.float64)) + value.double().cpu()
        names = sorted(totals)
        summed = dict(zip(names, self._sum([float(totals[name]) for name in names]), strict=True))
        return objective.summary(summed) if summed.get("weight") else {}

    def _spread(self, samples: Int64) -> list[list[int | None]]:
        """Micro-batches of these samples that fall to this rank; equally many on each (ZeRO-3 gathers in step)."""
        if not len(samples):
            return []
        last_step = self.course.at(max(self.state.step - 1, 0))
        at_once, _ = self._micro_batches(last_step.batch_size, self._seq_len)
        return share_of_rank(samples, self.layout.batch_rank, self.layout.batch_ranks, at_once)

    @torch.no_grad()
    def _reference(self, split: str, objective: Objective) -> None:
        """Log-probabilities of every pair under the starting model: once a run, kept beside the checkpoints."""
        assert isinstance(objective, Preferences)
        path = self.job.work.folder / REFERENCE.format(split=split)
        if not path.exists():
            table = torch.zeros(len(objective), 2, dtype=torch.float64, device=self.device)
            for samples in self._spread(np.arange(len(objective))):
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
        """Write the model as a Hugging Face folder. Collective."""
        held_out = self.held_out.get(self._seq_len)
        self.weights.export(None if held_out is None else partial(self.validate, held_out))

    def close(self) -> None:
        """The order in which DeepSpeed's threads and gloo's end without aborting the process."""
        dist.barrier()
        self.engine.destroy()
        del self.engine, self.optimizer
        gc.collect()
        dist.destroy_process_group()


def _source(objective: Objective) -> int | Mixture:
    """What the order of an objective's samples is drawn from."""
    rows = getattr(objective, "rows", None)
    return rows.mixture if isinstance(rows, MixedRows) else len(objective)


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _device() -> torch.device:
    from deepspeed.accelerator import get_accelerator

    return torch.device(get_accelerator().current_device_name())


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
