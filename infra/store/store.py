"""The artifact store: `<root>/<stage>/<version>/{manifest.json,data/…}`.

    <root>/<stage>/<version>/            a committed artifact
    <root>/.staging/<stage>/<version>/   work in progress; survives a killed run and is continued by the next one
    <root>/.locks/<stage>.<version>      who may write that version
    <root>/tags/<stage>/<name>           a ref under a name
    <root>/.trash/                       what gc and --replace took out

A folder without a manifest does not exist. Committing is one rename onto a name that does not exist yet: the first one
wins, and a second one with the same key uses the first one's result. The manifest is written in staging, before
anything that a next run could resume from is removed: a commit that is cut short loses nothing. Readers get `Artifact`s
and never see the layout, so that another backend (an object store, where the manifest is put if-none-match) can stand
behind the same methods.
"""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from infra.errors import BadInput, SluiceError
from infra.files import fsync_path, write_text
from infra.store.artifact import Artifact
from infra.store.digests import DigestCache
from infra.store.manifest import Manifest

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VERSION = re.compile(r"[0-9a-f]+")
MANIFEST = "manifest.json"
RESERVED = {"tags"}
TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)  # what a rename onto something that is there gives


class Store:
    """A local artifact store. Nothing is created before the first write."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self._manifests: dict[tuple[str, str], Manifest] = {}  # committed manifests never change

    # -- places ---------------------------------------------------------------------------------------------------

    def artifact_path(self, stage: str, version: str) -> Path:
        return self.root / stage / version

    def staging_path(self, stage: str, version: str) -> Path:
        return self.root / ".staging" / stage / version

    def lock_path(self, stage: str, version: str) -> Path:
        return self.root / ".locks" / f"{stage}.{version}"

    @property
    def trash(self) -> Path:
        return self.root / ".trash"

    def digest_cache(self) -> DigestCache:
        """The store's memory of input digests; call `save` on it when done."""
        return DigestCache(self.root / ".digests.json")

    # -- reading --------------------------------------------------------------------------------------------------

    def stages(self) -> list[str]:
        """Names of the stages that have at least one committed artifact."""
        if not self.root.is_dir():
            return []
        folders = (entry.name for entry in os.scandir(self.root) if entry.is_dir())
        return sorted(name for name in folders if NAME.fullmatch(name) and name not in RESERVED and self.versions(name))

    def versions(self, stage: str) -> list[str]:
        """Committed versions of a stage, sorted by version."""
        folder = self.root / stage
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(folder) if (Path(entry.path) / MANIFEST).is_file())

    def exists(self, stage: str, version: str) -> bool:
        return (self.artifact_path(stage, version) / MANIFEST).is_file()

    def manifest(self, stage: str, version: str) -> Manifest:
        """The manifest of a committed artifact.

        Raises:
            BadInput: no such artifact, or a manifest that this Sluice cannot read.
        """
        known = self._manifests.get((stage, version))
        if known is not None:
            return known
        path = self.artifact_path(stage, version) / MANIFEST
        try:
            manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BadInput(f"{stage}/{version}: no such artifact in {self.root}; `sluice ls` lists them") from None
        except (ValidationError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise BadInput(f"{path}: not a manifest that this version of Sluice can read ({reason})") from error
        self._manifests[stage, version] = manifest
        return manifest

    def manifests(self, stage: str | None = None) -> Iterator[Manifest]:
        """Manifests of all committed artifacts, of one stage or of all, by stage then by end time."""
        for name in [stage] if stage else self.stages():
            found = [self.manifest(name, version) for version in self.versions(name)]
            yield from sorted(found, key=lambda manifest: (manifest.timing.ended, manifest.version))

    def open(self, ref: str) -> Artifact:
        """The artifact that a reference names (see `resolve`)."""
        stage, version = self.resolve(ref)
        return Artifact(self, self.manifest(stage, version))

    def resolve(self, ref: str) -> tuple[str, str]:
        """`stage@latest`, `stage@tag`, `stage/version-prefix` or `stage` (its latest) -> (stage, version).

        Raises:
            BadInput: nothing, or more than one artifact, goes by that name.
        """
        stage, at, tag = ref.partition("@")
        if at:
            return self._resolve_tag(stage, tag)
        stage, slash, prefix = ref.partition("/")
        if not slash:
            return self._resolve_tag(stage, "latest")
        prefix = prefix.rstrip("/")  # a shell completes folders with one
        usable = stage and not stage.startswith(".") and VERSION.fullmatch(prefix)
        if usable and self.exists(stage, prefix):
            return stage, prefix
        found = [version for version in self.versions(stage) if version.startswith(prefix)] if usable else []
        if len(found) == 1:
            return stage, found[0]
        if found:
            raise BadInput(f"{ref}: {len(found)} versions begin so ({', '.join(found)}); give more digits")
        raise BadInput(f"{ref}: no such artifact in {self.root}; `sluice ls{' ' + stage if stage else ''}` lists them")

    def _resolve_tag(self, stage: str, tag: str) -> tuple[str, str]:
        if tag == "latest":
            manifests = list(self.manifests(stage)) if NAME.fullmatch(stage) else []
            if not manifests:
                have = ", ".join(self.stages()) or "none yet"
                raise BadInput(f"{stage}: no artifact of that stage in {self.root} (stages with artifacts: {have})")
            return stage, manifests[-1].version
        path = self.root / "tags" / stage / tag
        if not TAG.fullmatch(tag) or not path.is_file():
            have = ", ".join(f"{s}@{t}" for s, t, _ in self.tags() if s == stage) or "none"
            raise BadInput(f"{stage}@{tag}: no such tag in {self.root} (tags of {stage}: {have})")
        return stage, _tagged(path)

    # -- tags -----------------------------------------------------------------------------------------------------

    def tag(self, name: str, ref: str) -> str:
        """Give an artifact a name: `stage@name`. A tag may be moved; gc never takes a tagged artifact.

        Raises:
            BadInput: an unusable name or an unknown artifact.
        """
        if not TAG.fullmatch(name) or name == "latest":
            raise BadInput(f"{name!r} cannot be a tag: use letters, digits, '.', '_', '-', and not 'latest'")
        manifest = self.manifest(*self.resolve(ref))
        write_text(self.root / "tags" / manifest.stage / name, manifest.version + "\n")
        return f"{manifest.stage}@{name}"

    def tags(self) -> list[tuple[str, str, str]]:
        """All tags as (stage, tag, version)."""
        folder = self.root / "tags"
        if not folder.is_dir():
            return []
        paths = sorted(path for path in folder.glob("*/*") if TAG.fullmatch(path.name))
        return [(path.parent.name, path.name, _tagged(path)) for path in paths]

    # -- committing -----------------------------------------------------------------------------------------------

    def commit(self, staging: Path, manifest: Manifest, *, replace: bool = False) -> bool:
        """Make finished work visible with one rename. Of `staging` only manifest.json and data/ go along.

        Each step leaves what the next start can finish from: the data is on the disk before the manifest, the manifest
        before checkpoints and markers of parts go, and these before the rename.

        Args:
            replace: move an artifact that has the version already to the trash.

        Returns:
            False when somebody committed the same version first: theirs stays, ours is thrown away.
        """
        _seal(staging, manifest)
        _strip(staging)
        target = self.artifact_path(manifest.stage, manifest.version)
        target.parent.mkdir(parents=True, exist_ok=True)
        if replace and target.exists():
            self.to_trash(target)
        if not self._move(staging, target):
            shutil.rmtree(staging)
            return False
        fsync_path(target.parent)
        return True

    def _move(self, staging: Path, target: Path) -> bool:
        """Rename onto a free name; False when an artifact has it. What is there without a manifest is no artifact."""
        try:
            staging.rename(target)  # onto a non-empty folder this fails, and that is the first-wins rule
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            if (target / MANIFEST).is_file():
                return False
            self.to_trash(target)
            staging.rename(target)
        return True

    def to_trash(self, path: Path) -> Path:
        """Move a folder out of sight, to be deleted by gc; returns where it went."""
        self.trash.mkdir(parents=True, exist_ok=True)
        target = self.trash / f"{path.parent.name}.{path.name}.{uuid.uuid4().hex[:8]}"
        path.rename(target)
        self._manifests.pop((path.parent.name, path.name), None)
        return target


def _tagged(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip().rstrip("/")  # an earlier Sluice took over a slash


def _seal(staging: Path, manifest: Manifest) -> None:
    """Push all that the manifest lists to the disk, and then the manifest."""
    for entry in manifest.files:
        fsync_path(staging / "data" / entry.path)
    for folder, _, _ in os.walk(staging / "data"):
        fsync_path(Path(folder))
    write_text(staging / MANIFEST, manifest.model_dump_json(by_alias=True, indent=1) + "\n")
    fsync_path(staging)


def _strip(staging: Path) -> None:
    """Remove all but the manifest and data/: markers of parts, checkpoints, temporary files."""
    for path in staging.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path.name != "data":
                shutil.rmtree(path, ignore_errors=True)
        elif path.name != MANIFEST:
            path.unlink(missing_ok=True)


def open_store(url: str | Path) -> Store:
    """The store behind a URL or path.

    Raises:
        SluiceError: a scheme that has no backend yet, or a path that cannot be a folder.
    """
    text = os.fspath(url)
    if "://" in text and not text.startswith("file://"):
        scheme = text.split("://", 1)[0]
        raise SluiceError(f"--store {text}: no backend for {scheme}:// yet; use a folder on a local or shared disk")
    root = Path(text.removeprefix("file://")).expanduser()
    _check_place(root)
    return Store(root)


def _check_place(root: Path) -> None:
    """See that a store is or can be made at a path; nothing is made yet."""
    for place in (root, *root.absolute().parents):
        that = "that" if place == root else str(place)
        try:
            if place.is_dir():
                return
            if place.is_symlink() and not place.exists():
                raise SluiceError(
                    f"--store {root}: {that} is a link to {place.readlink()}, which is not there; make that folder or"
                    " mend the link"
                )
            if place.exists():
                raise SluiceError(f"--store {root}: {that} is a file; give a folder")
        except OSError as error:
            raise SluiceError(f"--store {root}: cannot be reached ({error.strerror}); give another folder") from error
