"""A child process that does what may crash, hang or eat all memory, and is replaced when it did.

Parsing hostile markup runs C code over any bytes the web holds: a segmentation fault or an endless loop must cost one
page, not the part. `Sandbox` forks a child (cheap: it shares what is imported already), hands it one message at a time
over a pipe and takes one answer back. Limits are CPU time and address space, never the clock, so that a page's fate
does not depend on how busy the machine is; a page that crashes the child or runs out of memory is tried once more in a
fresh one, so that it does not depend on the pages before either. Libraries leak and fragment memory: a child is
replaced after so many messages, or when it has grown by so much.
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
RECYCLE_MESSAGES = 5_000
RECYCLE_BYTES = 128 << 20  # of memory held between two messages, beyond what the child was born with
GROWTH_CHECK_MESSAGES = 16  # between two looks at it
NEAR_LIMIT_BYTES = 16 << 20  # a child that came so near its limit was refused memory, whatever a library made of that
_OK, _MEMORY = b"\0", b"\1"  # first byte of what a child sends


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one message."""

    status: Literal["ok", "crash", "timeout", "memory"]
    data: bytes = b""
    detail: str = ""


class Sandbox:
    """`work` in a child process. Use as a context manager: the child ends with the block.

    Args:
        work: message in, answer out; runs in the child. Its exceptions end the child (a crash): catch what is expected.
        prepare: called once in every new child.
        cpu_seconds: CPU time that one message may take.
        memory_bytes: address space that the child may add to what it was born with.
        recycle_messages: messages after which a child is replaced.
        recycle_bytes: resident memory that a child may hold more than at birth, between messages; then it is replaced.
    """

    def __init__(
        self,
        work: Callable[[bytes], bytes],
        *,
        cpu_seconds: int,
        memory_bytes: int,
        prepare: Callable[[], None] | None = None,
        recycle_messages: int = RECYCLE_MESSAGES,
        recycle_bytes: int = RECYCLE_BYTES,
    ) -> None:
        self._work = work
        self._prepare = prepare
        self._cpu_seconds = cpu_seconds
        self._memory_bytes = memory_bytes
        self._child = 0
        self._recycle_messages = recycle_messages
        self._recycle_bytes = recycle_bytes
        self._pipe: Connection | None = None
        self._messages = 0  # that this child has answered
        self._born_bytes = 0
        self.starts = 0
        self.recycled = 0

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def ask(self, message: bytes) -> Answer:
        """The child's answer. A message that ends the child by crash or memory is given to a fresh one once more."""
        answer = self._ask_once(message)
        if answer.status in ("crash", "memory"):
            answer = self._ask_once(message)
        if self._pipe is not None and self._is_worn():
            self._end()
            self.recycled += 1
        return answer

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
            data = self._pipe.recv_bytes()
        except (EOFError, OSError):  # the child is gone
            return self._post_mortem()
        self._messages += 1
        if data[:1] == _MEMORY:
            self._end()
            return Answer("memory", detail=f"{self._memory_bytes >> 20} MiB")
        return Answer("ok", data[1:])

    def _is_worn(self) -> bool:
        if self._messages >= self._recycle_messages:
            return True
        if self._messages == 1:
            self._born_bytes = _memory_of(self._child)[1]
        if self._messages % GROWTH_CHECK_MESSAGES:
            return False
        return _memory_of(self._child)[1] - self._born_bytes > self._recycle_bytes

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
        self._messages = 0
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
        size = _memory_of("self")[0] + self._memory_bytes
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
            try:
                answer = _OK + self._work(message)
            except MemoryError:
                answer = _MEMORY
            if _peak_address_space() > size - NEAR_LIMIT_BYTES:
                answer = _MEMORY  # libraries catch the error and go on with what they have
            pipe.send_bytes(answer)

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


def _memory_of(pid: int | Literal["self"]) -> tuple[int, int]:
    """Bytes of address space and of resident memory of a process (Linux: /proc/PID/statm, in pages); 0, 0: gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
            address_space, resident = file.read().split()[:2]
    except OSError:
        return 0, 0
    return int(address_space) * PAGE_BYTES, int(resident) * PAGE_BYTES


def _peak_address_space() -> int:
    """The most bytes of address space that this process has had (Linux: VmPeak, in KiB)."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("VmPeak:"):
                return int(line.split()[1]) << 10
    return 0


def _cpu_seconds_of(pid: int) -> float:
    """CPU seconds a process has used; -1 when it is gone (then the pipe says so too)."""
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return -1.0
    return float(times.user + times.system)
