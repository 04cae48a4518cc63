"""Training processes that take turns: while one works the others are stopped, so that noise falls on all alike.

A process is told to go on (SIGCONT) until it has written so many more lines to its metrics, and stopped (SIGSTOP)
again. What it used in its turn is read from the kernel's account of its process tree, while it stands still.
"""

import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from model.metrics import read_rows

POLL_SECONDS = 0.01  # what a turn may run over; the next turn of the same side has that much less to do


@dataclass
class Side:
    """A command that writes a JSON line a step. Enter to start it, stopped; leave to kill it and its children."""

    name: str
    command: list[str]
    environment: dict[str, str]
    metrics: Path
    used: float = field(default=0.0, init=False)  # CPU seconds up to the last turn's end

    def __enter__(self) -> Self:
        self.output = self.metrics.with_name("output.log").open("w+b")
        self.process = psutil.Popen(
            self.command,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._tell_all("suspend")
        return self

    def __exit__(self, *_: object) -> None:
        self._tell_all("kill")
        self.process.wait()
        self.process.stdin.close()
        self.output.close()

    def turn(self, steps: int) -> float:
        """Work for so many more steps; returns the CPU seconds of all processes of the tree.

        Raises:
            RuntimeError: the process has ended; with its last words.
        """
        goal = self._count() + steps
        self._tell_all("resume")
        while self._count() < goal:
            if self.process.poll() is not None:
                self.output.seek(0)
                raise RuntimeError(f"{self.name} has ended: {self.output.read()[-3000:].decode(errors='replace')}")
            time.sleep(POLL_SECONDS)
        self._tell_all("suspend")
        before = self.used
        self.used = sum(times.user + times.system for times in (one.cpu_times() for one in self._tree()))
        return self.used - before

    def rows(self) -> list[dict[str, Any]]:
        """What it has written."""
        return read_rows(self.metrics)

    def peak_resident_bytes(self) -> int:
        """High-water marks of its processes' resident memory, added up (not ru_maxrss, which a child inherits)."""
        statuses = (Path(f"/proc/{one.pid}/status").read_text() for one in self._tree())
        return sum(1024 * int(kb) for status in statuses for kb in re.findall(r"VmHWM:\s+(\d+) kB", status))

    def _count(self) -> int:
        return self.metrics.read_bytes().count(b"\n") if self.metrics.exists() else 0

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def _tell_all(self, what: str) -> None:
        for process in self._tree():
            try:
                getattr(process, what)()
            except psutil.NoSuchProcess:
                continue
