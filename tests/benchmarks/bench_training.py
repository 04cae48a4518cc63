"""How fast the engine trains beside transformers' Llama in plain torch: tokens a core-second, and peak memory.

    make bench-training
    make bench-training ARGS="--shapes small --dtype bfloat16 --batch 1 --steps 1 --warmup 1 --no-memory"

Both sides are processes of their own: ours as a user's run starts it (a job file, DeepSpeed, loader, metrics,
TensorBoard), transformers' as a plain loop (peers/transformers_training.py). Both begin with the same weights and learn
from the same rows in the same order; the largest difference of their losses is printed. They take turns step by step:
while one works the others are stopped (SIGSTOP), so that what else the machine does falls on all. The figure is tokens
over the median CPU seconds of a step, those of the whole process tree. The start (imports, DeepSpeed, building what a
compiler builds, the first steps) is apart, and no checkpoint is due. By default a rank with one thread, against a
process with one; --ranks 2 is two ranks against two threads. The peak is what a large matrix product of the same type
reaches a core-second, measured between the turns.

Where torch sees a GPU the sides run one after the other on it, at the preset `1b`, in bfloat16, and tokens a second of
wall time are counted. That way has not been run yet.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from infra.params import Runtime
from model.config import ModelConfig, OptimConfig
from model.course import course_of
from model.data import TokenRows
from model.hf import new_network, save_hf
from model.indexed import IndexedWriter
from model.job import Data, Job, SpecialTokens, Work
from model.precision import native_bfloat16
from model.presets import PRESETS
from model.speed import matmul_flops_per_s
from tasks.training import child_environment, launch_command, meeting_place
from tests.benchmarks.turns import Side

PEER_NAME = "transformers"
PEER = Path(__file__).parent / "peers" / "transformers_training.py"
GOAL_SPEED, GOAL_MEMORY = 1.15, 0.7

SHAPES = {  # (network, rows a batch); a GPU takes 1b
    "small": (
        ModelConfig(
            vocab_size=4096,
            hidden_size=256,
            n_layers=8,
            n_heads=4,
            n_kv_heads=2,
            intermediate_size=688,
            max_seq_len=512,
        ),
        8,
    ),
    "medium": (
        ModelConfig(
            vocab_size=8192,
            hidden_size=512,
            n_layers=8,
            n_heads=8,
            n_kv_heads=4,
            intermediate_size=1376,
            max_seq_len=512,
        ),
        4,
    ),
    "demo": (
        ModelConfig(
            vocab_size=4096,
            hidden_size=128,
            n_layers=4,
            n_heads=4,
            n_kv_heads=2,
            intermediate_size=344,
            max_seq_len=256,
            tie_embeddings=True,
        ),
        4,
    ),
    "1b": (ModelConfig(vocab_size=128_256, max_seq_len=2048, **PRESETS["1b"]), 8),
}
MEMORY_VOCABULARY = 32_768
MEMORY_STEPS = 2
PRODUCT_SIZE, PRODUCTS = 1024, 8


def main() -> None:
    """Measure and print two tables."""
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no stopped process is left behind
    print(
        f"torch {version('torch')}, transformers {version('transformers')}, deepspeed {version('deepspeed')}, "
        f"{torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores of {platform.machine()}, {given.dtype}"
    )
    with tempfile.TemporaryDirectory(prefix="bench-training-") as folder:
        for name in given.shapes:
            shape, rows = SHAPES[name]
            compare_speed(Bench(Path(folder) / name, shape, given.batch or rows, given), name)
        if given.memory:
            shape, rows = SHAPES[given.shapes[0]]
            shape = shape.model_copy(update={"vocab_size": MEMORY_VOCABULARY})
            compare_memory(Bench(Path(folder) / "memory", shape, given.batch or rows, given))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gpu = torch.cuda.is_available()
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["1b"] if gpu else ["small", "medium"])
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--steps", type=int, default=8, help="measured steps of each side")
    parser.add_argument("--warmup", type=int, default=2, help="steps before that, of each side")
    parser.add_argument("--batch", type=int, help="rows a batch, instead of the shape's own")
    parser.add_argument("--ranks", type=int, default=1, help="our ranks of one thread each; the peer's threads")
    parser.add_argument("--zero-stage", type=int, choices=[0, 1, 2, 3], help="default: the engine's own, 0 on one rank")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=["sluice", "transformers", "muon"])
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave the second table out")
    parser.add_argument("--peak-flops", type=float, help="FLOP/s of one core or GPU; default: measured")
    given = parser.parse_args()
    given.device = torch.device("cuda" if gpu else "cpu")
    if given.dtype == "auto":
        given.dtype = "bfloat16" if native_bfloat16(given.device) else "float32"
    torch.set_num_threads(1)
    return given


class Bench:
    """One shape's weights, rows and commands, in a folder."""

    def __init__(self, folder: Path, shape: ModelConfig, rows: int, given: argparse.Namespace) -> None:
        self.folder, self.shape, self.given = folder, shape, given
        self.batch = rows
        self.steps = given.warmup + given.steps + 1  # one more than are waited for: none runs into its end
        folder.mkdir(parents=True)
        save_hf(new_network(shape, seed=0), folder / "model")
        generator = np.random.default_rng(0)
        with IndexedWriter(folder / "train", "uint16" if shape.vocab_size <= 1 << 16 else "int32") as writer:
            for _ in range(self.steps * rows + 1):
                writer.add_document(generator.integers(shape.vocab_size, size=shape.max_seq_len))

    @property
    def tokens(self) -> int:
        """Tokens a step."""
        return self.batch * self.shape.max_seq_len

    def job(self, name: str, optim: OptimConfig, compiled: bool) -> Job:
        """Our run."""
        return Job(
            objective="lm",
            init_from=self.folder / "model",
            # Documents that attend to each other: what transformers does without further ado.
            data=Data(train=[self.folder / "train"], seq_len=self.shape.max_seq_len, document_mask=False),
            special_tokens=SpecialTokens(bos=0, eos=[0], pad=0),
            work=Work(
                folder=self.folder / name,
                export=self.folder / name / "export",
                zero_stage=self.given.zero_stage,
                checkpoint_every=self.steps,
                compile=compiled,
            ),
            optim=optim,
            batch_size=self.batch,
            steps=self.steps,
            dtype=self.given.dtype,
        )

    def ours(self, name: str, optimizer: str = "adamw", compiled: bool = False) -> Side:
        """The engine, started as the stage `pretrain` starts it."""
        job = self.job(name, OPTIMIZERS[optimizer], compiled)
        job.work.folder.mkdir()
        path = job.work.folder / "job.json"
        path.write_text(job.model_dump_json())
        runtime = Runtime(world_size=self.given.ranks)
        meeting = meeting_place(job.work.folder)
        command = launch_command(path, self.given.ranks, runtime, meeting)
        return Side(name, command, child_environment(runtime, meeting), job.work.folder / "metrics.jsonl")

    def theirs(self, name: str, compiled: bool = False) -> Side:
        """The peer, over the same rows."""
        job = self.job("sluice", OPTIMIZERS["adamw"], False)
        source = TokenRows(job.data.train, job.data.seq_len, document_mask=False)
        course = course_of(job)
        batches = [
            [source.read(row * source.seq_len, (row + 1) * source.seq_len + 1) for row in rows]
            for rows in (course.rows(step, len(source), job.seed) for step in range(job.steps))
        ]
        folder = self.folder / name
        folder.mkdir()
        np.save(folder / "rows.npy", np.array(batches, np.int32))
        settings = {
            "model": str(self.folder / "model"),
            "rows": str(folder / "rows.npy"),
            "metrics": str(folder / "metrics.jsonl"),
            "dtype": self.given.dtype,
            "threads": self.given.ranks,
            **{key: getattr(job.optim, key) for key in ("lr", "betas", "eps", "weight_decay")},
            "clip": job.optim.grad_clip,
            "compile": compiled,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        command = [sys.executable, str(PEER), str(folder / "settings.json")]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.given.ranks), "HF_HUB_OFFLINE": "1"}
        return Side(name, command, environment, folder / "metrics.jsonl")


OPTIMIZERS = {
    "adamw": OptimConfig(lr=1e-3, schedule="constant", warmup_steps=0),
    "muon": OptimConfig(name="muon", lr=1e-3, schedule="constant", warmup_steps=0),
}
SIDES: dict[str, Callable[[Bench], Side]] = {
    "sluice": lambda bench: bench.ours("sluice"),
    "transformers": lambda bench: bench.theirs("transformers"),
    "muon": lambda bench: bench.ours("muon", "muon"),
    "sluice-compiled": lambda bench: bench.ours("sluice-compiled", compiled=True),
    "transformers-compiled": lambda bench: bench.theirs("transformers-compiled", compiled=True),
}


@dataclass
class Cost:
    """What one side needed. Seconds are the CPU's over the process tree, on a GPU the clock's."""

    step_seconds: float
    start_seconds: float
    peak_bytes: int
    losses: list[float]


def compare_speed(bench: Bench, name: str) -> None:
    """Print what each side does a second, and what of the peak that is."""
    given = bench.given
    costs, peak = in_turns(bench) if given.device.type == "cpu" else alone(bench)
    flops = bench.shape.flops_per_token()
    second = "core-second" if given.device.type == "cpu" else "second"
    print(
        f"\n{name}: {bench.shape.hidden_size} x {bench.shape.n_layers}, vocabulary {bench.shape.vocab_size:,}, "
        f"{bench.batch} x {bench.shape.max_seq_len} tokens a step, {flops / 1e6:.1f} MFLOP a token, "
        f"peak {peak / 1e9:.0f} GFLOP/s a core or GPU\n"
    )
    print(f"| side | tokens a {second} | x transformers | GFLOP/s | share of peak | start, s | peak memory, MB |")
    print("|---|---|---|---|---|---|---|")
    peer = costs.get(PEER_NAME)
    for side, cost in costs.items():
        rate = bench.tokens / cost.step_seconds
        ratio = f"{peer.step_seconds / cost.step_seconds:.2f}" if peer else ""
        print(
            f"| {side} | {rate:,.0f} | {ratio} | {rate * flops / 1e9:.1f} | {rate * flops / peak:.0%} | "
            f"{cost.start_seconds:.1f} | {cost.peak_bytes / 1e6:,.0f} |"
        )
    if peer and "sluice" in costs:
        apart = max(abs(a - b) for a, b in zip(costs["sluice"].losses, peer.losses, strict=False))
        print(f"\ngoal: {GOAL_SPEED} x transformers; largest difference of losses {apart:.1e} nats")


def in_turns(bench: Bench) -> tuple[dict[str, Cost], float]:
    """Step by step, all sides alive; the median step counts, and the median product in FLOP/s of a core."""
    given = bench.given
    with ExitStack() as stack:
        sides = [stack.enter_context(SIDES[name](bench)) for name in given.sides]
        starts = [side.turn(given.warmup) for side in sides]
        turns = [[product_seconds(given.dtype), *(side.turn(1) for side in sides)] for _ in range(given.steps)]
        product, *steps = [statistics.median(column) for column in zip(*turns, strict=True)]
        costs = {
            side.name: Cost(step, start - given.warmup * step, side.peak_resident_bytes(), losses(side))
            for side, start, step in zip(sides, starts, steps, strict=True)
        }
    return costs, given.peak_flops or 2.0 * PRODUCT_SIZE**3 / product


def product_seconds(dtype: str) -> float:
    """CPU seconds of a matrix product, which no waiting for a core is in."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(PRODUCT_SIZE, PRODUCT_SIZE, generator=generator).to(getattr(torch, dtype))
    left @ left
    started = time.process_time()
    for _ in range(PRODUCTS):
        left @ left
    return (time.process_time() - started) / PRODUCTS


def alone(bench: Bench) -> tuple[dict[str, Cost], float]:
    """One side after the other, by the clock that each writes down, and the FLOP/s of a product on the GPU."""
    given = bench.given
    costs = {}
    for name in given.sides:
        with SIDES[name](bench) as side:
            side.turn(given.warmup + given.steps)
            rows = side.rows()
            took = np.diff([row["seconds"] for row in rows])[given.warmup - 1 :]
            memory = rows[-1]["peak_memory_bytes"]
            costs[name] = Cost(float(np.median(took)), rows[0]["seconds"], memory, losses(side))
    return costs, given.peak_flops or matmul_flops_per_s(getattr(torch, given.dtype), given.device)


def compare_memory(bench: Bench) -> None:
    """Print the peak memory of a few steps at a large vocabulary."""
    peaks = {}
    for name in ("sluice", PEER_NAME):
        with SIDES[name](bench) as side:
            side.turn(MEMORY_STEPS)
            on_gpu = bench.given.device.type == "cuda"
            peaks[name] = side.rows()[-1]["peak_memory_bytes"] if on_gpu else side.peak_resident_bytes()
    print(
        f"\npeak memory at a vocabulary of {bench.shape.vocab_size:,}, "
        f"{bench.batch} x {bench.shape.max_seq_len} tokens: sluice {peaks['sluice'] / 1e6:,.0f} MB, transformers "
        f"{peaks[PEER_NAME] / 1e6:,.0f} MB, ratio {peaks['sluice'] / peaks[PEER_NAME]:.2f} (goal {GOAL_MEMORY})"
    )


def losses(side: Side) -> list[float]:
    """The loss of each step."""
    return [row["loss"] for row in side.rows()]


if __name__ == "__main__":
    main()
