import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.processes import gone_within

ROOT = Path(__file__).resolve().parents[2]

# A starter that guards a program which itself starts another one, writes their pids and waits.
STARTER = """
import subprocess, sys, time
program = "import subprocess, sys, os; c = subprocess.Popen(['sleep', '600']);" \
    " open(sys.argv[1], 'w').write(f'{os.getpid()} {c.pid}'); c.wait()"
guarded = [sys.executable, "-m", "infra.guard", sys.executable, "-c", program, sys.argv[1]]
subprocess.Popen(guarded, stdin=subprocess.PIPE)
time.sleep(600)
"""


def start(tmp_path: Path) -> tuple["subprocess.Popen[bytes]", list[int]]:
    pids = tmp_path / "pids"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(pids)], env=environment)
    deadline = time.monotonic() + 60
    while not (pids.exists() and len(pids.read_text().split()) == 2):
        assert time.monotonic() < deadline and starter.poll() is None
        time.sleep(0.05)
    return starter, [int(pid) for pid in pids.read_text().split()]


def test_a_guarded_program_and_its_children_end_when_the_starter_is_killed(tmp_path):
    starter, pids = start(tmp_path)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    assert gone_within(pids, 30)


# A program that starts a member which ignores TERM, or takes a second to end and then leaves a file; it ends at once.
HASTY = """
import subprocess, sys, time
member = "import signal, sys, time; from pathlib import Path;" \
    " signal.signal(signal.SIGTERM, %s); Path(sys.argv[1]).touch(); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", member, sys.argv[1] + ".ready"])
print(child.pid, flush=True)
time.sleep(600)
"""
SLOW_END = "lambda *_: (time.sleep(1), Path(sys.argv[1] + '.ended').touch(), sys.exit())"


def guarded(tmp_path: Path, handler: str) -> tuple["subprocess.Popen[bytes]", int]:
    argv = [sys.executable, "-m", "infra.guard", sys.executable, "-c", HASTY % handler, str(tmp_path / "member")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    guard = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    member = int(guard.stdout.readline())
    deadline = time.monotonic() + 60
    while not (tmp_path / "member.ready").exists():
        assert time.monotonic() < deadline and guard.poll() is None
        time.sleep(0.05)
    return guard, member


def test_a_member_that_ignores_term_does_not_outlive_its_program(tmp_path):
    guard, member = guarded(tmp_path, "signal.SIG_IGN")
    try:
        guard.stdin.close()
        guard.wait(60)
        assert gone_within([member], 10)
    finally:
        end(member)


def test_a_member_has_its_grace_time_though_its_program_ended_at_once(tmp_path):
    guard, member = guarded(tmp_path, SLOW_END)
    try:
        guard.send_signal(signal.SIGTERM)
        guard.wait(60)
        assert (tmp_path / "member.ready.ended").exists()
    finally:
        end(member)


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_guard_passes_on_the_exit_status():
    argv = [sys.executable, "-m", "infra.guard", sys.executable, "-c", "raise SystemExit(7)"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as guard:
        assert guard.wait(60) == 7
