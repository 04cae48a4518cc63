"""`@stage`: from a function that fills a draft to a versioned, resumable, accountable step of the road.

    @stage("filter", version=1, tables={"kept": KEPT, "rejected": REJECTED})
    def filter_documents(documents: Documents, params: FilterParams, out: Draft) -> None: ...

Calling it (inside a run) or `.run(store, …)`: roles are checked, the key is computed; an artifact under that key is
reused; otherwise the version's lock is taken, the draft is opened (with what a killed run left), the function fills it,
the account is checked, and one rename commits it.
"""

import errno
import inspect
import logging
import shutil
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from infra.canonical import digest
from infra.errors import BadConfig, BadInput, EnvironmentProblem
from infra.params import Params, Runtime, first_problem
from infra.process import tree_cpu_seconds
from infra.stage.context import RunContext, StageResult, current_run
from infra.stage.draft import Draft
from infra.stage.key import artifact_key, library_versions
from infra.stage.part import OUT_OF_SPACE
from infra.stage.provenance import code_of, environment
from infra.stage.settle import finish_commit, refresh_name, settle_refresh
from infra.stage.source import Source
from infra.store.artifact import Artifact
from infra.store.digests import DigestCache
from infra.store.lock import StagingLock
from infra.store.manifest import InputFile, Manifest, Timing
from infra.store.store import Store

REGISTRY: dict[str, "Stage"] = {}
Opener = Callable[[Sequence[str], DigestCache], Source]
"""What a user names (files, folders, addresses) -> the files of a role."""
NOT_ROLES = {"params", "runtime", "out"}

log = logging.getLogger("sluice")


@dataclass(frozen=True)
class Role:
    """One input of a stage."""

    name: str
    kind: type[Artifact] | type[Source]
    many: bool = False
    optional: bool = False


class Stage:
    """A stage, made by the `stage` decorator. Its docstring is its function's."""

    def __init__(
        self,
        function: Callable[..., None],
        *,
        name: str,
        version: int,
        libraries: Sequence[str],
        tables: Mapping[str, pa.Schema],
        one_to_one: bool,
        fingerprint: Callable[[], Mapping[str, str]] | None,
        openers: Mapping[str, Opener] | None = None,
    ) -> None:
        self.function = function
        self.name = name
        self.stage_version = version
        self.libraries = tuple(libraries)
        self.tables = dict(tables)
        self.one_to_one = one_to_one
        self.fingerprint = fingerprint
        self.openers = dict(openers or {})
        self.address = f"{function.__module__}:{function.__name__}"
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        hints = typing.get_type_hints(function)
        self.params_type: type[Params] = hints["params"]
        self.roles = {
            parameter: _role(parameter, hints[parameter])
            for parameter in inspect.signature(function).parameters
            if parameter not in NOT_ROLES
        }
        if strays := sorted(self.openers.keys() - self.roles.keys()):
            raise TypeError(f"{name}: an opener for {strays[0]!r}, which is not a role")
        self._takes_runtime = "runtime" in inspect.signature(function).parameters

    def __repr__(self) -> str:
        return f"<stage {self.name} v{self.stage_version}>"

    def __call__(self, *, params: Params, **roles: Any) -> Artifact:
        """Run in the current run (see `running`), as a Prefect task when the run is a flow."""
        context = current_run()
        if not context.as_prefect_tasks:
            return self.run_in(context, params=params, **roles)
        from infra.stage.prefect_rim import call_as_task

        return call_as_task(self, context, params, roles)

    def run(
        self, store: Store, *, params: Params | None = None, runtime: Runtime | None = None, **roles: Any
    ) -> Artifact:
        """Run by itself on a store: for tests and for code without a flow."""
        context = RunContext(store=store, runtime=runtime or Runtime())
        return self.run_in(context, params=params or self.params_type(), **roles)

    def key(self, params: Params, roles: Mapping[str, Any]) -> dict[str, Any]:
        """The full key that these parents and parameters give."""
        parents: dict[str, str | list[str]] = {}
        inputs: dict[str, list[dict[str, str | int]]] = {}
        for name, value in roles.items():
            if isinstance(value, Source):
                inputs[name] = value.key()
                if value.artifact is not None:
                    parents[name] = value.artifact.ref
            elif isinstance(value, Artifact):
                parents[name] = value.ref
            elif value:
                parents[name] = [artifact.ref for artifact in value]
        return artifact_key(
            stage=self.name,
            stage_version=self.stage_version,
            params=params,
            parents=parents,
            inputs=inputs,
            libraries=library_versions(self.libraries),
            fingerprint=self.fingerprint() if self.fingerprint else {},
        )

    def run_in(self, context: RunContext, *, params: Params, **given: Any) -> Artifact:
        """Reuse or make the artifact, and add a `StageResult` to the run.

        Raises:
            SluiceError: a role is missing or of the wrong kind, the account does not add up, the disk is full …
        """
        started = time.monotonic()
        if not isinstance(params, self.params_type):
            raise BadConfig(f"{self.name} takes {self.params_type.__name__}, not {type(params).__name__}")
        roles = self._checked(given)
        key = self.key(params, roles)
        version = digest(key)
        store = context.store
        context.reporter.started(self.name, version)
        refreshing = self.name in context.refresh
        with StagingLock(store.lock_path(self.name, version), context.run.name, key["parents"]) as lock:
            if not store.exists(self.name, version) or refreshing:
                if self.name in context.must_exist:
                    raise BadInput(
                        f"--from: {self.name} comes before it, and its artifact {self.name}/{version} does not exist"
                        " yet; run without --from"
                    )
                _acquire(lock, store, lambda holder: context.reporter.waiting(self.name, holder))
            reused = store.exists(self.name, version) and not refreshing
            reproduced = False
            if not reused:
                reproduced = self._make(context, key, version, lock, params, roles)
        result = StageResult(
            artifact=store.open(f"{self.name}/{version}"),
            reused=reused,
            seconds=time.monotonic() - started,
            reproduced=reproduced,
        )
        context.results.append(result)
        context.reporter.finished(result)
        return result.artifact

    # -- inside ---------------------------------------------------------------------------------------------------

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Roles as the function wants them: kinds checked, lists sorted by ref (a list of parents is a set)."""
        unknown = sorted(set(given) - set(self.roles))
        if unknown:
            raise BadInput(f"{self.name} has no role {unknown[0]!r}; its roles: {', '.join(self.roles) or 'none'}")
        roles: dict[str, Any] = {}
        for role in self.roles.values():
            value = given.get(role.name)
            if value is None or (role.many and not value):
                if not role.optional:
                    raise BadInput(f"{self.name} needs something in its role {role.name!r}")
                roles[role.name] = [] if role.many else None
            elif role.many:
                several = value if isinstance(value, list | tuple) else [value]
                roles[role.name] = sorted((self._cast(role, one) for one in several), key=lambda one: one.ref)
            else:
                roles[role.name] = self._cast(role, value)
        return roles

    def _cast(self, role: Role, value: Any) -> Any:
        kind = role.kind
        if issubclass(kind, Source):
            if not isinstance(value, Source):
                raise BadInput(f"{self.name}: role {role.name!r} takes files, not {value!r}")
            return value
        if not isinstance(value, Artifact):
            raise BadInput(f"{self.name}: role {role.name!r} takes an artifact, not {value!r}")
        accepts = kind.accepts
        if accepts and value.stage not in accepts:
            raise BadInput(
                f"{self.name}: role {role.name!r} takes an artifact of {' or '.join(accepts)}, not {value.ref}"
            )
        return value if type(value) is kind else kind(value.store, value.manifest)

    def _make(
        self,
        context: RunContext,
        key: dict[str, Any],
        version: str,
        lock: StagingLock,
        params: Params,
        roles: Mapping[str, Any],
    ) -> bool:
        """Fill a draft and commit it. Returns whether it is a refresh that gave the same bytes."""
        store = context.store
        refreshing = store.exists(self.name, version)
        staging = store.staging_path(self.name, refresh_name(version) if refreshing else version)
        if refreshing:
            shutil.rmtree(staging, ignore_errors=True)
        started, clock, cpu = datetime.now(UTC), time.monotonic(), tree_cpu_seconds()
        try:
            if not refreshing and finish_commit(store, self.name, version) is not None:
                log.info("%s/%s: finished the commit that an earlier run began", self.name, version)
                return False
            draft = Draft(
                store=store,
                stage=self,
                key=key,
                version=version,
                staging=staging,
                token=lock.token,
                params=params,
                runtime=context.runtime,
                roles=roles,
                reporter=context.reporter,
                reuse_parts=not refreshing,
            )
            extra = {"runtime": context.runtime} if self._takes_runtime else {}
            self.function(**roles, params=params, out=draft, **extra)
            files, parts, counts, metrics = draft.collect()
            manifest = Manifest(
                stage=self.name,
                version=version,
                key=key,
                parents=key["parents"],
                inputs=_inputs(roles),
                params=key["params"],
                runtime=context.runtime.model_dump(mode="json"),
                code=code_of(self.stage_version, self.function.__module__),
                environment=environment(key["libraries"]),
                files=files,
                parts=parts,
                tables={
                    table: [f"{column.name}: {column.type}" for column in schema]
                    for table, schema in self.tables.items()
                },
                counts=counts,
                metrics=metrics,
                timing=Timing(
                    started=started.isoformat(),
                    ended=datetime.now(UTC).isoformat(),
                    seconds=round(time.monotonic() - clock, 3),
                    cpu_seconds=round(tree_cpu_seconds() - cpu, 3),
                ),
                run=context.run,
            )
            if refreshing:
                return settle_refresh(store, staging, manifest, replace=context.replace)
            draft.check_lock()
            store.commit(staging, manifest)
        except OSError as error:
            raise _explained(error, store) from error
        return False


def stage(
    name: str,
    *,
    version: int,
    libraries: Sequence[str] = (),
    tables: Mapping[str, pa.Schema] | None = None,
    one_to_one: bool = False,
    fingerprint: Callable[[], Mapping[str, str]] | None = None,
    openers: Mapping[str, Opener] | None = None,
) -> Callable[[Callable[..., None]], Stage]:
    """Make a stage of a function of (roles…, params, [runtime], out).

    Args:
        name: the stage's name, and its folder in the store.
        version: raised by hand when the output changes for equal inputs and parameters.
        libraries: distributions whose version shapes the output; their versions are in the key.
        tables: table -> Arrow schema of everything written with `write`.
        one_to_one: each record used gives exactly one record out.
        fingerprint: further facts about the outside that the output depends on.
        openers: role of files -> how what a user names becomes these files; others take files and folders as they are.
    """

    def decorate(function: Callable[..., None]) -> Stage:
        made = Stage(
            function,
            name=name,
            version=version,
            libraries=libraries,
            tables=tables or {},
            one_to_one=one_to_one,
            fingerprint=fingerprint,
            openers=openers,
        )
        REGISTRY[name] = made
        return made

    return decorate


def parse_params(params_type: type[Params], values: Mapping[str, Any], where: str) -> Params:
    """Validate parameters, turning pydantic's report into one line.

    Raises:
        BadConfig: an unknown key or an unusable value.
    """
    try:
        return params_type.model_validate(dict(values))
    except ValidationError as error:
        raise BadConfig(first_problem(error, where)) from error


def _role(name: str, hint: Any) -> Role:
    """A role from its annotation: `Artifact`, `Artifact | None`, `list[Artifact]`, `Source`, `Source | None`."""
    optional = False
    if typing.get_origin(hint) not in (None, list):  # a union
        rest = [option for option in typing.get_args(hint) if option is not type(None)]
        optional, hint = len(rest) < len(typing.get_args(hint)), rest[0]
    many = typing.get_origin(hint) is list
    if many:
        (hint,) = typing.get_args(hint)
    if not (isinstance(hint, type) and issubclass(hint, Artifact | Source)):
        raise TypeError(f"role {name}: annotate it with Artifact, a subclass of it, or Source; not {hint!r}")
    return Role(name, hint, many, optional)


def _inputs(roles: Mapping[str, Any]) -> dict[str, list[InputFile]]:
    return {name: list(value.files) for name, value in roles.items() if isinstance(value, Source)}


def _acquire(lock: StagingLock, store: Store, on_wait: Callable[[str], None]) -> None:
    try:
        lock.acquire(on_wait)
    except OSError as error:
        raise _explained(error, store) from error


def _explained(error: OSError, store: Store) -> Exception:
    """A full or read-only disk in one line; anything else as it is."""
    if error.errno in OUT_OF_SPACE:
        return EnvironmentProblem(
            f"no space left on the disk of the store {store.root}; free some (`sluice gc` shows what could go) and run"
            " the same command again: finished parts are kept"
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return EnvironmentProblem(f"the store {store.root} cannot be written ({error.strerror}: {error.filename})")
    return error
