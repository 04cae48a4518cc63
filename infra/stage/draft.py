"""An artifact in the making.

<staging>/data/…        what will be committed
<staging>/parts/*.json  markers of finished parts
<staging>/keep/         survives a kill (training checkpoints)
<staging>/scratch, tmp  wiped when the stage starts and when it ends
"""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from infra.errors import EnvironmentProblem, SluiceError
from infra.files import link_or_copy
from infra.params import Params, Runtime
from infra.stage.context import Reporter
from infra.stage.key import part_key, whole_part_key
from infra.stage.part import (
    ABORT,
    PartFailure,
    PartJob,
    describe_file,
    marker_path,
    read_marker,
    run_part,
    write_marker,
)
from infra.stage.source import PartSource, Source
from infra.stage.watch import watching_parts
from infra.store.artifact import Artifact, part_file
from infra.store.lock import check_ours
from infra.store.manifest import Counts, FileEntry, PartEntry
from infra.store.store import MANIFEST, Store
from infra.tables import conform, write_table

if TYPE_CHECKING:
    from infra.stage.stage import Stage


@dataclass(frozen=True)
class PartWriter:
    """Writes parts of a global stage's tables from any process: send it to Spark tasks."""

    data: Path
    schemas: Mapping[str, pa.Schema]

    def write(self, table: str, rows: pa.Table, *, part: int) -> None:
        """Write one part of one table; its columns must be the declared ones."""
        write_table(self.data / part_file(table, part), conform(rows, self.schemas[table]))


class Draft:
    """What a stage writes into. Made by the runner; see `Stage`."""

    def __init__(
        self,
        *,
        store: Store,
        stage: "Stage",
        key: dict[str, Any],
        version: str,
        staging: Path,
        token: str,
        params: Params,
        runtime: Runtime,
        roles: Mapping[str, Any],
        reporter: Reporter,
        reuse_parts: bool = True,
    ) -> None:
        self.runtime = runtime
        self.log = logging.getLogger(f"sluice.{stage.name}")
        self.metrics: dict[str, Any] = {}
        self.staging = staging
        self.version = version
        self._store = store
        self._stage = stage
        self._key = key
        self._lock = store.lock_path(stage.name, version)
        self._token = token
        self._params = params
        self._roles = roles
        self._reporter = reporter
        self._reuse_parts = reuse_parts
        self._counts: Counts | None = None
        self._volatile: list[str] = []
        self._parts: dict[int, PartEntry] = {}
        self._part_files: dict[str, FileEntry] = {}
        self._read_by_parts: set[str] = set()
        self._prepare()

    # -- for stages -----------------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """Where to write one file of the artifact; its folders are made."""
        path = self.staging / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def scratch(self) -> Path:
        """A folder for temporary files."""
        return _made(self.staging / "scratch")

    @property
    def keep(self) -> Path:
        """A folder that survives a kill, until the artifact is committed."""
        return _made(self.staging / "keep")

    def writer(self) -> PartWriter:
        """A picklable writer of this stage's tables, for Spark tasks of a global stage."""
        return PartWriter(self.staging / "data", dict(self._stage.tables))

    def write(self, table: str, rows: pa.Table, *, part: int = 0) -> None:
        """Write one part of one of the stage's tables (global stages)."""
        self.writer().write(table, rows, part=part)

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
        """The stage's account (global stages; that of a narrow stage is the sum over its parts)."""
        self._counts = Counts.of(unit, n_in, out=out, dropped=dropped, used=used, out_unit=out_unit)

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Tell whoever watches how far the stage is."""
        self._reporter.progress(self._stage.name, done, total, text)

    def volatile(self, *patterns: str) -> None:
        """Name files (fnmatch patterns under data/) whose bytes may differ between equal runs."""
        self._volatile.extend(patterns)

    def check_lock(self) -> None:
        """Raise when another run has taken over; call before writing a checkpoint."""
        check_ours(self._lock, self._token)

    def map_parts(
        self,
        function: Callable[..., None],
        *,
        along: Artifact | None = None,
        over: Sequence[PartSource] | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        """Compute the parts of a narrow stage, one Spark task each, leaving out those that exist already.

        Args:
            function: a module-level function of one `Part`.
            along: the parent whose part k becomes part k; other parents go into each part's key as a whole.
            over: byte ranges of input files instead, one a part, in order.
            given: JSON values that the stage found out by looking at the whole (a quantile); they are in every part's
                key, so that a part made under another value is not taken for this one, and in `part.given`.
        """
        origins = [{**origin, "given": dict(given)} if given else origin for origin in self._origins(along, over)]
        jobs = self._jobs(function, origins, over, dict(given or {}))
        self._read_by_parts.update(source.path for source in over or ())
        done = self._take_over({job.index: job.key for job in jobs})
        todo = [job for job in jobs if job.index not in done]
        if done:
            self.log.info("%d of %d parts exist already", len(done), len(jobs))
        if todo:
            self._compute(todo, len(jobs))
        for job in jobs:
            part, files = read_marker(marker_path(self.staging, job.index))
            self._parts[job.index] = part
            self._part_files.update({entry.path: entry for entry in files})

    def part_metrics(self) -> dict[str, float]:
        """The metrics of the parts that `map_parts` made or found, summed over the parts."""
        sums: dict[str, float] = {}
        for index in sorted(self._parts):
            for name, value in self._parts[index].metrics.items():
                sums[name] = sums.get(name, 0) + value
        return sums

    # -- for the runner -------------------------------------------------------------------------------------------

    def collect(self) -> tuple[list[FileEntry], list[PartEntry], Counts, dict[str, Any]]:
        """Files, parts, account and metrics of the finished work.

        Raises:
            SluiceError: the account is missing or does not add up, or a declared table was not written.
            Changed: an input file on this machine is no longer the one in the key.
        """
        for value in self._roles.values():
            if isinstance(value, Source):
                value.check(self._read_by_parts)
        files = []
        for path in sorted(path for path in (self.staging / "data").rglob("*") if path.is_file()):
            name = path.relative_to(self.staging / "data").as_posix()
            volatile = any(fnmatch(name, pattern) for pattern in self._volatile)
            files.append(self._part_files.get(name) or describe_file(path, name, volatile))
        parts = [self._parts[index] for index in sorted(self._parts)] or self._global_parts(files)
        counts = self._counts or Counts.total(part.counts for part in parts if part.counts is not None)
        if counts is None:
            raise SluiceError(f"{self._stage.name} counted nothing: call out.count(…)")
        problem = counts.problem(self._stage.one_to_one)
        if problem:
            raise SluiceError(f"{self._stage.name}: refusing to commit, the account does not add up: {problem}")
        return files, parts, counts, {**self.part_metrics(), **self.metrics}

    def _global_parts(self, files: Sequence[FileEntry]) -> list[PartEntry]:
        names = {entry.path for entry in files}
        count = 0
        while any(part_file(table, count) in names for table in self._stage.tables):
            count += 1
        for index in range(count):
            for table in self._stage.tables:
                if part_file(table, index) not in names:
                    raise SluiceError(f"{self._stage.name} wrote part {index} but not of its table {table!r}")
        return [
            PartEntry(
                index=index,
                key=whole_part_key(self.version, index),
                files=[part_file(table, index) for table in sorted(self._stage.tables)],
            )
            for index in range(count)
        ]

    # -- parts ----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Leave of an interrupted attempt only finished parts and `keep`."""
        (self.staging / "data").mkdir(parents=True, exist_ok=True)
        for name in (MANIFEST, ABORT):  # a manifest here is of a commit that could not be finished
            (self.staging / name).unlink(missing_ok=True)
        for name in ("scratch", "tmp"):
            shutil.rmtree(self.staging / name, ignore_errors=True)
        finished: set[Path] = set()
        for marker in sorted((self.staging / "parts").glob("part-*.json")):
            part, files = read_marker(marker)
            paths = [self.staging / "data" / entry.path for entry in files]
            whole = all(p.is_file() and p.stat().st_size == e.bytes for p, e in zip(paths, files, strict=True))
            if whole and self._reuse_parts:
                finished.update(paths)
            else:
                self.log.warning("part %d is damaged or unwanted and is computed again", part.index)
                marker.unlink()
        for path in [p for p in (self.staging / "data").rglob("*") if p.is_file()]:
            if path not in finished:
                path.unlink()

    def _origins(self, along: Artifact | None, over: Sequence[PartSource] | None) -> list[dict[str, Any]]:
        """What each part is made from, for its key."""
        whole = {role: ref for role, ref in self._key["parents"].items() if not isinstance(self._roles[role], Source)}
        if over is not None:  # of a source only the bytes of the range matter, not which artifact they lie in
            return [{"source": source.origin(), "whole": whole} for source in over]
        if along is None:
            raise SluiceError("map_parts needs `along=` a parent or `over=` byte ranges")
        roles = [role for role, value in self._roles.items() if value is along]
        if len(roles) != 1:
            raise SluiceError(f"map_parts(along={along.ref}): it is not the parent of exactly one role")
        del whole[roles[0]]
        return [
            {"along": {roles[0]: along.part(index).key}, "whole": whole, "inputs": self._key["inputs"]}
            for index in range(along.part_count)
        ]

    def _jobs(
        self,
        function: Callable[..., None],
        origins: Sequence[dict[str, Any]],
        over: Sequence[PartSource] | None,
        given: dict[str, Any],
    ) -> list[PartJob]:
        return [
            PartJob(
                stage=self._stage.address,
                function=f"{function.__module__}:{function.__qualname__}",
                store=str(self._store.root),
                staging=str(self.staging),
                lock=str(self._lock),
                token=self._token,
                index=index,
                key=part_key(self._key, origin),
                label=over[index].label if over is not None else f"part {index}",
                params=self._params.model_dump(mode="json"),
                parents=self._key["parents"],
                source=over[index] if over is not None else None,
                given=given,
            )
            for index, origin in enumerate(origins)
        ]

    def _take_over(self, wanted: Mapping[int, str]) -> set[int]:
        """Parts that need no work: finished in this staging folder, or linked from another version of the stage."""
        done: set[int] = set()
        for marker in sorted((self.staging / "parts").glob("part-*.json")):
            part, files = read_marker(marker)
            if wanted.get(part.index) == part.key:
                done.add(part.index)
                continue
            marker.unlink()
            for entry in files:
                (self.staging / "data" / entry.path).unlink(missing_ok=True)
        if len(done) < len(wanted) and self._reuse_parts:
            elsewhere = self._parts_elsewhere()
            for index in sorted(set(wanted) - done):
                if wanted[index] in elsewhere and self._link_part(index, *elsewhere[wanted[index]]):
                    done.add(index)
        return done

    def _parts_elsewhere(self) -> dict[str, tuple[Path, PartEntry, list[FileEntry]]]:
        """part key -> (data folder, part, files) over the stage's committed and unfinished versions.

        Other runs work on the unfinished ones: what is here now may be committed, or gone, a moment later.
        """
        found: dict[str, tuple[Path, PartEntry, list[FileEntry]]] = {}
        for manifest in self._store.manifests(self._stage.name):
            entries = {entry.path: entry for entry in manifest.files}
            data = self._store.artifact_path(manifest.stage, manifest.version) / "data"
            for part in manifest.parts:
                found[part.key] = (data, part, [entries[name] for name in part.files])
        for folder in sorted(self.staging.parent.iterdir()):
            if folder == self.staging:
                continue
            for marker in sorted((folder / "parts").glob("part-*.json")):
                try:
                    part, files = read_marker(marker)
                except FileNotFoundError:
                    continue
                if all((folder / "data" / entry.path).is_file() for entry in files):
                    found.setdefault(part.key, (folder / "data", part, files))
        return found

    def _link_part(self, index: int, data: Path, part: PartEntry, files: Sequence[FileEntry]) -> bool:
        """Take over a part from another version; False when it vanished meanwhile: then it is computed."""
        moved = []
        for entry in files:
            name = part_file(Path(entry.path).parent.as_posix(), index)
            moved.append(entry.model_copy(update={"path": name}))
            try:
                link_or_copy(data / entry.path, self.staging / "data" / name)
            except FileNotFoundError:
                for taken in moved:
                    (self.staging / "data" / taken.path).unlink(missing_ok=True)
                return False
        renumbered = part.model_copy(update={"index": index, "files": [entry.path for entry in moved]})
        write_marker(self.staging, renumbered, moved)
        return True

    def _compute(self, todo: Sequence[PartJob], total: int) -> None:
        from infra.spark import session  # imported late: most calls find everything done

        context = session(self.runtime).sparkContext
        with watching_parts(self.staging, [job.index for job in todo], total, self.progress):
            outcomes = context.parallelize(todo, len(todo)).map(run_part).collect()
        failures = [outcome for outcome in outcomes if outcome is not None]
        if failures:
            raise self._error(failures)

    def _error(self, failures: Sequence[PartFailure]) -> Exception:
        first = failures[0]
        if any(failure.out_of_space for failure in failures):
            return EnvironmentProblem(
                f"no space left on the disk of the store {self._store.root}; free some (`sluice gc` shows what could"
                " go) and run the same command again: finished parts are kept"
            )
        if first.expected:
            return SluiceError(first.message)
        return PartError(f"{self._stage.name}, {first.label}: {first.message}\n{first.traceback}")


class PartError(RuntimeError):
    """A part function failed in a way nobody foresaw; carries the worker's traceback."""


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
