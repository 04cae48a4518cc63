"""The last step of a stage: a killed commit is finished, and a refresh is held against what the store has."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from infra.canonical import digest
from infra.errors import SluiceError
from infra.store.maintenance import damage
from infra.store.manifest import FileEntry, Manifest
from infra.store.store import MANIFEST, Store

SHOWN = 5  # files that a message names

log = logging.getLogger("sluice")


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


def settle_refresh(store: Store, staging: Path, manifest: Manifest, *, replace: bool) -> bool:
    """Hold what was computed again against the artifact in the store: against its bytes, not only its manifest.

    A damaged artifact whose bytes were made again gives way to the sound copy. Returns whether it was sound and the
    new bytes are the same.

    Raises:
        SluiceError: the bytes differ from those in the manifest, and they are not to be replaced.
    """
    old = store.manifest(manifest.stage, manifest.version)
    damaged = damage(store.artifact_path(old.stage, old.version) / "data", old.files, deep=True)
    differing = differing_files(old.files, manifest.files)
    if not differing and not damaged:
        shutil.rmtree(staging)
        return True
    if differing and not replace:
        shutil.rmtree(staging)
        also = f" (the one in the store is damaged, too: {_some(damaged)})" if damaged else ""
        raise SluiceError(
            f"{manifest.ref}: computed again and NOT reproduced, these files differ: {_some(differing)}{also}."
            " Raise the stage's VERSION if its output was meant to change, or add --replace"
        )
    store.commit(staging, manifest, replace=True)
    if damaged and not differing:
        log.warning("%s: was damaged, mended: %s", manifest.ref, _some(damaged))
    return False


def differing_files(old: Sequence[FileEntry], new: Sequence[FileEntry]) -> list[str]:
    """Paths that are not in both lists with the same bytes; volatile files are left out."""
    before = {entry.path: entry.sha256 for entry in old if not entry.volatile}
    after = {entry.path: entry.sha256 for entry in new if not entry.volatile}
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def refresh_name(version: str) -> str:
    """The staging folder of a refresh, beside that of the version itself."""
    return f"{version}.refresh"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _read(path: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, ValueError):
        return None
