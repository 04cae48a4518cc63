"""Which code and which machine: what a manifest records beside the key."""

import ast
import hashlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from infra.canonical import VERSION_HEX
from infra.store.manifest import Code

HOUSE = ("tasks", "model")  # packages whose source shapes what a stage writes
ROOT = Path(__file__).resolve().parents[2]


def code_of(stage_version: int, module: str) -> Code:
    """The code behind a stage: its declared version, a digest of its source, the commit."""
    sha, dirty = _git()
    return Code(stage_version=stage_version, source_digest=source_digest(module), git_sha=sha, git_dirty=dirty)


def environment(libraries: Mapping[str, str]) -> dict[str, Any]:
    """Python, platform and the libraries that shape the output."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "libraries": dict(libraries),
    }


@lru_cache
def source_digest(module: str) -> str:
    """Digest of a module's source and of every house module that it imports, directly or not.

    Two artifacts with one key but two digests were written by different code whose VERSION nobody raised.
    """
    seen: dict[str, bytes] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = _source_path(name)
        if path is None or name in seen:
            continue
        seen[name] = path.read_bytes()
        todo.extend(_house_imports(seen[name]))
    sha = hashlib.sha256()
    for name in sorted(seen):
        sha.update(name.encode() + b"\0" + seen[name] + b"\0")
    return sha.hexdigest()[:VERSION_HEX]


def _source_path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    loaded = sys.modules.get(module)  # a stage defined outside the house, as tests do
    file = getattr(loaded, "__file__", None)
    return Path(file) if file else None


def _house_imports(source: bytes) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
            found.extend(f"{node.module}.{alias.name}" for alias in node.names)
    return [name for name in found if name.split(".")[0] in HOUSE]


@lru_cache
def _git() -> tuple[str | None, bool | None]:
    """Commit and whether the tree was changed; (None, None) outside a checkout or without git."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=10
        )
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None, None
    return head.stdout.strip(), bool(status.stdout.strip())
