"""`python -m infra.guard PROGRAM ARGS…`: run a program that must not outlive whoever started this guard.

The starter keeps the guard's stdin open and never writes to it. When the starter ends, however it ends, the pipe
closes, and the guard ends the program's whole process group: it asks (TERM), gives all of it the grace time (Prefect's
worker ends its flow runs in it) and kills whoever is left, also when the program itself has ended before. For programs
that cannot watch their stdin themselves (a Prefect server or worker).
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 4.0
POLL_SECONDS = 0.05
ENDING = (signal.SIGTERM, signal.SIGINT)


class _Asked(Exception):
    """We were asked to end, or our starter has ended."""


def main(argv: list[str]) -> int:
    """Run `argv` until it ends or our stdin closes, then end its process group; returns its exit status."""
    program = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
    for number in ENDING:
        signal.signal(number, _asked)
    threading.Thread(target=_watch, daemon=True).start()
    with contextlib.suppress(_Asked):
        program.wait()
    _ignore_signals()
    _end_group(program)
    return program.wait()


def _asked(*_: object) -> None:
    _ignore_signals()  # once is enough: a second one must not cut the ending short
    raise _Asked


def _ignore_signals() -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _watch() -> None:
    while os.read(0, 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def _end_group(program: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    lives = _signal_group(program, signal.SIGTERM)
    while lives and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        program.poll()  # a leader that has ended and is not reaped would count as alive
        lives = _signal_group(program, 0)
    _signal_group(program, signal.SIGKILL)


def _signal_group(program: "subprocess.Popen[bytes]", number: int) -> bool:
    """Signal the program's process group (0: only look); False when nobody is left in it."""
    try:
        os.killpg(program.pid, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
