"""The chain of stages that a flow walks: `road(stage, role=artifact, params=…)` one after the other.

A road knows where it may start computing (--from), where it ends (--until), and remembers what came of each stage.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flows.stages import ORDERS
from infra.errors import BadConfig
from infra.params import Params, Runtime
from infra.settings import store_url
from infra.stage import RunContext, Stage, StageResult, running
from infra.store import Artifact, open_store
from infra.store.manifest import RunInfo
from infra.store.running import RunStore
from tasks.report.funnel import counted

PROGRESS_LOG_SECONDS = 10.0


class RunOptions(BaseModel):
    """Options of one run that change neither parameters nor results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: str | None = Field(None, description="The artifact store; empty means SLUICE_STORE or ./store.")
    start: str | None = Field(None, description="Stages before this one are only reused, never computed (--from).")
    until: str | None = Field(None, description="Stop after this stage.")
    refresh: tuple[str, ...] = Field((), description="Stages to compute again and compare with what is in the store.")
    replace: bool = Field(False, description="A refreshed artifact that differs takes the old one's place.")


class _UntilReached(Exception):
    pass


class Road:
    """Runs stages in the current run. Made by `walking`."""

    def __init__(self, context: RunContext, until: str | None, start: str | None) -> None:
        self.context = context
        self._until = until
        self._start = start

    def __call__(self, stage: Stage, *, params: Params, **roles: Any) -> Artifact:
        """Run one stage; see `Stage`."""
        if stage.name == self._start:
            self.context.must_exist.clear()
        artifact = stage(params=params, **roles)
        self.reached(stage)
        return artifact

    def reached(self, stage: Stage) -> None:
        """Stop here if this is the stage that the run was to end with; a flow of many of one says it after the last."""
        if stage.name == self._until:
            raise _UntilReached

    def open(self, ref: str) -> Artifact:
        """An artifact by reference, resolved once."""
        return self.context.store.open(ref)


def check_options(flow: str, options: RunOptions) -> None:
    """Refuse --from, --until or --refresh of a stage that the flow does not have.

    Raises:
        BadConfig: which option, and the flow's stages.
    """
    named = [("--from", options.start), ("--until", options.until), *(("--refresh", one) for one in options.refresh)]
    for option, stage in named:
        if stage is not None and stage not in ORDERS[flow]:
            raise BadConfig(f"{option} {stage}: {flow} has no such stage; its stages: {', '.join(ORDERS[flow])}")


@contextmanager
def walking(flow: str, runtime: Runtime, options: RunOptions) -> Iterator[Road]:
    """The road of one flow run; inside a Prefect flow its stages become tasks.

    Raises:
        BadConfig: an option names a stage that the flow does not have.
    """
    check_options(flow, options)
    logging.getLogger("sluice").setLevel(runtime.log_level)  # Prefect shows what passes in the log of the run
    order = ORDERS[flow]
    before = set(order[: order.index(options.start)]) if options.start else set()
    store = RunStore(open_store(store_url(options.store)).root)
    context = RunContext(
        store=store,
        runtime=runtime,
        run=_run_info(),
        reporter=LogReporter(),
        refresh=frozenset(options.refresh),
        replace=options.replace,
        must_exist=before,
        as_prefect_tasks=True,
    )
    with store, running(context):
        try:
            yield Road(context, options.until, options.start)
        except _UntilReached:
            logging.getLogger("sluice").info("stopped after %s, as asked", options.until)


def _run_info() -> RunInfo:
    from prefect.runtime import flow_run

    if flow_run.id is None:
        return RunInfo(id="", name="ad hoc")
    return RunInfo(id=flow_run.id, name=flow_run.name or "", url=flow_run.ui_url)


def result_row(result: StageResult) -> dict[str, Any]:
    """What `--json` prints of a stage."""
    manifest = result.artifact.manifest
    return {
        "stage": manifest.stage,
        "ref": manifest.ref,
        "path": str(result.artifact.path),
        "reused": result.reused,
        "reproduced": result.reproduced,
        "counts": manifest.counts.model_dump(by_alias=True),
        "metrics": manifest.metrics,
        "seconds": round(result.seconds, 3),
    }


class LogReporter:
    """Tells the log: the console of an ad hoc run, the log page of a run in Prefect's UI."""

    def __init__(self) -> None:
        self._log = logging.getLogger("sluice")
        self._told: dict[str, float] = {}  # when progress was last told, seconds on the monotonic clock

    def started(self, stage: str, version: str) -> None:
        self._log.debug("%s/%s", stage, version)

    def waiting(self, stage: str, holder: str) -> None:
        self._log.info("%-12s waits: %s is making the same artifact", stage, holder)

    def progress(self, stage: str, done: float, total: float, text: str) -> None:
        now = time.monotonic()
        if now - self._told.get(stage, 0.0) >= PROGRESS_LOG_SECONDS and done > 0:
            self._told[stage] = now
            self._log.info("%-12s … %s", stage, text or f"{done:,.0f} of {total:,.0f}")

    def finished(self, result: StageResult) -> None:
        manifest = result.artifact.manifest
        how = "reused" if result.reused else "reproduced" if result.reproduced else f"{result.seconds:.1f} s"
        counts = manifest.counts
        dropped = sum(counts.dropped.values())
        account = f"{counted(counts.in_.n, counts.in_.unit)} -> {counted(counts.out.n, counts.out.unit)}"
        if dropped:
            account += f" ({dropped:,} dropped)"
        self._log.info("%-12s %-62s %10s  %s", manifest.stage, account, how, manifest.ref)
