"""What is known of input files, so that a terabyte is hashed once and a thousand servers' files are asked for once.

Local files: sha256 by (path, size, mtime, inode). Remote files: size and validator by address, for a day; a part that
finds another file there than the one remembered ends its run and has it forgotten (`RemoteFile`).
"""

import hashlib
import json
import logging
import os
import time
from pathlib import Path

from infra.canonical import file_sha256
from infra.errors import BadInput
from infra.files import Stamp, stamp_of, write_text
from infra.remote import Changed

REMEMBERED_SECONDS = 24 * 3600  # crawls that are published stay as they are; a mirror may be filled anew overnight

log = logging.getLogger("sluice")


class DigestCache:
    """A small JSON file in the store. Losing it costs time, never correctness."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._read()
        self._changed = False

    def identify(self, path: Path) -> tuple[str, Stamp]:
        """The file's sha256 as 64 hex digits, and the stamp that it had all the while.

        Raises:
            BadInput: the file cannot be read.
            Changed: somebody wrote to it or replaced it meanwhile.
        """
        try:
            stamp = stamp_of(path.stat())
            key = os.fspath(path.resolve())
            known = self._known.get(key)
            if known is not None and known[:3] == list(stamp):
                return str(known[3]), stamp
            sha = file_sha256(path)
            now = stamp_of(path.stat())
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
        check_stamp(path, stamp, now)
        self._known[key] = [*stamp, sha]
        self._changed = True
        return sha, stamp

    def remote(self, url: str) -> tuple[int, str] | None:
        """Size and validator of a remote file that was seen within the last day, and found to be usable."""
        known = self._known.get(_remote_key(url))
        if known is None or not 0 <= time.time() - float(str(known[2])) < REMEMBERED_SECONDS:
            return None
        return int(str(known[0])), str(known[1])

    def remember(self, url: str, size: int, validator: str) -> None:
        """Note what a remote file is now."""
        self._known[_remote_key(url)] = [size, validator, int(time.time())]
        self._changed = True

    def forget(self, url: str) -> None:
        """Drop a remote file from the cache on disk, since it is no longer what it was."""
        self._known = self._read()  # another process may have written since
        if self._known.pop(_remote_key(url), None) is not None:
            self._changed = True
            self.save()

    def save(self) -> None:
        """Write the cache back if something was added; a store that cannot be written costs only the next look."""
        if not self._changed:
            return
        try:
            write_text(self._path, json.dumps(self._known, sort_keys=True))
        except OSError as error:
            log.warning("%s: cannot be written (%s); the next run reads the inputs again", self._path, error.strerror)
        self._changed = False

    def _read(self) -> dict[str, list[object]]:
        try:
            known: dict[str, list[object]] = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # absent or damaged: it is only a cache
            return {}
        return known


def check_stamp(path: Path | str, was: Stamp, now: Stamp) -> None:
    """See that a file on this machine is still the one that was digested.

    Raises:
        Changed: it is not.
    """
    if was == now:
        return
    if was[0] != now[0]:
        problem = f"{was[0]} bytes became {now[0]}"
    else:
        problem = "it was written to" if was[2] == now[2] else "another file took its place"
    raise Changed(f"{path}: the file changed while it was used ({problem}); run again when nothing writes there")


def _remote_key(url: str) -> str:
    """An address may hold credentials: only its digest is written."""
    return f"remote:{hashlib.sha256(url.encode()).hexdigest()}"
