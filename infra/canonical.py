"""Canonical JSON and the digests built on it.

Two equal values give the same bytes on every machine: keys sorted, no blanks, UTF-8, no NaN. Versions and part keys
are sha256 over these bytes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

VERSION_HEX = 16  # length of an artifact version and of a part key
READ_BYTES = 1 << 20


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value made of dicts, lists, strings, numbers, booleans and None."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """First 16 hex digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()[:VERSION_HEX]


def file_sha256(path: Path) -> str:
    """Whole sha256 (64 hex) of a file's bytes, read in blocks."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            sha.update(block)
    return sha.hexdigest()
