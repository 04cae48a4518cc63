"""The child process: a page that kills it costs that page."""

import contextlib
import os
import signal
import time

import psutil
import pytest

from tasks.extract.sandbox import Sandbox
from tests.processes import alive, gone_within

LEAKED: list[bytes] = []


def work(message: bytes) -> bytes:
    if message == b"swallowed":  # as libraries do that catch every exception
        with contextlib.suppress(MemoryError):
            bytearray(8 << 30)
        taken = bytearray(250 << 20)
        return b"%d" % len(taken)
    if message == b"too much":
        return bytes(bytearray(8 << 30))
    if message == b"leak":
        LEAKED.append(b"x" * (8 << 20))
    if message == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if message == b"exit":
        os._exit(3)
    if message == b"raise":
        raise ValueError("not caught")
    if message == b"hang":
        while True:
            pass
    if message == b"memory":
        try:
            return b"got %d" % len(bytearray(8 << 30))
        except MemoryError:
            return b"refused"
    return message[::-1]


@pytest.fixture
def sandbox():
    with Sandbox(work, cpu_seconds=1, memory_bytes=256 << 20) as box:
        yield box


def test_answers_come_back_in_order(sandbox: Sandbox) -> None:
    assert [sandbox.ask(b"%d-a" % k).data for k in range(20)] == [(b"%d-a" % k)[::-1] for k in range(20)]
    large = bytes(range(256)) * 40_000
    assert sandbox.ask(large).data == large[::-1]
    assert sandbox.starts == 1


@pytest.mark.parametrize(
    ("message", "detail"), [(b"crash", "SIGSEGV"), (b"exit", "exit status 3"), (b"raise", "exit status 1")]
)
def test_a_crash_costs_one_message_after_a_second_try(
    sandbox: Sandbox, message: bytes, detail: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sandbox.ask(b"ab").data == b"ba"
    answer = sandbox.ask(message)
    assert (answer.status, answer.detail) == ("crash", detail)
    assert sandbox.ask(b"cd").data == b"dc"
    assert sandbox.starts == 3


def test_endless_work_is_ended_by_its_cpu_time(sandbox: Sandbox) -> None:
    assert sandbox.ask(b"hang").status == "timeout"
    assert sandbox.ask(b"ab").data == b"ba"


def test_memory_is_limited(sandbox: Sandbox) -> None:
    assert sandbox.ask(b"memory").data == b"refused"


@pytest.mark.parametrize("message", [b"too much", b"swallowed"])
def test_running_out_of_memory_is_said_even_where_the_error_was_swallowed(sandbox: Sandbox, message: bytes) -> None:
    assert sandbox.ask(b"ab").data == b"ba"
    answer = sandbox.ask(message)
    assert (answer.status, answer.detail, answer.data) == ("memory", "256 MiB", b"")
    assert sandbox.starts == 2  # tried once more in a fresh child
    assert sandbox.ask(b"cd").data == b"dc"


def test_a_child_is_replaced_after_its_messages() -> None:
    with Sandbox(work, cpu_seconds=5, memory_bytes=256 << 20, recycle_messages=4) as box:
        assert [box.ask(b"%d-a" % k).data for k in range(10)] == [(b"%d-a" % k)[::-1] for k in range(10)]
        assert (box.starts, box.recycled) == (3, 2)


def test_a_child_that_leaks_is_replaced() -> None:
    with Sandbox(work, cpu_seconds=5, memory_bytes=1 << 30, recycle_bytes=64 << 20) as box:
        for _ in range(40):
            assert box.ask(b"leak").status == "ok"
        assert box.recycled >= 1
        assert box.starts == box.recycled + (box._pipe is not None)
    assert LEAKED == []


def test_no_child_is_left_when_the_block_ends() -> None:
    with Sandbox(work, cpu_seconds=5, memory_bytes=256 << 20) as box:
        box.ask(b"x")
        (child,) = (c for c in psutil.Process().children() if c.pid == box._child)
    assert not child.is_running()


def test_the_child_ends_with_a_parent_that_is_killed(tmp_path) -> None:
    told = tmp_path / "child"
    parent = os.fork()
    if parent == 0:  # a worker in the middle of a page
        box = Sandbox(
            lambda _: told.write_text(str(os.getpid())) and time.sleep(60), cpu_seconds=60, memory_bytes=1 << 28
        )
        box.ask(b"x")
        os._exit(0)
    deadline = time.monotonic() + 30
    while not (told.exists() and told.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child = int(told.read_text())
    assert alive([child])
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert gone_within([child], 30)


def test_preparation_happens_in_each_child() -> None:
    state: list[int] = []
    with Sandbox(
        lambda _: str(len(state)).encode(), cpu_seconds=5, memory_bytes=1 << 28, prepare=lambda: state.append(1)
    ) as box:
        assert box.ask(b"").data == b"1"
    assert state == []
