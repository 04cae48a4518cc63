"""The run that stages are called in: which store, how much machine, who is told.

`Stage.__call__` finds the run in a context variable, so that a flow reads `filter_documents(documents=measured,
params=config.filter)` and nothing else. `Stage.run` takes the store as an argument and needs no context.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from infra.errors import SluiceError
from infra.params import Runtime
from infra.store.artifact import Artifact
from infra.store.manifest import RunInfo
from infra.store.store import Store


@dataclass(frozen=True)
class StageResult:
    """What came of one call of a stage."""

    artifact: Artifact
    reused: bool
    seconds: float
    reproduced: bool = False  # --refresh computed it again and found the same bytes in the store


class Reporter(Protocol):
    """Who hears how a stage goes: the console, Prefect, a test."""

    def started(self, stage: str, version: str) -> None: ...

    def waiting(self, stage: str, holder: str) -> None: ...

    def progress(self, stage: str, done: float, total: float, text: str) -> None: ...

    def finished(self, result: StageResult) -> None: ...


class Silent:
    """A reporter that tells nobody."""

    def started(self, stage: str, version: str) -> None:
        """Ignored."""

    def waiting(self, stage: str, holder: str) -> None:
        """Ignored."""

    def progress(self, stage: str, done: float, total: float, text: str) -> None:
        """Ignored."""

    def finished(self, result: StageResult) -> None:
        """Ignored."""


@dataclass
class RunContext:
    """One run of a flow, or of one stage by itself."""

    store: Store
    runtime: Runtime = field(default_factory=Runtime)
    run: RunInfo = field(default_factory=lambda: RunInfo(id="", name="ad hoc"))
    reporter: Reporter = field(default_factory=Silent)
    refresh: frozenset[str] = frozenset()  # stages to compute again and compare
    replace: bool = False  # a refreshed artifact that differs takes the old one's place
    must_exist: set[str] = field(default_factory=set)  # stages before --from: reused or an error, never computed
    as_prefect_tasks: bool = False
    results: list[StageResult] = field(default_factory=list)


_current: ContextVar[RunContext | None] = ContextVar("sluice_run", default=None)


def current_run() -> RunContext:
    """The run that this code is part of.

    Raises:
        SluiceError: no run is active.
    """
    context = _current.get()
    if context is None:
        raise SluiceError("no run is active: call the stage's `run(store, …)`, or enter `running(context)` first")
    return context


@contextmanager
def running(context: RunContext) -> Iterator[RunContext]:
    """Make a run the current one."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
