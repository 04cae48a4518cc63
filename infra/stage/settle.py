"""The last step of a stage: a killed commit is finished, and a refresh is held against what the store has."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from infra.canonical import digest, file_sha256
from infra.store.manifest import FileEntry, Manifest
from infra.store.store import MANIFEST, Store


def finish_commit(store: Store, stage: str, version: str) -> Manifest | None:
    """Finish the commit of this version that a kill or a full disk cut short; None when there is none to finish.

    The manifest is written when all is computed and on the disk, so a staging folder that holds one, and every file
    that it lists, lacks nothing but the rename. Call with the version's lock held.
    """
    for name in (version, refresh_name(version)):  # the second: `--refresh --replace` had moved the old one away
        staging = store.staging_path(stage, name)
        manifest = _read(staging / MANIFEST)
        if manifest is None or (manifest.stage, manifest.version) != (stage, version):
            continue
        if digest(manifest.key) == version and not damage(staging / "data", manifest.files):
            store.commit(staging, manifest)
            return manifest
    return None


def refresh_name(version: str) -> str:
    """The staging folder of a refresh, beside that of the version itself."""
    return f"{version}.refresh"


def damage(data: Path, files: Sequence[FileEntry], deep: bool = False) -> list[str]:
    """Which of the listed files are not there as listed, one phrase each.

    Args:
        deep: read every byte and compare sha256, not only sizes.
    """
    found = []
    for entry in files:
        path = data / entry.path
        if not path.is_file():
            found.append(f"{entry.path} is missing")
        elif path.stat().st_size != entry.bytes:
            found.append(f"{entry.path} has {path.stat().st_size} bytes, not {entry.bytes}")
        elif deep and file_sha256(path) != entry.sha256:
            found.append(f"{entry.path} has other bytes than when it was committed")
    return found


def _read(path: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, ValueError):
        return None
