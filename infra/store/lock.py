"""One writer per version: an flock that dies with its process, and a token that outliving workers check.

The kernel drops the flock when the holder ends, however it ends, so no lock is ever stale. A Spark worker that survives
its killed driver for a moment cannot see the flock, so each part and checkpoint asks `still_ours` before it renames.
"""

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.errors import SluiceError

POLL_SECONDS = 0.25


class StagingLock:
    """Exclusive right to write one version. Use as a context manager after `acquire`."""

    def __init__(self, path: Path, run_name: str) -> None:
        self.path = path
        self.token = uuid.uuid4().hex
        self._run_name = run_name
        self._file: Any = None

    def acquire(self, on_wait: Callable[[str], None] | None = None) -> None:
        """Take the lock, waiting for another holder as long as it lives; `on_wait` hears once who holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+", encoding="utf-8")
        told = False
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told and on_wait is not None:
                    on_wait(self.holder())
                    told = True
                time.sleep(POLL_SECONDS)
        self._file.seek(0)
        self._file.truncate()
        owner = {"token": self.token, "run": self._run_name, "pid": os.getpid(), "host": socket.gethostname()}
        self._file.write(json.dumps(owner))
        self._file.flush()

    def holder(self) -> str:
        """Who holds the lock, in words."""
        try:
            owner = json.loads(self.path.read_text(encoding="utf-8"))
            return f"run {owner['run']!r} (process {owner['pid']} on {owner['host']})"
        except (OSError, ValueError, KeyError):
            return "another run"

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "StagingLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether some living process holds the lock of this path."""
    if not path.exists():
        return False
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def check_ours(path: Path, token: str) -> None:
    """Raise when the lock now names another owner than `token`.

    Raises:
        SluiceError: the staging folder belongs to another run by now.
    """
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))["token"]
    except (OSError, ValueError, KeyError):
        owner = None
    if owner != token:
        raise SluiceError(f"{path.name}: another run has taken over this version; this one stops writing")
