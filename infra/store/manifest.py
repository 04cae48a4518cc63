"""What an artifact says of itself: `manifest.json`, written last, and so the mark that the artifact exists."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from infra.errors import SluiceError
from infra.files import Stamp

FORMAT = 1  # of manifest.json; raised when a reader of today could not read tomorrow's


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Quantity(_Strict):
    """So many of something."""

    unit: str
    n: int


class Counts(_Strict):
    """The account of a stage: everything that came in was used or dropped for a named reason."""

    in_: Quantity = Field(alias="in")
    used: int
    dropped: dict[str, int] = Field(default_factory=dict)
    out: Quantity

    @classmethod
    def of(
        cls,
        unit: str,
        n_in: int,
        *,
        out: int,
        dropped: Mapping[str, int] | None = None,
        used: int | None = None,
        out_unit: str | None = None,
    ) -> "Counts":
        """An account from its numbers; reasons without a case are left out, `used` defaults to what was not dropped."""
        reasons = {reason: n for reason, n in sorted((dropped or {}).items()) if n}
        return cls(
            in_=Quantity(unit=unit, n=n_in),
            used=n_in - sum(reasons.values()) if used is None else used,
            dropped=reasons,
            out=Quantity(unit=out_unit or unit, n=out),
        )

    def problem(self, one_to_one: bool = False) -> str | None:
        """Why the account does not add up, or None."""
        dropped = sum(self.dropped.values())
        if self.in_.n != self.used + dropped:
            return f"{self.in_.n} {self.in_.unit} in, but {self.used} used + {dropped} dropped = {self.used + dropped}"
        if one_to_one and self.used != self.out.n:
            return f"{self.used} {self.in_.unit} used, but {self.out.n} {self.out.unit} out of a one-to-one stage"
        if any(n < 0 for n in self.dropped.values()):
            return f"negative count among {self.dropped}"
        return None

    @classmethod
    def total(cls, counts: Iterable["Counts"]) -> "Counts | None":
        """The sum of the accounts of an artifact's parts; None for no parts."""
        result: Counts | None = None
        for count in counts:
            result = count if result is None else result._plus(count)
        return result

    def _plus(self, other: "Counts") -> "Counts":
        if (self.in_.unit, self.out.unit) != (other.in_.unit, other.out.unit):
            raise SluiceError(f"cannot add {other.in_.unit}->{other.out.unit} to {self.in_.unit}->{self.out.unit}")
        reasons = sorted({*self.dropped, *other.dropped})
        return Counts(
            in_=Quantity(unit=self.in_.unit, n=self.in_.n + other.in_.n),
            used=self.used + other.used,
            dropped={reason: self.dropped.get(reason, 0) + other.dropped.get(reason, 0) for reason in reasons},
            out=Quantity(unit=self.out.unit, n=self.out.n + other.out.n),
        )


class FileEntry(_Strict):
    """One file under the artifact's `data/`."""

    path: str = Field(description="relative to data/, with forward slashes")
    bytes: int
    sha256: str
    rows: int | None = Field(None, description="of a Parquet file")
    volatile: bool = Field(False, description="bytes may differ between equal runs (timings, event files)")


class PartEntry(_Strict):
    """One part: the unit of work, of resumption and of alignment between stages."""

    index: int
    key: str
    label: str = ""
    files: list[str] = Field(default_factory=list, description="paths, as in the manifest's files")
    counts: Counts | None = None
    metrics: dict[str, int | float] = Field(default_factory=dict)


class InputFile(_Strict):
    """An external file: a local one is in the key by name and digest, a remote one by name, size and validator."""

    name: str
    sha256: str | None = Field(None, description="of a local file's bytes")
    etag: str | None = Field(
        None, description="a remote file's validator: its ETag, or its Last-Modified date where the server has no ETag"
    )
    bytes: int
    path: str = Field(description="where it lay, without credentials; provenance, not in the key")
    location: str | None = Field(
        None, exclude=True, repr=False, description="the address with its credentials, if it has any; never written"
    )
    stamp: Stamp | None = Field(
        None, exclude=True, repr=False, description="of a local file when it was digested; never written"
    )

    @property
    def identity(self) -> dict[str, str | int]:
        """What of it goes into a key."""
        return identity_of(self.name, self.sha256, self.etag, self.bytes)


def identity_of(name: str, sha256: str | None, etag: str | None, size: int | None) -> dict[str, str | int]:
    """Which file this is, wherever it lies: by its bytes, or by what its server says of them."""
    if sha256 is not None:
        return {"name": name, "sha256": sha256}
    if etag is None or size is None:
        raise SluiceError(f"{name}: an input file needs a sha256, or an etag and a size")
    return {"name": name, "bytes": size, "etag": etag}


class Code(_Strict):
    """Which code wrote the artifact."""

    stage_version: int
    source_digest: str
    git_sha: str | None
    git_dirty: bool | None


class Timing(_Strict):
    """When and how long; ISO 8601 in UTC."""

    started: str
    ended: str
    seconds: float
    cpu_seconds: float = Field(description="of the whole process tree while the stage ran")


class RunInfo(_Strict):
    """Which run made it."""

    id: str
    name: str
    url: str | None = None


class Manifest(_Strict):
    """The whole of manifest.json."""

    format: int = FORMAT
    stage: str
    version: str
    key: dict[str, Any]
    parents: dict[str, str | list[str]]
    inputs: dict[str, list[InputFile]] = Field(default_factory=dict)
    params: dict[str, Any]
    runtime: dict[str, Any]
    code: Code
    environment: dict[str, Any]
    files: list[FileEntry]
    parts: list[PartEntry] = Field(default_factory=list)
    tables: dict[str, list[str]] = Field(default_factory=dict, description="table -> its columns as 'name: type'")
    counts: Counts
    metrics: dict[str, Any] = Field(default_factory=dict)
    timing: Timing
    run: RunInfo

    @property
    def ref(self) -> str:
        """`stage/version`."""
        return f"{self.stage}/{self.version}"

    def parent_refs(self) -> list[str]:
        """Every parent's ref, in role order."""
        return refs_of(self.parents)


def refs_of(parents: Mapping[str, str | list[str]]) -> list[str]:
    """The refs of parents by role, in role order."""
    return [ref for refs in parents.values() for ref in ([refs] if isinstance(refs, str) else refs)]
