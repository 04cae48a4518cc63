"""Child processes that end with us: training runs under a launcher, which starts ranks, which must never be orphans.

`run_child` holds a pipe to the child's stdin open for as long as this process lives. However this process ends (an
exception, Prefect's `TerminationSignal`, `kill -9`), the pipe closes: in the first two cases the `finally` here also
ends the whole process tree; in the last one nobody is left to do it, so the child itself must watch its stdin and leave
at end of file (`model/train.py` does). The child never inherits our stdout: whoever reads it would wait for orphans.
"""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from infra.errors import SluiceError

POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0  # between TERM and KILL; Prefect itself kills 30 s after it has asked a run to end
TAIL_LINES = 40
SHOWN_LINES = 3


class ChildError(SluiceError):
    """A child process did not do its work. The message is one line with its last words; `tail` has more of them."""

    def __init__(self, message: str, tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.tail = list(tail)


def run_child(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    on_line: Callable[[str], None] | None = None,
    stop_check: Callable[[], None] | None = None,
    log_path: Path | None = None,
    succeeded: Callable[[], bool] | None = None,
    poll_seconds: float = POLL_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
) -> int:
    """Run a program to its end in a session of its own; nothing of it is left when this returns or raises.

    Args:
        argv: program and arguments; no shell is involved.
        env: its whole environment; by default ours.
        cwd: its working directory.
        on_line: hears each line of its output (stdout and stderr together), in the calling thread.
        stop_check: called about every `poll_seconds` in the calling thread; what it raises ends the child.
        log_path: file that the output is appended to.
        succeeded: decides whether the work was done, whatever the exit status (a DeepSpeed rank can abort at exit after
            its last byte is written). By default: exit status 0.
        grace_seconds: time between asking (TERM) and killing (KILL).

    Returns:
        The exit status (negative: the signal that ended it).

    Raises:
        ChildError: the program cannot be started, or it did not succeed.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    family: set[psutil.Process] = set()
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None

    def hear(block_seconds: float) -> None:
        """Pass on the lines that come within a time span."""
        deadline = time.monotonic() + block_seconds
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            if line is None:
                return
            tail.append(line)
            if on_line is not None:
                on_line(line)

    try:
        try:
            process = subprocess.Popen(
                list(argv),
                env=None if env is None else dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ChildError(f"cannot start {argv[0]}: {error.strerror}") from error
        reader = threading.Thread(
            target=_read, args=(process.stdout, lines, log_path), daemon=True, name="child output"
        )
        reader.start()
        while process.poll() is None:
            hear(poll_seconds)
            family |= _descendants(process.pid)
            if stop_check is not None:
                stop_check()
    finally:
        if process is not None:
            _end(process, family, grace_seconds)
        if reader is not None:
            reader.join(timeout=grace_seconds)
    hear(0.0)
    if stop_check is not None:
        stop_check()
    if not (succeeded() if succeeded is not None else process.returncode == 0):
        raise ChildError(_failure(argv, process.returncode, tail, log_path), tail)
    return process.returncode


def free_port() -> int:
    """A TCP port on loopback that nothing listens on right now.

    Somebody else may take it before it is used: prefer a program that binds port 0 itself (torchrun --standalone).
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(stream: IO[bytes], lines: "queue.SimpleQueue[str | None]", log_path: Path | None) -> None:
    """Reader thread: output to the log file and, as text, to the queue; None at the end."""
    log = log_path.open("ab") if log_path is not None else None
    try:
        for raw in stream:
            if log is not None:
                log.write(raw)
                log.flush()
            lines.put(raw.decode("utf-8", errors="replace").rstrip("\r\n"))
    finally:
        lines.put(None)
        if log is not None:
            log.close()


def _descendants(pid: int) -> set[psutil.Process]:
    """Every process below `pid`; torchrun gives each rank a session of its own, so a group is not enough."""
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def _end(process: subprocess.Popen[bytes], family: set[psutil.Process], grace_seconds: float) -> None:
    """Ask the child and all below it to end, then kill what is left. Returns at once when nothing lives."""
    family = family | _descendants(process.pid)
    if process.stdin is not None:
        process.stdin.close()
    _signal_all(process, family, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    try:
        process.wait(timeout=grace_seconds)
        psutil.wait_procs(family, timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass  # the KILL below is for this
    finally:  # also when a second signal interrupts the waiting
        _signal_all(process, family | _descendants(process.pid), signal.SIGKILL)
        process.wait()


def _signal_all(process: subprocess.Popen[bytes], family: set[psutil.Process], number: signal.Signals) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):  # it ended between the look and the signal
            os.killpg(process.pid, number)
    for member in family:
        try:
            member.send_signal(number)  # psutil checks that the pid is still the same process
        except psutil.NoSuchProcess:
            continue


def _failure(argv: Sequence[str], returncode: int, tail: Sequence[str], log_path: Path | None) -> str:
    how = f"was ended by {signal.Signals(-returncode).name}" if returncode < 0 else f"ended with status {returncode}"
    words = " | ".join([line.strip() for line in tail if line.strip()][-SHOWN_LINES:]) or "it said nothing"
    where = f"; whole output: {log_path}" if log_path is not None else ""
    return f"{Path(argv[0]).name} {how} before its work was done: {words}{where}"
