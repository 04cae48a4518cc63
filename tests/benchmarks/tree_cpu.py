"""CPU seconds of a command and of everything it starts: the JVM, Spark's Python workers, servers, sandboxes.

The kernel's own account of children will not do: Spark's daemon ignores the end of its workers, and then their time is
lost. So the tree is looked at ten times a second, and each process counts with what it had used when it was last seen.
Processes whose parent has died would leave the tree; as a *subreaper* (prctl(2)) we inherit them instead.
"""

import ctypes
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
LOOK_SECONDS = 0.1
GRACE_SECONDS = 20.0


@dataclass(frozen=True)
class Measured:
    """What a command cost."""

    status: int
    wall_seconds: float
    cpu_seconds: float


def measured(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end, and all of its descendants to theirs; its output goes to `log`."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    used: dict[tuple[int, float], float] = {}
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        while process.poll() is None:
            _look(used)
            time.sleep(LOOK_SECONDS)
    wall = time.monotonic() - began
    ended = time.monotonic()
    while left := _look(used):  # what outlives the command for a moment
        _reap()
        if time.monotonic() - ended > GRACE_SECONDS:  # an executor that failed may leave its workers waiting for ever
            for orphan in left:
                orphan.kill()
        time.sleep(LOOK_SECONDS)
    return Measured(process.returncode, wall, sum(used.values()))


def _look(used: dict[tuple[int, float], float]) -> list[psutil.Process]:
    """Note the CPU time of every living descendant; returns them."""
    living = psutil.Process().children(recursive=True)
    for process in living:
        try:
            times = process.cpu_times()
            used[process.pid, process.create_time()] = times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return living


def _reap() -> None:
    """Take the status of inherited processes that have ended, so that they go."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return
