"""sha256 of input files, remembered by (path, size, mtime, inode) so that a terabyte is hashed once."""

import json
import os
from pathlib import Path

from infra.canonical import file_sha256
from infra.errors import BadInput
from infra.files import write_text


class DigestCache:
    """A small JSON file in the store. Losing it costs time, never correctness."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known: dict[str, list[object]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # absent or damaged: it is only a cache
            self._known = {}
        self._changed = False

    def sha256(self, path: Path) -> str:
        """The file's sha256 as 64 hex digits.

        Raises:
            BadInput: the file cannot be read.
        """
        try:
            status = path.stat()
            stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
            key = os.fspath(path.resolve())
            known = self._known.get(key)
            if known is not None and known[:3] == stamp:
                return str(known[3])
            sha = file_sha256(path)
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
        self._known[key] = [*stamp, sha]
        self._changed = True
        return sha

    def save(self) -> None:
        """Write the cache back if something was added."""
        if self._changed:
            write_text(self._path, json.dumps(self._known, sort_keys=True))
            self._changed = False
