"""One rank of a training run: `torchrun --standalone --nproc-per-node N -m model.train JOB.json`.

Reads a job file (`model/job.py`), trains, exports, and writes `done.json` last: that file, not the exit status, says
that the work is done. A failure leaves its one-line reason in `error.txt`.

With SLUICE_WATCH_STDIN=1 the process ends as soon as its stdin does: whoever started it holds the other end of that
pipe, so even `kill -9` of the starter leaves no orphan.

Ranks meet at the file that SLUICE_MEETING names, or, without it, where MASTER_ADDR and MASTER_PORT say, at a store of
torch's that listens on every interface of the machine. One rank by itself meets nobody and listens nowhere.

`python -m model.train --build-extension` compiles what DeepSpeed needs on a CPU and ends, so that no run has to wait.
"""

import ctypes
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from model.job import Job

WATCH = "SLUICE_WATCH_STDIN"
MEETING = "SLUICE_MEETING"
BUILD = "--build-extension"
EXTENSION = "ShareMemCommBuilder"  # DeepSpeed's name
DONE = "done.json"
ERROR = "error.txt"
LOCK = "lock"
ORPHANED = 70  # exit status when stdin closed
LOCK_SECONDS = 60.0  # a killed attempt's processes are gone within a few seconds
PR_SET_PDEATHSIG = 1  # linux/prctl.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


def main(argv: list[str]) -> int:
    """Run the job file named by the only argument."""
    if os.environ.get(WATCH) == "1":
        end_with_parent()
    if argv == [BUILD]:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        load_extension()
        return 0
    if len(argv) != 1:
        print(f"usage: python -m model.train JOB.json | {BUILD}", file=sys.stderr)  # noqa: T201
        return 2
    from model.job import Job

    job = Job.model_validate_json(Path(argv[0]).read_text(encoding="utf-8"))
    job.work.folder.mkdir(parents=True, exist_ok=True)
    try:
        train(job)
    except Exception as error:
        # Every rank may fail; the first reason is the cause, the others' are its echo.
        reason = " ".join(str(error).split()) or "no reason given"
        try:
            with (job.work.folder / ERROR).open("x", encoding="utf-8") as file:
                file.write(f"{type(error).__name__}: {reason}\n")
        except FileExistsError:
            pass
        raise
    return 0


def train(job: "Job") -> None:
    """Run a job as one rank of the process group that the environment describes (by default: alone)."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", "29500")
    import torch

    start_process_group(job.work.threads_per_rank)
    from model.checkpoint import replace_text
    from model.engine import Trainer

    is_main = int(os.environ["RANK"]) == 0
    held = _only_run(job.work.folder / LOCK) if is_main else None
    torch.distributed.barrier()
    trainer = Trainer(job, say=_say if is_main else _keep_quiet)
    trainer.run()
    trainer.export()
    if is_main:
        replace_text(job.work.folder / DONE, trainer.state.model_dump_json() + "\n")
    trainer.close()
    if held is not None:
        held.close()


def start_process_group(threads: int) -> None:
    """Make torch repeat itself bit by bit, and join the other ranks: NCCL on GPUs, gloo on CPUs."""
    import torch

    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    torch.set_num_threads(threads)
    if not on_gpu:
        keep_freed_memory()
    # cuBLAS reads it when it is first used; without it torch refuses products in deterministic mode.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Not warn_only: kernels of attention then warn and add in whatever order (torch 2.13).
    torch.use_deterministic_algorithms(True)
    # Deterministic mode also fills every new tensor, DeepSpeed's large buffers too: a debugging aid that costs seconds.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010  no type stub has it
    import deepspeed
    from deepspeed.accelerator import get_accelerator

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    if not on_gpu:
        load_extension()
    # Before anything asks for the current device: until it is set, that is the machine's first one for every rank.
    get_accelerator().set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "nccl" if on_gpu else "gloo"
    meet(backend)
    deepspeed.init_distributed(backend, verbose=False)  # takes the group that is there


def meet(backend: str) -> None:
    """Join the other ranks without a socket that strangers could reach; where nothing says how, DeepSpeed does it."""
    import torch.distributed as dist

    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    elif MEETING in os.environ:
        place = f"file://{os.environ[MEETING]}"
        dist.init_process_group(backend, init_method=place, rank=rank, world_size=world_size)


def keep_freed_memory() -> None:
    """Make glibc hand out again what tensors have freed, rather than return it to the kernel and ask anew.

    It maps each large block by itself, and every 4 KB of a new mapping cost a page fault: a tenth of a step's CPU time
    (docs/log.md). Elsewhere than on glibc nothing changes.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def load_extension() -> None:
    """Load DeepSpeed's shared-memory collectives for CPUs, compiled by g++ on first use (20 to 80 s).

    torch guards the folder by a file that a killed process leaves behind, and then waits for it for ever. In a folder
    of our own (TORCH_EXTENSIONS_DIR) we hold a lock that ends with its process, and so may remove that file.
    """
    from deepspeed.accelerator import get_accelerator

    builder = get_accelerator().create_op_builder(EXTENSION)
    folder = os.environ.get("TORCH_EXTENSIONS_DIR")
    if builder is None or folder is None:
        return  # DeepSpeed does what it does
    Path(folder).mkdir(parents=True, exist_ok=True)
    with (Path(folder) / "sluice.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (Path(folder) / builder.name / "lock").unlink(missing_ok=True)
        builder.load(verbose=False)


def end_with_parent() -> None:
    """End this process, and what it has started, when stdin reaches its end.

    PDEATHSIG is set besides: it covers a launcher that is killed while our own starter lives. It alone would not do: it
    fires when the *thread* that started us ends, and says nothing of a grandparent.
    """

    def watch() -> None:
        while os.read(0, 4096):
            pass
        if os.getpgrp() == os.getpid():  # our own group: compilers that we have started are in it
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(ORPHANED)

    threading.Thread(target=watch, daemon=True, name="stdin watch").start()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _keep_quiet(text: str) -> None:
    """For all ranks but the first."""


def _only_run(path: Path) -> IO[str]:
    """Hold the run's folder. An attempt that was killed a moment ago may still be writing: wait for its end.

    Raises:
        RuntimeError: another process holds it for longer than a dying one would.
    """
    file = path.open("w", encoding="utf-8")
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"another process is training in {path.parent}") from None
            time.sleep(0.1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
