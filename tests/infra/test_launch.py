"""Children of a run: their output arrives, and nothing of them survives a failure, a cancel or a kill of the parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.errors import SluiceError
from infra.launch import run_child
from tests.processes import alive, gone_within

ROOT = Path(__file__).parents[2]
# A child like torchrun: starts a grandchild in a session of its own, tells both pids, and works for a long time.
NESTED = """
import os, subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("pids", os.getpid(), inner.pid, flush=True)
time.sleep(600)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_every_line_is_heard_and_logged(tmp_path):
    heard: list[str] = []
    code = "import sys; [print(i) for i in range(1000)]; print('err', file=sys.stderr); print('no newline', end='')"
    assert run_child(python(code), on_line=heard.append, log_path=tmp_path / "log") == 0
    assert sorted(heard) == sorted([*map(str, range(1000)), "err", "no newline"])
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted(heard)


def test_failure_names_the_status_and_the_last_lines():
    with pytest.raises(SluiceError, match=r"status 3 .*the reason"):
        run_child(python("print('the reason'); raise SystemExit(3)"))


def test_a_signal_is_named():
    with pytest.raises(SluiceError, match="SIGKILL"):
        run_child(python("import os; os.kill(os.getpid(), 9)"))


def test_a_missing_program_is_a_readable_error():
    with pytest.raises(SluiceError, match="cannot start no-such-program"):
        run_child(["no-such-program"])


def test_success_is_what_the_marker_says(tmp_path):
    done = tmp_path / "done"
    code = f"open({str(done)!r}, 'w').close(); raise SystemExit(1)"
    assert run_child(python(code), succeeded=done.exists) == 1
    with pytest.raises(SluiceError):
        run_child(python("pass"), succeeded=(tmp_path / "other").exists)


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_exception_leaves_no_process_behind(reason):
    """Prefect's TerminationSignal is a BaseException, as the first two are."""
    pids: list[int] = []

    def listen(line: str) -> None:
        pids.extend(map(int, line.split()[1:]))

    def stop() -> None:
        if pids:
            assert len(alive(pids)) == 2
            raise reason

    with pytest.raises(reason):
        run_child(python(NESTED), on_line=listen, stop_check=stop)
    assert alive(pids) == []


def test_a_child_that_ignores_term_is_killed():
    stubborn = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
time.sleep(600)
"""
    ready: list[str] = []

    def stop() -> None:
        if ready:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        run_child(python(stubborn), on_line=ready.append, stop_check=stop, grace_seconds=0.3)


def test_a_grandchild_that_outlives_its_parent_is_ended():
    code = NESTED.replace("time.sleep(600)\n", "time.sleep(1.5)\n")
    pids: list[int] = []
    run_child(python(code), on_line=lambda line: pids.extend(map(int, line.split()[1:])), poll_seconds=0.1)
    assert len(pids) == 2
    assert alive(pids) == []


def test_kill_9_of_the_parent_closes_the_childs_stdin(tmp_path):
    child = "import os, sys; print(os.getpid(), flush=True); sys.stdin.buffer.read(); os._exit(0)"
    parent = f"""
import sys
from infra.launch import run_child
run_child([sys.executable, '-c', {child!r}], on_line=lambda line: print(line, flush=True))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(python(parent), cwd=ROOT, stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert alive([pid])
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert gone_within([pid], 10)
