"""A store as a run of several stages uses it: what the run has opened or made, gc leaves alone until the run ends.

Between two stages a run holds no lock, yet it will read what it has resolved at its start and made since. It appends
each ref to `<root>/.locks/run.<id>`, a file that it holds by an flock which dies with its process.
"""

import contextlib
import fcntl
import threading
import uuid
from pathlib import Path
from typing import Any

from infra.store.artifact import Artifact
from infra.store.lock import RUN_PREFIX
from infra.store.store import Store


class RunStore(Store):
    """A store that remembers for gc what is opened through it. Use as a context manager."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root)
        self._path = self.root / ".locks" / f"{RUN_PREFIX}{uuid.uuid4().hex}"
        self._file: Any = None
        self._noted: set[str] = set()
        self._lock = threading.Lock()  # a study opens artifacts in several threads

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        """In a worker it is a plain store: its driver holds what the worker reads."""
        return Store, (self.root,)

    def open(self, ref: str) -> Artifact:
        """The artifact that a reference names, kept with all that it comes from until the run ends."""
        artifact = super().open(ref)
        with self._lock, contextlib.suppress(OSError):  # of a read-only store gc cannot take anything either
            if artifact.ref not in self._noted:
                self._note(artifact.ref)
        return artifact

    def _note(self, ref: str) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(f"{ref}\n")
        self._file.flush()
        self._noted.add(ref)

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None
