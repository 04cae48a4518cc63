"""One stage by hand: references, folders and files from the command line made into a stage's roles."""

from collections.abc import Sequence
from typing import Any

from flows.places import files_of, is_reference
from flows.resolving import settings_of
from infra.errors import BadInput
from infra.params import Runtime
from infra.stage import Source, Stage, parse_params
from infra.store import Store


def parse_settings(sets: Sequence[str]) -> tuple[dict[str, Any], Runtime]:
    """`key=value` settings of one stage, and `runtime.key=value` of the runtime."""
    values = settings_of(sets)
    runtime = parse_params(Runtime, values.pop("runtime", {}), "runtime")  # type: ignore[arg-type, type-var]
    return values, runtime  # type: ignore[return-value]


def fill_roles(stage: Stage, given: Sequence[str], store: Store) -> dict[str, Any]:
    """`role=ref` and `role=files` for a stage.

    Raises:
        BadInput: an unknown role, a missing file, a reference that names nothing.
    """
    by_role: dict[str, list[str]] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not value:
            raise BadInput(f"--in {item}: write role=reference or role=file; roles of {stage.name}: {_names(stage)}")
        if name not in stage.roles:
            raise BadInput(f"--in {item}: {stage.name} has no role {name!r}; its roles: {_names(stage)}")
        by_role.setdefault(name, []).append(value)
    roles: dict[str, Any] = {}
    for name, values in by_role.items():
        role = stage.roles[name]
        if role.kind is Source:
            roles[name] = _source(stage, name, values, store)
        elif role.many:
            roles[name] = [store.open(value) for value in values]
        elif len(values) == 1:
            roles[name] = store.open(values[0])
        else:
            raise BadInput(f"--in {name}=…: {stage.name} takes one artifact there, {len(values)} were given")
    return roles


def _source(stage: Stage, role: str, values: Sequence[str], store: Store) -> Source:
    """Files as the role takes them, or those of an artifact: a crawl may be sample-crawl@latest."""
    if len(values) == 1 and is_reference(values[0], store):
        return Source.of_artifact(store.open(values[0]), "")
    return stage.openers.get(role, files_of)(values, store.digest_cache())


def _names(stage: Stage) -> str:
    return ", ".join(stage.roles) or "none"
