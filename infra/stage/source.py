"""External files as a stage's role, and byte ranges of them as its parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.store.artifact import Artifact
from infra.store.digests import DigestCache
from infra.store.manifest import InputFile


@dataclass(frozen=True)
class Source:
    """Files that Sluice did not make, or the files of an artifact (then `artifact` is the parent in the lineage).

    `files` are sorted by (name, sha256) and distinct in that pair: a crawl is a set, so neither the order in which its
    files are listed nor the folder they lie in changes anything.
    """

    files: tuple[InputFile, ...]
    artifact: Artifact | None = None

    @classmethod
    def of_files(cls, paths: Sequence[Path], digests: DigestCache) -> "Source":
        """Digest files and put them in order."""
        entries = [
            InputFile(name=path.name, sha256=digests.sha256(path), bytes=path.stat().st_size, path=str(path.absolute()))
            for path in paths
        ]
        digests.save()
        return cls(_in_order(entries))

    @classmethod
    def of_artifact(cls, artifact: Artifact, prefix: str) -> "Source":
        """The files of an artifact under `prefix`, by the digests in its manifest."""
        entries = [
            InputFile(
                name=Path(entry.path).name,
                sha256=entry.sha256,
                bytes=entry.bytes,
                path=str(artifact.file(entry.path)),
            )
            for entry in artifact.files(prefix)
        ]
        return cls(_in_order(entries), artifact)

    def key(self) -> list[dict[str, str]]:
        """What of it goes into an artifact's key."""
        return [{"name": file.name, "sha256": file.sha256} for file in self.files]


def _in_order(entries: Sequence[InputFile]) -> tuple[InputFile, ...]:
    distinct = {(entry.name, entry.sha256): entry for entry in entries}
    return tuple(distinct[pair] for pair in sorted(distinct))


@dataclass(frozen=True)
class PartSource:
    """A byte range of one input file: `start` inclusive, `end` exclusive."""

    name: str
    path: str
    sha256: str
    start: int
    end: int

    def origin(self) -> dict[str, str | int]:
        """What of it goes into a part key: everything but the folder."""
        return {"name": self.name, "sha256": self.sha256, "start": self.start, "end": self.end}

    @property
    def label(self) -> str:
        return f"{self.name}[{self.start}:{self.end}]"
