"""Looking after a store: verify, diff, lineage downwards, garbage collection."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from infra.canonical import digest, file_sha256
from infra.errors import BadInput
from infra.store.artifact import Artifact
from infra.store.lock import is_held, needs_of_running
from infra.store.manifest import FileEntry, Manifest, refs_of
from infra.store.store import MANIFEST, Store


def readable(store: Store, stage: str | None = None) -> tuple[list[Manifest], dict[str, str]]:
    """Manifests of all artifacts, or those of one stage, by stage then by end time; and what is wrong with the others.

    Returns:
        The manifests that can be read, and for each other artifact its ref -> one line.
    """
    manifests: list[Manifest] = []
    damaged: dict[str, str] = {}
    for name in [stage] if stage else store.stages():
        found = []
        for version in store.versions(name):
            try:
                manifest = store.manifest(name, version)
            except BadInput as error:
                damaged[f"{name}/{version}"] = str(error)
                continue
            except OSError as error:
                damaged[f"{name}/{version}"] = f"{error.filename}: cannot be read ({error.strerror})"
                continue
            if manifest.ref == f"{name}/{version}":
                found.append(manifest)
            else:
                where = store.artifact_path(name, version) / MANIFEST
                damaged[f"{name}/{version}"] = (
                    f"{where}: this is the manifest of {manifest.ref}; it was edited or moved"
                )
        manifests += sorted(found, key=lambda manifest: (manifest.timing.ended, manifest.version))
    return manifests, damaged


def verify(artifact: Artifact, deep: bool = False) -> list[str]:
    """What is wrong with an artifact, one line each; nothing when it is whole.

    Args:
        deep: read every byte and compare sha256, not only sizes.
    """
    manifest = artifact.manifest
    problems = []
    if digest(manifest.key) != manifest.version:
        problems.append(f"{artifact.ref}: its key does not give its version; the manifest was edited")
    data = artifact.path / "data"
    problems += [f"{artifact.ref}: {what}" for what in damage(data, manifest.files, deep)]
    listed = {data / entry.path for entry in manifest.files}
    for path in sorted(data.rglob("*")):
        if path.is_file() and path not in listed:
            problems.append(f"{artifact.ref}: {path.relative_to(data)} is not in the manifest")
    for ref in manifest.parent_refs():
        stage, _, version = ref.partition("/")
        if not artifact.store.exists(stage, version):
            problems.append(f"{artifact.ref}: its parent {ref} is gone")
    return problems


def damage(data: Path, files: Iterable[FileEntry], deep: bool = False) -> list[str]:
    """Which of the listed files are not in `data` as listed, one phrase each.

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


def children(store: Store, ref: str) -> list[Manifest]:
    """Artifacts made directly from `ref`."""
    return [manifest for manifest in store.manifests() if ref in manifest.parent_refs()]


def diff(one: Manifest, two: Manifest) -> Iterator[tuple[str, Any, Any]]:
    """Where two artifacts differ in what made them and in what they hold: (place, in one, in two)."""
    places = ("stage", "key", "code", "environment", "runtime", "counts", "metrics", "tables")
    left, right = one.model_dump(mode="json", by_alias=True), two.model_dump(mode="json", by_alias=True)
    for place in places:
        yield from _diff(place, left[place], right[place])
    before = {entry.path: entry.sha256 for entry in one.files}
    after = {entry.path: entry.sha256 for entry in two.files}
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            yield f"files.{path}", before.get(path), after.get(path)


def _diff(place: str, left: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted({*left, *right}):
            yield from _diff(f"{place}.{name}", left.get(name), right.get(name))
    elif left != right:
        yield place, left, right


@dataclass(frozen=True)
class Garbage:
    """What a collection would remove."""

    refs: list[str]
    staging: list[str]
    trash: int
    bytes: int
    problems: list[str]  # why artifacts stay whose own lineage, or everybody's, cannot be told


def find_garbage(store: Store, keep: int) -> Garbage:
    """Artifacts that nothing needs: not tagged, not among the `keep` latest of their stage, not in the hands of a
    living run, nor an ancestor of those.

    Work in progress of dead runs goes too when its version was committed meanwhile; other staging folders stay, since
    the next run continues them.
    """
    manifests, damaged = readable(store)
    roots = {f"{stage}/{version}" for stage, _, version in store.tags()} | damaged.keys()
    for stage in store.stages():
        latest = [manifest.ref for manifest in manifests if manifest.stage == stage]
        roots.update(latest[max(0, len(latest) - keep) :])
    needed, unclear = _with_ancestors(store, roots | needs_of_running(store.root / ".locks"))
    garbage = [] if unclear else [manifest for manifest in manifests if manifest.ref not in needed]
    refs = sorted(manifest.ref for manifest in garbage)
    staging = [
        f"{folder.parent.name}/{folder.name}"
        for folder in sorted((store.root / ".staging").glob("*/*"))
        if store.exists(folder.parent.name, folder.name.removesuffix(".refresh"))
        and not is_held(store.lock_path(folder.parent.name, folder.name.removesuffix(".refresh")))
    ]
    trash = len(list(store.trash.iterdir())) if store.trash.is_dir() else 0
    size = sum(entry.bytes for manifest in garbage for entry in manifest.files)
    hint = "; what it was made from is unknown, so no artifact is removed before it is mended or its folder is deleted"
    problems = [f"{problem}{hint if ref in unclear else '; it stays'}" for ref, problem in damaged.items()]
    return Garbage(refs, staging, trash, size, problems)


def collect_garbage(store: Store, garbage: Garbage) -> None:
    """Remove what `find_garbage` found: each artifact leaves the store by one rename, then its bytes go.

    What a run has taken up since it was found stays.
    """
    taken_up, _ = _with_ancestors(store, needs_of_running(store.root / ".locks"))
    for ref in garbage.refs:
        if ref not in taken_up:
            store.to_trash(store.artifact_path(*ref.split("/")))
    for name in garbage.staging:
        shutil.rmtree(store.staging_path(*name.split("/")), ignore_errors=True)
    if store.trash.is_dir():
        shutil.rmtree(store.trash)


class _Parents(BaseModel):
    """What of a manifest gc cannot do without."""

    parents: dict[str, str | list[str]]


def _with_ancestors(store: Store, roots: Iterable[str]) -> tuple[set[str], set[str]]:
    """Those of `roots` that exist and all that they were made from, and those of them that do not say from what."""
    needed: set[str] = set()
    unclear: set[str] = set()
    todo = list(roots)
    while todo:
        ref = todo.pop()
        stage, _, version = ref.partition("/")
        if ref in needed or not store.exists(stage, version):
            continue
        needed.add(ref)
        try:
            todo.extend(_parents(store, stage, version))
        except (ValueError, OSError):
            unclear.add(ref)
    return needed, unclear


def _parents(store: Store, stage: str, version: str) -> list[str]:
    """An artifact's parents, also from a manifest of which only they can be read (another version of Sluice wrote it).

    Raises:
        ValueError: they cannot be read.
        OSError: the manifest cannot be read.
    """
    with contextlib.suppress(BadInput):
        return store.manifest(stage, version).parent_refs()
    text = (store.artifact_path(stage, version) / MANIFEST).read_text(encoding="utf-8")
    return refs_of(_Parents.model_validate_json(text).parents)
