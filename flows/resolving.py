"""From a profile, a file and `--set` to the validated configuration of a flow; every mistake is one line."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from flows.config import CONFIGS, FlowConfig
from flows.road import RunOptions
from infra.errors import BadConfig
from infra.params import first_problem

PROFILES = Path(__file__).resolve().parents[1] / "infra" / "profiles"
C = TypeVar("C", bound=FlowConfig)
# Ways to say a network's shape (tasks/shape.py) and how long a run is (tasks/pretrain.py): the keys that choose each,
# and what else of an earlier layer goes when another is chosen.
_SIZES = frozenset({"hidden_size", "n_layers", "n_heads", "intermediate_size", "head_dim"})
_PRESET, _DEPTH = frozenset({"preset"}), frozenset({"depth"})
_LENGTHS = tuple(frozenset({name}) for name in ("steps", "tokens", "epochs", "phases"))
ALTERNATIVES = {
    "shape": ((_PRESET, _PRESET), (_DEPTH, _DEPTH), (_SIZES, _SIZES | {"n_kv_heads"})),
    "pretrain": tuple((length, length) for length in _LENGTHS),
}
# What else of an earlier layer goes with a value, for which it was chosen: heads and inner width go with another width.
PROPORTIONS = {"shape": {"hidden_size": frozenset({"n_heads", "n_kv_heads", "intermediate_size", "head_dim"})}}


def profile_names() -> list[str]:
    """Profiles that come with Sluice."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def resolve(
    flow: str, profile: str = "demo", file: Path | None = None, sets: Sequence[str] = (), run: RunOptions | None = None
) -> FlowConfig:
    """The configuration of a flow: profile, then file, then `a.b=value` settings.

    A profile or file may hold sections of other flows, which this one leaves out; `sets` may not.

    Raises:
        BadConfig: an unknown flow, profile, section or key, or an unusable value, in one line.
    """
    if flow not in CONFIGS:
        raise BadConfig(f"no flow is called {flow!r}; the flows: {', '.join(CONFIGS)}")
    path = PROFILES / f"{profile}.yaml"
    if not path.is_file():
        raise BadConfig(f"no profile is called {profile!r}; the profiles: {', '.join(profile_names())}")
    values = _for_flow(flow, _read_yaml(path), str(path))
    if file is not None:
        values = merged(values, _for_flow(flow, _read_yaml(file), str(file)))
    values = merged(values, settings_of(sets))
    if run is not None:
        values["run"] = run.model_dump(exclude_unset=True)
    return validated(CONFIGS[flow], values)


def validated(config: type[C], values: Mapping[str, Any]) -> C:
    """Validate a flow's configuration, turning pydantic's report into one line.

    Raises:
        BadConfig: where the first mistake is, what it is, and the nearest known key.
    """
    try:
        return config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            place = ".".join(map(str, first["loc"]))
            known = _known_keys(config, first["loc"][:-1])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            raise BadConfig(f"config: unknown key {place}; {hint}") from error
        raise BadConfig(f"config: {first_problem(error)}") from error


def _for_flow(flow: str, values: dict[str, Any], where: str) -> dict[str, Any]:
    """The sections that this flow has; a section that no flow has is an error."""
    known = {name for config in CONFIGS.values() for name in config.model_fields}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise BadConfig(f"{where}: unknown section {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return {name: value for name, value in values.items() if name in CONFIGS[flow].model_fields}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadConfig(f"--config {path}: not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadConfig(f"--config {path}: sections expected at the top, found {type(values).__name__}")
    return values


def _parse_set(setting: str) -> dict[str, Any]:
    """`a.b=value` -> {"a": {"b": value}}; the value is read as YAML."""
    place, equals, text = setting.partition("=")
    if not equals or not all(place.split(".")):
        raise BadConfig(f"--set {setting}: write section.key=value, as in --set pretrain.steps=100")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadConfig(f"--set {setting}: the value is not YAML: {' '.join(str(error).split())}") from error
    for name in reversed(place.split(".")):
        value = {name: value}
    return value


def settings_of(sets: Sequence[str]) -> dict[str, Any]:
    """All `a.b=value` as one layer, a later one over an earlier one, and in place of what it is an alternative to."""
    values: dict[str, Any] = {}
    for setting in sets:
        values = _laid_over(values, _parse_set(setting), by_layers=False)
    return values


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `over` laid over those of `base`, section by section.

    Where a section can be said in several ways (`ALTERNATIVES`), a later layer that uses one takes the others' place;
    a value takes the place of what was chosen for another one too (`PROPORTIONS`).
    """
    return _laid_over(base, over, by_layers=True)


def _laid_over(base: Mapping[str, Any], over: Mapping[str, Any], by_layers: bool) -> dict[str, Any]:
    """As `merged`; not by layers: both say how one layer is, so that proportions may come before the width."""
    result = dict(base)
    for name, value in over.items():
        old = result.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            gone = _replaced(name, value) | (_proportions(name, old, value) if by_layers else set())
            result[name] = _laid_over({key: kept for key, kept in old.items() if key not in gone}, value, by_layers)
        else:
            result[name] = value
    return result


def _replaced(section: str, values: Mapping[str, Any]) -> set[str]:
    """The keys of an earlier layer's section that go when a later one has these values."""
    ways = ALTERNATIVES.get(section, ())
    chosen = [choosing for choosing, _ in ways if choosing & values.keys()]
    return {key for choosing, whole in ways if chosen and choosing not in chosen for key in whole}


def _proportions(section: str, before: Mapping[str, Any], values: Mapping[str, Any]) -> set[str]:
    """The keys of an earlier layer's section that were chosen for another value than a later one has."""
    changed = [name for name in PROPORTIONS.get(section, {}) if name in values and values[name] != before.get(name)]
    return {key for name in changed for key in PROPORTIONS[section][name]}


def _known_keys(config: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Field names of the model at a place in a configuration."""
    model: Any = config
    for name in place:
        field = getattr(model, "model_fields", {}).get(str(name))
        if field is None:
            return []
        model = field.annotation
    return list(getattr(model, "model_fields", {}))
