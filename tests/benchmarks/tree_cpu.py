"""CPU seconds of a command and of everything it starts: the JVM, Spark's Python workers, servers, sandboxes.

The kernel adds a process's CPU time to its parent's account when the parent waits for it. A process whose parent has
died would be lost to the account; as a *subreaper* (prctl(2)) we inherit it instead, and wait for it ourselves.
"""

import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


@dataclass(frozen=True)
class Measured:
    """What a command cost."""

    status: int
    wall_seconds: float
    cpu_seconds: float


def measured(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end, and all of its descendants to theirs; its output goes to `log`."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, began = _children_cpu(), time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        status = process.wait()
    wall = time.monotonic() - began
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    return Measured(status, wall, _children_cpu() - before)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
