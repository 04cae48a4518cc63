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


def test_a_guard_passes_on_the_exit_status():
    argv = [sys.executable, "-m", "infra.guard", sys.executable, "-c", "raise SystemExit(7)"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as guard:
        assert guard.wait(60) == 7
