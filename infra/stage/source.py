"""External files as a stage's role, and byte ranges of them as its parts."""

import mmap
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from infra.errors import BadInput, SluiceError
from infra.files import Stamp, stamp_of
from infra.remote import Access, Changed, RemoteBuffer, RemoteFile
from infra.store.artifact import Artifact
from infra.store.digests import DigestCache, check_stamp
from infra.store.manifest import InputFile, identity_of


@dataclass(frozen=True)
class Source:
    """Files that Sluice did not make, or the files of an artifact (then `artifact` is the parent in the lineage).

    `files` are sorted by name and identity and distinct in that pair: a crawl is a set, so neither the order in which
    its files are listed nor the folder or server they lie in changes anything. A local file is identified by its
    digest, a remote one by size and validator: that both are the same file cannot be known without reading it whole.
    """

    files: tuple[InputFile, ...]
    artifact: Artifact | None = None
    access: Access | None = None
    """How remote files among them are read; None: there are none."""

    @classmethod
    def of_files(cls, paths: Sequence[Path], digests: DigestCache) -> "Source":
        """Digest files and put them in order."""
        entries = [local_file(path, digests) for path in paths]
        digests.save()
        return cls(_in_order(entries))

    @classmethod
    def of_inputs(cls, entries: Iterable[InputFile], access: Access | None = None) -> "Source":
        """Files that are identified already, put in order."""
        return cls(_in_order(entries), access=access)

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

    def key(self) -> list[dict[str, str | int]]:
        """What of it goes into an artifact's key."""
        return [file.identity for file in self.files]

    def part(self, file: InputFile, start: int, end: int) -> "PartSource":
        """Bytes [start, end) of one of the files, for a part."""
        return PartSource(
            name=file.name,
            path=file.location or file.path,
            sha256=file.sha256,
            start=start,
            end=end,
            size=file.bytes,
            etag=file.etag,
            access=self.access,
            stamp=file.stamp,
        )

    def check(self, read_by_parts: Container[str] = ()) -> None:
        """See that the files on this machine are still those that were digested.

        Args:
            read_by_parts: paths of files to leave out: each part looks at its own.

        Raises:
            Changed: one of them was written to, replaced or removed.
        """
        for file in self.files:
            if file.stamp is not None and file.path not in read_by_parts:
                try:
                    now = stamp_of(Path(file.path).stat())
                except OSError as error:
                    gone = f"{file.path}: went away while it was used ({error.strerror}); put it back"
                    raise Changed(gone) from error
                check_stamp(file.path, file.stamp, now)


def local_file(path: Path, digests: DigestCache) -> InputFile:
    """A file on this machine, digested.

    Raises:
        BadInput: it cannot be read, or its path cannot be written down.
        Changed: it became another one meanwhile.
    """
    where = os.fsencode(path.absolute())
    try:
        where.decode()
    except UnicodeDecodeError:
        shown = where.decode(errors="backslashreplace")
        raise BadInput(f"{shown}: the path of an input file must be UTF-8, and this is not; rename it") from None
    sha256, stamp = digests.identify(path)
    return InputFile(name=path.name, sha256=sha256, bytes=stamp[0], path=str(path.absolute()), stamp=stamp)


def _in_order(entries: Iterable[InputFile]) -> tuple[InputFile, ...]:
    distinct = {(entry.name, entry.sha256 or "", entry.etag or "", entry.bytes): entry for entry in entries}
    return tuple(distinct[identity] for identity in sorted(distinct))


@dataclass(frozen=True)
class PartSource:
    """A byte range of one input file: `start` inclusive, `end` exclusive."""

    name: str
    path: str
    """A path, or the address of a remote file, with its credentials if it has any."""
    sha256: str | None
    start: int
    end: int
    size: int | None = None
    """Bytes of the whole file; needed for a remote one."""
    etag: str | None = None
    """A remote file's validator."""
    access: Access | None = None
    stamp: Stamp | None = None
    """Of a local file when it was digested; None: it cannot change (a file of an artifact)."""

    def origin(self) -> dict[str, str | int]:
        """What of it goes into a part key: everything but the folder or server and the stamp."""
        identity = identity_of(self.name, self.sha256, self.etag, self.size)
        return {**identity, "start": self.start, "end": self.end}

    @property
    def label(self) -> str:
        return f"{self.name}[{self.start}:{self.end}]"

    @contextmanager
    def open(self) -> "Iterator[mmap.mmap | bytes | RemoteBuffer]":
        """The whole file, to be sliced and searched: mapped, or fetched in blocks as the reader goes.

        Raises:
            OSError: the file cannot be opened.
            Changed: it is not the file that was digested, or not any more when the reader is done.
        """
        if self.sha256 is not None:
            with Path(self.path).open("rb") as file:
                self._check(file)
                try:
                    with _map(file) as data:
                        yield data
                finally:  # also when the reader stumbled: bytes that changed under it are the likelier reason
                    self._check(file)
            return
        if self.etag is None or self.size is None:
            raise SluiceError(f"{self.label}: a remote file needs its size and validator")
        remote = RemoteFile(self.path, self.size, self.etag, self.access or Access())
        try:
            yield RemoteBuffer(remote, self.start, self.end)
        finally:
            remote.close()

    def _check(self, file: BinaryIO) -> None:
        if self.stamp is not None:
            check_stamp(self.path, self.stamp, stamp_of(os.fstat(file.fileno())))


@contextmanager
def mapped(path: Path) -> "Iterator[mmap.mmap | bytes]":
    """A file's bytes without reading them; an empty one cannot be mapped."""
    with path.open("rb") as file, _map(file) as data:
        yield data


@contextmanager
def _map(file: BinaryIO) -> "Iterator[mmap.mmap | bytes]":
    if os.fstat(file.fileno()).st_size == 0:
        yield b""
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data
