"""A child process that does what may crash, hang or eat all memory, and is replaced when it did.

Parsing hostile markup runs C code over any bytes the web holds: a segmentation fault or an endless loop must cost one
page, not the part. `Sandbox` forks a child (cheap: it shares what is imported already), hands it one message at a time
over a pipe and takes one answer back. Limits are CPU time and address space, never the clock, so that a page's fate
does not depend on how busy the machine is; a page that crashes the child is tried once more in a fresh one, for the
same reason.
"""

import contextlib
import ctypes
import logging
import math
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Literal

STALL_SECONDS = 600.0  # without an answer or any CPU time used: the child waits for something that will not come
POLL_SECONDS = 10.0
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PAGE_BYTES = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one message."""

    status: Literal["ok", "crash", "timeout"]
    data: bytes = b""
    detail: str = ""


class Sandbox:
    """`work` in a child process. Use as a context manager: the child ends with the block.

    Args:
        work: message in, answer out; runs in the child. Its exceptions end the child (a crash): catch what is expected.
        prepare: called once in every new child.
        cpu_seconds: CPU time that one message may take.
        memory_bytes: address space that the child may add to what it was born with.
    """

    def __init__(
        self,
        work: Callable[[bytes], bytes],
        *,
        cpu_seconds: int,
        memory_bytes: int,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._work = work
        self._prepare = prepare
        self._cpu_seconds = cpu_seconds
        self._memory_bytes = memory_bytes
        self._child = 0
        self._pipe: Connection | None = None
        self.starts = 0

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def ask(self, message: bytes) -> Answer:
        """The child's answer. A message that crashes the child is given to a fresh one once more."""
        answer = self._ask_once(message)
        return self._ask_once(message) if answer.status == "crash" else answer

    def _ask_once(self, message: bytes) -> Answer:
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send_bytes(message)
            idle, used = 0.0, -1.0
            while not self._pipe.poll(POLL_SECONDS):
                now = _cpu_seconds_of(self._child)
                idle, used = (idle + POLL_SECONDS, used) if now == used else (0.0, now)
                if idle >= STALL_SECONDS:
                    self._end(kill=True)
                    return Answer("crash", detail="stalled")
            return Answer("ok", self._pipe.recv_bytes())
        except (EOFError, OSError):  # the child is gone
            return self._post_mortem()

    def _start(self) -> None:
        ours, theirs = Pipe()
        parent = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            try:
                self._be_child(theirs, parent)
            finally:
                os._exit(1)
        theirs.close()
        self._pipe = ours
        self.starts += 1

    def _be_child(self, pipe: Connection, parent: int) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        # Ends with the thread that works on the part; the closing pipe says the same, but only between two pages.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return
        # The sockets of a Spark worker must close when it dies, so the child may not hold them open.
        os.closerange(3, pipe.fileno())
        os.closerange(pipe.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write("1000")  # when the machine runs out of memory, this process is the one to go
        size = _address_space() + self._memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        logging.disable(logging.CRITICAL)  # libraries remark on single pages; what matters is in the answer
        if self._prepare:
            self._prepare()
        while True:
            try:
                message = pipe.recv_bytes()
            except EOFError:
                return
            limit = math.ceil(time.process_time()) + self._cpu_seconds
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
            pipe.send_bytes(self._work(message))

    def _post_mortem(self) -> Answer:
        status = self._end()
        if os.WIFSIGNALED(status):
            if os.WTERMSIG(status) == signal.SIGXCPU:
                return Answer("timeout", detail=f"{self._cpu_seconds} s of CPU time")
            return Answer("crash", detail=signal.Signals(os.WTERMSIG(status)).name)
        return Answer("crash", detail=f"exit status {os.waitstatus_to_exitcode(status)}")

    def _end(self, kill: bool = False) -> int:
        """Close the pipe, wait for the child (it ends when it reads the end of the pipe) and return its status."""
        if self._pipe is None:
            return 0
        self._pipe.close()
        self._pipe = None
        if kill:
            os.kill(self._child, signal.SIGKILL)
        return os.waitpid(self._child, 0)[1]


def _address_space() -> int:
    """Bytes of address space this process has now (Linux: first field of /proc/self/statm, in pages)."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * PAGE_BYTES


def _cpu_seconds_of(pid: int) -> float:
    """CPU seconds a process has used; -1 when it is gone (then the pipe says so too)."""
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return -1.0
    return float(times.user + times.system)
