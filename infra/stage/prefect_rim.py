"""Stages as Prefect tasks: what an operator sees of them in Prefect's UI.

Prefect decides nothing here: its cache is off and the store says what exists. A task shows the stage's account as a
table artifact and, while it works, a progress artifact. Prefect is imported only in runs that are flows.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infra.params import Params
from infra.stage.context import Reporter, RunContext, StageResult
from infra.store.artifact import Artifact

if TYPE_CHECKING:
    from infra.stage.stage import Stage

PROGRESS_EVERY_SECONDS = 5.0


def call_as_task(stage: "Stage", context: RunContext, params: Params, roles: Mapping[str, Any]) -> Artifact:
    """Run a stage inside the current flow as a task of its name."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(
        name=stage.name,
        description=(stage.__doc__ or "").strip().split("\n")[0],
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def run_stage(parameters: dict[str, Any], parents: dict[str, str]) -> Any:  # noqa: ARG001  shown in the UI
        reporter = PrefectReporter(context.reporter)
        outer, context.reporter = context.reporter, reporter
        try:
            return stage.run_in(context, params=params, **roles)
        finally:
            context.reporter = outer

    shown = {role: _shown(value) for role, value in roles.items() if value is not None}
    artifact: Artifact = run_stage(params.model_dump(mode="json"), shown)  # type: ignore[assignment]  # it is sync
    return artifact


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_shown(one) for one in value)
    return value.ref if isinstance(value, Artifact) else f"{len(value.files)} files"


class PrefectReporter:
    """Passes everything on to the run's own reporter and shows it in Prefect as well."""

    def __init__(self, inner: Reporter) -> None:
        self._inner = inner
        self._progress_id: Any = None
        self._told = 0.0

    def started(self, stage: str, version: str) -> None:
        self._inner.started(stage, version)

    def waiting(self, stage: str, holder: str) -> None:
        self._inner.waiting(stage, holder)

    def progress(self, stage: str, done: float, total: float, text: str) -> None:
        self._inner.progress(stage, done, total, text)
        now = time.monotonic()
        if total <= 0 or now - self._told < PROGRESS_EVERY_SECONDS:
            return
        self._told = now
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        percent = min(100.0, 100.0 * done / total)
        if self._progress_id is None:
            self._progress_id = create_progress_artifact(percent, key=f"progress-{stage}", description=text)
        else:
            update_progress_artifact(self._progress_id, percent, description=text)

    def finished(self, result: StageResult) -> None:
        self._inner.finished(result)
        from prefect.artifacts import create_table_artifact

        manifest = result.artifact.manifest
        create_table_artifact(
            key=f"stage-{manifest.stage}",
            table=account_rows(result),
            description=f"`{manifest.ref}` {'reused' if result.reused else f'made in {result.seconds:.1f} s'}",
        )


def account_rows(result: StageResult) -> list[dict[str, Any]]:
    """The stage's account as rows of (what, n, unit)."""
    counts = result.artifact.manifest.counts
    rows: list[dict[str, Any]] = [{"what": "in", "n": counts.in_.n, "unit": counts.in_.unit}]
    rows += [{"what": f"dropped: {reason}", "n": n, "unit": counts.in_.unit} for reason, n in counts.dropped.items()]
    rows.append({"what": "used", "n": counts.used, "unit": counts.in_.unit})
    rows.append({"what": "out", "n": counts.out.n, "unit": counts.out.unit})
    return rows
