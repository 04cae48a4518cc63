"""How fast a run is for the machine it runs on: model FLOPs utilisation, and memory.

MFU is tokens/s times the FLOPs that a token needs, over the machine's peak (Chowdhery et al. 2022, appendix B). The
peak is what the configuration says, else what a large matrix product reaches here before the run, in the run's type and
on all ranks at once. A measured peak is below a data sheet's, and MFU over it above; rows of metrics say the share of
what this machine can do.
"""

import re
import resource
import time
from pathlib import Path

import torch

_CPU_SIZE = 1024  # 2 GFLOP a product: tens of milliseconds, and large enough for a CPU's best
_ACCELERATOR_SIZE = 8192
_REPEATS = 5


def matmul_flops_per_s(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of this process in the best of a few square matrix products."""
    size = _CPU_SIZE if device.type == "cpu" else _ACCELERATOR_SIZE
    left = _operand(size, dtype, device)
    best = float("inf")
    for _ in range(_REPEATS + 1):  # the first one warms up
        _wait(device)
        started = time.perf_counter()
        left @ left
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best


def _operand(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """[size, size] normal numbers from a generator of its own; products of equal ones flip few bits and run faster."""
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(size, size, dtype=dtype, device=device, generator=generator)


def peak_memory_bytes(device: torch.device) -> int:
    """The most that this process has held so far: of the accelerator's memory, on a CPU of the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    mark = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if mark:  # not ru_maxrss, which a process on Linux inherits from the one that started it
        return int(mark[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
