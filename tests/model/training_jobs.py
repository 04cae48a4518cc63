"""Tiny jobs for the tests of training, and the processes that run them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from infra.settings import torch_extensions_dir
from model.indexed import MASK_SUFFIX, IndexedWriter
from model.job import Job
from model.metrics import read_rows

HANGS_AFTER = 1200  # seconds: many times what a plan takes on a machine that does nothing else
ROOT = Path(__file__).parents[2]
END, PAD, VOCABULARY = 63, 62, 64
TIMINGS = ("seconds", "tokens_per_s", "mfu", "data_wait_s", "peak_memory_bytes")


def write_data(folder: Path) -> None:
    """A language that is easy to learn: each token is the one before it plus three."""
    generator = np.random.default_rng(0)

    def count(length: int) -> list[int]:
        start = int(generator.integers(0, 60))
        return [(start + 3 * place) % 60 for place in range(length)]

    for name, documents in (("train", 150), ("validation", 20)):
        with IndexedWriter(folder / name, "uint16") as writer:
            for _ in range(documents):
                writer.add_document([*count(int(generator.integers(5, 60))), END])
    np.save(folder / "token_bytes.npy", np.array([3] * 62 + [0, 0]))
    with IndexedWriter(folder / "chat", "uint16") as ids, IndexedWriter(folder / f"chat{MASK_SUFFIX}", "uint8") as mask:
        for _ in range(40):
            question, answer = count(int(generator.integers(2, 10))), count(int(generator.integers(2, 10)))
            ids.add_document([*question, *answer, END])
            mask.add_document([0] * len(question) + [1] * (len(answer) + 1))
    with (
        IndexedWriter(folder / "pairs", "uint16") as ids,
        IndexedWriter(folder / f"pairs{MASK_SUFFIX}", "uint8") as mask,
    ):
        for _ in range(24):
            sequence = count(12)
            for answer in (sequence[6:], sequence[6:][::-1]):
                ids.add_document([*sequence[:6], *answer, END])
                mask.add_document([0] * 6 + [1] * (len(answer) + 1))


def job(folder: Path, name: str, **changes: Any) -> Path:
    """Write a job file; `changes` are dotted keys with `__` for the dot."""
    content: dict[str, Any] = {
        "objective": "lm",
        "shape": {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "n_layers": 2,
            "n_heads": 4,
            "n_kv_heads": 2,
            "intermediate_size": 64,
            "max_seq_len": 32,
        },
        "data": {
            "train": [str(folder / "train")],
            "validation": [str(folder / "validation")],
            "seq_len": 32,
            "token_bytes": str(folder / "token_bytes.npy"),
        },
        "special_tokens": {"bos": END, "eos": [END], "pad": PAD},
        "work": {
            "folder": str(folder / name),
            "export": str(folder / name / "export"),
            "zero_stage": 1,  # at any world size, so that checkpoints are cut by rank
            "checkpoint_every": 5,
            "tensorboard": False,
        },
        "optim": {"lr": 1e-2, "warmup_steps": 2},
        "batch_size": 8,
        "steps": 12,
        "validate_every": 6,
        "dtype": "float32",
    }
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    path = folder / f"{name}.json"
    path.write_text(Job.model_validate(content).model_dump_json())
    return path


def environment() -> dict[str, str]:
    """What ranks need."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "TORCH_EXTENSIONS_DIR": str(torch_extensions_dir()),
    }


def run_plan(folder: Path, world_size: int, plan: list[dict[str, Any]]) -> None:
    """Run jobs after each other in `world_size` ranks of `trainer_worker.py`."""
    path = folder / f"plan-{world_size}.json"
    path.write_text(json.dumps(plan))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = []
    for rank in range(world_size):
        env = environment() | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world_size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        argv = [sys.executable, str(Path(__file__).with_name("trainer_worker.py")), str(path)]
        with (folder / f"rank-{world_size}-{rank}.log").open("wb") as log:
            ranks.append(subprocess.Popen(argv, env=env, stdout=log, stderr=subprocess.STDOUT))
    try:
        codes = [process.wait(timeout=HANGS_AFTER) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    logs = "\n".join((folder / f"rank-{world_size}-{rank}.log").read_text()[-3000:] for rank in range(world_size))
    assert codes == [0] * world_size, logs


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The metrics of a job, without what a clock says."""
    found = read_rows(folder / name / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in found]


def losses(folder: Path, name: str) -> list[float]:
    """The loss of each step of a job."""
    return [row["loss"] for row in rows(folder, name)]
