"""One part of a narrow stage: what a Spark task gets, does and leaves behind.

A part writes its tables under temporary names, renames them into the staging folder and, last, writes its marker
`parts/part-NNNNN.json`. A part without a marker was never done; one with a marker is never done again.
"""

import importlib
import json
import os
import shutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from infra.canonical import file_sha256
from infra.errors import SluiceError
from infra.files import write_text
from infra.params import Params
from infra.stage.progress import ProgressFile
from infra.stage.source import PartSource
from infra.store.artifact import Artifact, part_file
from infra.store.lock import check_ours
from infra.store.manifest import Counts, FileEntry, PartEntry
from infra.store.store import Store
from infra.tables import conform, row_count, write_table

if TYPE_CHECKING:
    from infra.stage.stage import Stage

ABORT = "abort"  # a file in staging: one part failed for good, the others need not start


@dataclass(frozen=True)
class PartJob:
    """Everything a worker needs to compute one part; plain values, so that it travels to any worker."""

    stage: str  # "module:attribute" of the Stage
    function: str  # "module:attribute" of the part function
    store: str
    staging: str
    lock: str
    token: str
    index: int
    key: str
    label: str
    params: dict[str, Any]
    parents: dict[str, str | list[str]]
    source: PartSource | None = None
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PartFailure:
    """Why a part could not be computed."""

    label: str
    message: str
    expected: bool  # a SluiceError: the message is all that the user needs
    traceback: str
    out_of_space: bool = False


@dataclass
class Part:
    """What a part function works with. `params` and `source` are as the stage was given them."""

    job: PartJob
    params: Any
    schemas: Mapping[str, pa.Schema]
    _store: Store
    _tables: dict[str, Path] = field(default_factory=dict)
    _counts: Counts | None = None
    _metrics: dict[str, float] = field(default_factory=dict)
    _progress: ProgressFile | None = None

    @property
    def index(self) -> int:
        return self.job.index

    @property
    def source(self) -> PartSource:
        """The byte range of a stage over files."""
        if self.job.source is None:
            raise SluiceError(f"part {self.index} of {self.job.stage} is not made from a file")
        return self.job.source

    @property
    def given(self) -> dict[str, Any]:
        """What the stage passed to `map_parts` as `given`."""
        return self.job.given

    @property
    def scratch(self) -> Path:
        """A folder of this part's own, removed when the part ends."""
        folder = self._folder / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def _folder(self) -> Path:
        return Path(self.job.staging) / "tmp" / f"{self.index:05d}.{os.getpid()}"

    def parent(self, role: str) -> Artifact:
        """The artifact in a role."""
        ref = self.job.parents[role]
        if not isinstance(ref, str):
            raise SluiceError(f"role {role!r} holds several artifacts; use `parents`")
        return open_cached(self.job.store, ref)

    def parents(self, role: str) -> list[Artifact]:
        """All artifacts in a role."""
        refs = self.job.parents.get(role, [])
        return [open_cached(self.job.store, ref) for ref in ([refs] if isinstance(refs, str) else refs)]

    def write(self, table: str, rows: pa.Table) -> None:
        """Write one of the stage's tables for this part; its columns must be the declared ones."""
        if table not in self.schemas:
            raise SluiceError(f"{self.job.stage} declares no table {table!r} (it declares {sorted(self.schemas)})")
        path = self._folder / f"{table}.parquet"
        write_table(path, conform(rows, self.schemas[table]))
        self._tables[table] = path

    def count(
        self,
        unit: str,
        n_in: int,
        *,
        out: int,
        dropped: Mapping[str, int] | None = None,
        used: int | None = None,
        out_unit: str | None = None,
    ) -> None:
        """This part's account; see `Counts`. `used` defaults to what was not dropped."""
        self._counts = Counts.of(unit, n_in, out=out, dropped=dropped, used=used, out_unit=out_unit)

    def metric(self, name: str, value: float) -> None:
        """A number that is summed over the parts into the manifest."""
        self._metrics[name] = value

    def progress(self, fraction: float, records: int) -> None:
        """Tell whoever watches how far this part is; cheap enough to call for every record.

        Args:
            fraction: of the part's work, in [0, 1].
            records: how many of the records that `count` will count have been looked at.
        """
        if self._progress is None:
            self._progress = ProgressFile(self._folder)
        self._progress.tell(fraction, records)

    def finish(self, one_to_one: bool) -> None:
        """Check the account, move the tables into place and write the marker."""
        if self._counts is None:
            raise SluiceError(f"{self.job.stage} did not count part {self.index}: call part.count(…)")
        problem = self._counts.problem(one_to_one)
        if problem:
            raise SluiceError(f"{self.job.stage}, {self.job.label}: the account does not add up: {problem}")
        for table, schema in self.schemas.items():
            if table not in self._tables:
                self.write(table, schema.empty_table())
        check_ours(Path(self.job.lock), self.job.token)
        entries = []
        for table in sorted(self._tables):
            name = part_file(table, self.index)
            target = Path(self.job.staging) / "data" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._tables[table].replace(target)
            entries.append(describe_file(target, name))
        part = PartEntry(
            index=self.index,
            key=self.job.key,
            label=self.job.label,
            files=[entry.path for entry in entries],
            counts=self._counts,
            metrics=self._metrics,
        )
        write_marker(Path(self.job.staging), part, entries)

    def close(self) -> None:
        """Remove temporary files."""
        shutil.rmtree(self._folder, ignore_errors=True)


def describe_file(path: Path, name: str, volatile: bool = False) -> FileEntry:
    """The manifest's entry for a file that is complete."""
    rows = row_count(path) if path.suffix == ".parquet" else None
    return FileEntry(path=name, bytes=path.stat().st_size, sha256=file_sha256(path), rows=rows, volatile=volatile)


def marker_path(staging: Path, index: int) -> Path:
    return staging / "parts" / f"part-{index:05d}.json"


def write_marker(staging: Path, part: PartEntry, files: list[FileEntry]) -> None:
    """Say that a part is done; the last step of doing it."""
    content = {"part": part.model_dump(by_alias=True), "files": [entry.model_dump() for entry in files]}
    write_text(marker_path(staging, part.index), json.dumps(content, sort_keys=True))


def read_marker(path: Path) -> tuple[PartEntry, list[FileEntry]]:
    """A marker's part and its files."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return PartEntry.model_validate(content["part"]), [FileEntry.model_validate(entry) for entry in content["files"]]


@lru_cache(maxsize=64)
def open_cached(store: str, ref: str) -> Artifact:
    """An artifact, opened once a process: committed artifacts never change."""
    return Store(store).open(ref)


def load_attribute(name: str) -> Any:
    """The object behind "module:attribute"."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def run_part(job: PartJob) -> PartFailure | None:
    """Compute one part in this process; a failure is returned, since Spark would only try it again."""
    abort = Path(job.staging) / ABORT
    if abort.exists():
        return None
    stage: Stage = load_attribute(job.stage)
    params: Params = stage.params_type.model_validate(job.params)
    part = Part(job, params, stage.tables, Store(job.store))
    try:
        load_attribute(job.function)(part)
        part.finish(stage.one_to_one)
    except Exception as error:  # noqa: BLE001  every failure of a part is reported by the driver
        failure = PartFailure(
            label=job.label,
            message=str(error) or type(error).__name__,
            expected=isinstance(error, SluiceError),
            traceback=traceback.format_exc(),
            out_of_space=isinstance(error, OSError) and error.errno in OUT_OF_SPACE,
        )
        try:
            abort.touch()
        except OSError:  # a full disk cannot hold the mark either; the failure itself is returned all the same
            return failure
        return failure
    finally:
        part.close()
    return None


OUT_OF_SPACE = {28, 122}  # ENOSPC, EDQUOT
