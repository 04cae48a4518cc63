"""One writer per version: an flock that dies with its process, and a token that outliving workers check.

The kernel drops the flock when the holder ends, however it ends, so no lock is ever stale. A Spark worker that survives
its killed driver for a moment cannot see the flock, so each part and checkpoint asks `still_ours` before it renames.

A lock file also says which artifacts its holder reads, and a run holds a file of its own with all that it has opened or
made so far (`infra.store.running`): `needs_of_running` adds them up, so that gc leaves them alone.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.errors import SluiceError
from infra.store.manifest import refs_of

POLL_SECONDS = 0.25
RUN_PREFIX = "run."  # no stage is called so


class StagingLock:
    """Exclusive right to write one version. Use as a context manager after `acquire`."""

    def __init__(self, path: Path, run_name: str, parents: Mapping[str, str | list[str]] | None = None) -> None:
        """`parents` as in a key: role -> the refs that the holder reads while it holds the lock."""
        self.path = path
        self._needs = refs_of(parents or {})
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
        self._file.write(json.dumps({**owner, "needs": self._needs}))
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


def needs_of_running(folder: Path) -> set[str]:
    """Refs of what living processes make, read or have named, from the lock files in a folder."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {ref for path in paths if is_held(path) for ref in _needs(path)}


def _needs(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:  # the run has ended
        return
    except PermissionError:  # somebody else's, see `is_held`: at least what it makes stays
        text = "{}"
    if path.name.startswith(RUN_PREFIX):
        yield from text.split()
        return
    yield path.name.replace(".", "/", 1)
    if not text:  # its holder has just taken it and is about to write
        time.sleep(POLL_SECONDS)
        text = path.read_text(encoding="utf-8")
    with contextlib.suppress(ValueError):
        yield from json.loads(text).get("needs", [])


def is_held(path: Path) -> bool:
    """Whether some living process holds the lock of this path."""
    try:
        file = path.open("rb")  # a look must do on a store that is read-only, too
    except FileNotFoundError:
        return False
    except PermissionError:  # somebody else's, and he may well be at work
        return True
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
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
