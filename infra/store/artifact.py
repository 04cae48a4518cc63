"""An artifact as its readers see it: immutable, and only the files that its manifest lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from infra.errors import BadInput
from infra.store.manifest import FileEntry, Manifest, PartEntry
from infra.tables import read_table

if TYPE_CHECKING:
    from infra.store.store import Store


def part_file(table: str, index: int) -> str:
    """Path of one part of a table, relative to data/."""
    return f"{table}/part-{index:05d}.parquet"


class Artifact:
    """A committed artifact. Subclass it to name a role; `accepts` lists the stages that may fill it (empty: any)."""

    accepts: tuple[str, ...] = ()

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store = store
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"<{self.ref}>"

    @property
    def stage(self) -> str:
        return self.manifest.stage

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def ref(self) -> str:
        return self.manifest.ref

    @property
    def path(self) -> Path:
        """The artifact's folder: manifest.json and data/."""
        return self.store.artifact_path(self.stage, self.version)

    @cached_property
    def _files(self) -> dict[str, FileEntry]:
        return {entry.path: entry for entry in self.manifest.files}

    @cached_property
    def _parts(self) -> dict[int, PartEntry]:
        return {part.index: part for part in self.manifest.parts}

    def file(self, name: str) -> Path:
        """Path of one file under data/.

        Raises:
            BadInput: the manifest does not list it.
        """
        if name not in self._files:
            raise BadInput(f"{self.ref} holds no file {name!r}; `sluice show {self.ref}` lists what it holds")
        return self.path / "data" / name

    def files(self, prefix: str = "") -> list[FileEntry]:
        """Entries of the files whose path begins with `prefix`."""
        return [entry for entry in self.manifest.files if entry.path.startswith(prefix)]

    @property
    def part_count(self) -> int:
        return len(self.manifest.parts)

    def part(self, index: int) -> PartEntry:
        """The entry of one part."""
        if index not in self._parts:
            raise BadInput(f"{self.ref} has {self.part_count} parts and no part {index}")
        return self._parts[index]

    def has_table(self, table: str) -> bool:
        return table in self.manifest.tables

    def columns(self, table: str) -> list[str]:
        """Column names of a table."""
        if table not in self.manifest.tables:
            raise BadInput(f"{self.ref} holds no table {table!r}; it holds {sorted(self.manifest.tables)}")
        return [column.split(": ", 1)[0] for column in self.manifest.tables[table]]

    def read_part(self, table: str, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One part of a table."""
        self.columns(table)
        return read_table(self.file(part_file(table, index)), columns)

    def iter_parts(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """A table part by part: bounded memory."""
        for index in range(self.part_count):
            yield self.read_part(table, index, columns)

    def read_table(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A whole table, all parts in order. For tables that fit in memory."""
        return pa.concat_tables(list(self.iter_parts(table, columns)))

    def parents(self, role: str) -> list[Artifact]:
        """The artifacts that filled a role, in the order of the key."""
        refs = self.manifest.parents.get(role, [])
        return [self.store.open(ref) for ref in ([refs] if isinstance(refs, str) else refs)]

    def parent(self, role: str) -> Artifact:
        """The one artifact that filled a role.

        Raises:
            BadInput: none or several did.
        """
        found = self.parents(role)
        if len(found) != 1:
            raise BadInput(f"{self.ref} has {len(found)} parents in role {role!r}, not one")
        return found[0]

    def ancestors(self) -> list[Artifact]:
        """Every artifact it comes from, parents before children, itself last, each once."""
        seen: dict[str, Artifact] = {}

        def visit(artifact: Artifact) -> None:
            if artifact.ref in seen:
                return
            for ref in artifact.manifest.parent_refs():
                if ref not in seen:
                    visit(self.store.open(ref))
            seen[artifact.ref] = artifact

        visit(self)
        return list(seen.values())
