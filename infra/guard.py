"""`python -m infra.guard PROGRAM ARGS…`: run a program that must not outlive whoever started this guard.

The starter keeps the guard's stdin open and never writes to it. When the starter ends, however it ends, the pipe
closes, and the guard ends the program's whole process group. For programs that cannot watch their stdin themselves (a
Prefect server or worker).
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 4.0


def main(argv: list[str]) -> int:
    """Run `argv` until it ends or our stdin closes; returns its exit status."""
    program = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(*_: object) -> None:
        _signal_group(program, signal.SIGTERM)
        try:
            program.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(program, signal.SIGKILL)

    def watch() -> None:
        while os.read(0, 4096):
            continue
        end()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    threading.Thread(target=watch, daemon=True).start()
    return program.wait()


def _signal_group(program: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.killpg(program.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
