"""Rules as data: a signal, a comparison, a threshold, and the reason to give when the comparison holds.

A rule *fires* when `signal comparison threshold` is true; a document is rejected by the first rule that fires, in
declared order. A null signal fires no rule. Rule sets of the papers are the YAML files in `presets/`; a new threshold
is a new value in a parameter, never a new piece of code.

Floats are compared in the type of their column: a fraction stored as float32 0.3 does not exceed the threshold 0.3.
"""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from infra.errors import BadConfig

PRESETS = Path(__file__).parent / "presets"

Comparison = Literal["<", "<=", ">", ">=", "==", "in", "not_in"]
Threshold = bool | int | float | str | tuple[str, ...]

_ORDERED: Mapping[str, Any] = {"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}


class Rule(BaseModel):
    """Reject a document when `signal comparison threshold` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Unique name; thresholds are overridden by it.")
    signal: str = Field(description="Column of the documents or of their lineage.")
    comparison: Comparison = Field(description="How the signal is held against the threshold.")
    threshold: Threshold = Field(description="A number; text for ==; a list of texts for in and not_in.")
    reason: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="What rejected documents are counted under.")
    source: str = Field("", description="Where the threshold is from: paper and table.")

    @model_validator(mode="after")
    def _comparable(self) -> "Rule":
        is_list = isinstance(self.threshold, tuple)
        if is_list != (self.comparison in ("in", "not_in")):
            raise ValueError(f"rule {self.name}: in and not_in need a list of texts, the other comparisons one value")
        if self.comparison in _ORDERED and not _is_number(self.threshold):
            raise ValueError(f"rule {self.name}: {self.comparison} needs a number, not {self.threshold!r}")
        return self


@dataclass(frozen=True)
class Verdict:
    """What one rule says about one document."""

    rule: Rule
    value: Any  # None: the signal is null
    fired: bool


@dataclass(frozen=True)
class Decision:
    """What a list of rules made of a table.

    Attributes:
        first: (n_documents,) index of the first rule that fires, -1 where none does.
        fired: rule name -> documents on which it fires, decided by an earlier rule or not.
    """

    first: npt.NDArray[np.int64]
    fired: dict[str, int]

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        return self.first < 0


def preset_names() -> list[str]:
    """The rule sets that exist."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


@cache
def preset(name: str) -> tuple[Rule, ...]:
    """The rules of one rule set, in order.

    Raises:
        BadConfig: there is no such set.
    """
    if name not in preset_names():
        raise BadConfig(f"no rule preset {name!r}{_near(name, preset_names())}")
    content = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    shared = {"source": content.get("source", "")}
    return tuple(Rule.model_validate({**shared, **entry}) for entry in content["rules"])


def preset_digests() -> dict[str, str]:
    """Preset name -> sha256 of its file: part of the version of what was filtered with it."""
    return {name: hashlib.sha256((PRESETS / f"{name}.yaml").read_bytes()).hexdigest() for name in preset_names()}


def override(rules: Sequence[Rule], thresholds: Mapping[str, float], without: Iterable[str]) -> list[Rule]:
    """Other thresholds for named rules, and rules left out.

    Raises:
        BadConfig: two rules have one name, no rule has a name that is given here, or a threshold is of the wrong kind.
    """
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadConfig(f"two rules are called {twice[0]!r}; give one of them another name")
    dropped = set(without)
    for name in [*thresholds, *sorted(dropped)]:
        if name not in names:
            raise BadConfig(f"no rule {name!r}{_near(name, names)}")
    for rule in rules:
        if rule.name in thresholds and not _is_number(rule.threshold):
            raise BadConfig(f"rule {rule.name!r} has no number to override: its threshold is {rule.threshold!r}")
    return [
        rule.model_copy(update={"threshold": thresholds[rule.name]}) if rule.name in thresholds else rule
        for rule in rules
        if rule.name not in dropped
    ]


def check_rules(rules: Sequence[Rule], schema: pa.Schema) -> None:
    """Check every rule against the columns it will meet.

    Raises:
        BadConfig: a rule names a signal that does not exist (near matches are given) or compares it with another type.
    """
    for rule in rules:
        check_signal(rule, schema.names)
        kind = schema.field(rule.signal).type
        if not _fits(rule, kind):
            raise BadConfig(
                f"rule {rule.name!r}: signal {rule.signal} is {kind}, which cannot be compared by"
                f" {rule.comparison} with {_readable(rule.threshold)}"
            )


def check_signal(rule: Rule, names: Sequence[str]) -> None:
    """Raise `BadConfig` unless the rule's signal is one of `names`."""
    if rule.signal not in names:
        raise BadConfig(f"rule {rule.name!r}: no signal {rule.signal!r}{_near(rule.signal, names)}")


def decide(table: pa.Table, rules: Sequence[Rule]) -> Decision:
    """Apply rules to the rows of a table that holds their signals."""
    first = np.full(table.num_rows, -1, np.int64)
    fired: dict[str, int] = {}
    for index, rule in enumerate(rules):
        hits = fires(table.column(rule.signal), rule)
        fired[rule.name] = int(np.count_nonzero(hits))
        first[hits & (first < 0)] = index
    return Decision(first, fired)


def fires(column: pa.ChunkedArray, rule: Rule) -> npt.NDArray[np.bool_]:
    """(n_rows,) where `column comparison threshold` holds; false where the column is null."""
    if rule.comparison in ("in", "not_in"):
        members = pc.is_in(column, value_set=pa.array(rule.threshold, column.type))
        result = pc.and_(pc.is_valid(column), pc.invert(members) if rule.comparison == "not_in" else members)
    elif pa.types.is_integer(column.type):  # a threshold such as 49.5 must not be cut to 49
        compare = _ORDERED.get(rule.comparison, pc.equal)
        result = compare(column.cast(pa.float64()), pa.scalar(float(rule.threshold), pa.float64()))  # type: ignore[arg-type]
    else:
        compare = _ORDERED.get(rule.comparison, pc.equal)
        result = compare(column, pa.scalar(rule.threshold, column.type))
    return pc.fill_null(result, False).to_numpy()


def explain_rules(row: pa.Table, rules: Sequence[Rule]) -> list[Verdict]:
    """What each rule says about the one document of a one-row table, in declared order.

    The first verdict that fired is the one that decides; the others tell what else would have.
    """
    return [
        Verdict(rule, readable_value(row.column(rule.signal)[0]), bool(fires(row.column(rule.signal), rule)[0]))
        for rule in rules
    ]


def readable_value(value: pa.Scalar) -> Any:
    """A signal's value as a person would write it: float32 0.3 is 0.3 and not 0.30000001192092896."""
    plain = value.as_py()
    if plain is not None and pa.types.is_float32(value.type):
        return float(str(np.float32(plain)))
    return plain


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fits(rule: Rule, kind: pa.DataType) -> bool:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return isinstance(rule.threshold, str | tuple)
    if pa.types.is_boolean(kind):
        return isinstance(rule.threshold, bool) and rule.comparison == "=="
    return _is_number(rule.threshold) and (pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _readable(threshold: Threshold) -> str:
    return ", ".join(threshold) if isinstance(threshold, tuple) else repr(threshold)


def _near(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(matches)}?" if matches else f"; there are: {', '.join(known)}"
