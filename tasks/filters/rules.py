"""Rules as data: a signal, a comparison, a threshold, and the reason to give when the comparison holds.

A rule *fires* when `signal comparison threshold` is true; a document is rejected by the first rule that fires, in
declared order. A null signal fires no rule. Rule sets of the papers are the YAML files in `presets/`; a new threshold
is a new value in a parameter, never a new piece of code.

Floats are compared in the type of their column: a fraction stored as float32 0.3 does not exceed the threshold 0.3.

Where the right number depends on the corpus, a rule gives a `quantile` instead of a threshold, of all documents or of
each group of them (`by: domain`); `quantiles.py` finds the number and makes a `ResolvedRule` of it, which is what
decides and what an artifact records.
"""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

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
    threshold: Threshold | None = Field(
        None, description="A number; text for ==; a list of texts for in and not_in. Empty when `quantile` is given."
    )
    quantile: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Instead of a threshold: the value that this share of the documents lies below, found anew in"
        " each corpus (signal: quality, comparison: <, quantile: 0.9 keeps the best tenth).",
    )
    by: str | None = Field(None, description="Column of text (domain, language): a quantile of each of its values.")
    reason: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="What rejected documents are counted under.")
    source: str = Field("", description="Where the threshold is from: paper and table.")

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if (self.threshold is None) == (self.quantile is None):
            raise ValueError(f"rule {self.name}: give either a threshold or a quantile")
        if self.quantile is not None:
            if self.comparison not in _ORDERED:
                raise ValueError(f"rule {self.name}: a quantile needs <, <=, > or >=, not {self.comparison}")
            return self
        if self.by is not None:
            raise ValueError(f"rule {self.name}: `by` goes with a quantile, not with a threshold")
        is_list = isinstance(self.threshold, tuple)
        if is_list != (self.comparison in ("in", "not_in")):
            raise ValueError(f"rule {self.name}: in and not_in need a list of texts, the other comparisons one value")
        if self.comparison in _ORDERED and not _is_number(self.threshold):
            raise ValueError(f"rule {self.name}: {self.comparison} needs a number, not {self.threshold!r}")
        return self


class ResolvedRule(Rule):
    """A quantile rule with the numbers that its quantile came to. `threshold` is the number where there is one only."""

    thresholds: dict[str, float] = Field(description="Value of the `by` column (all documents: empty text) -> number.")

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        return self

    def of_group(self, group: str) -> "ResolvedRule":
        """The rule as it stands for the documents of one group."""
        return self.model_copy(update={"threshold": self.thresholds.get(group)})


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
    """The rules of one rule set, in order; an entry `include: NAME` stands for the rules of another set.

    Raises:
        BadConfig: there is no such set.
    """
    if name not in preset_names():
        raise BadConfig(f"no rule preset {name!r}{_near(name, preset_names())}")
    content = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    shared = {"source": content.get("source", "")}
    rules: list[Rule] = []
    for entry in content["rules"]:
        if entry.keys() == {"include"}:
            rules.extend(preset(entry["include"]))
        else:
            rules.append(Rule.model_validate({**shared, **entry}))
    return tuple(rules)


def preset_digests() -> dict[str, str]:
    """Preset name -> sha256 of its file: part of the version of what was filtered with it."""
    return {name: hashlib.sha256((PRESETS / f"{name}.yaml").read_bytes()).hexdigest() for name in preset_names()}


def override(rules: Sequence[Rule], thresholds: Mapping[str, float], without: Iterable[str]) -> list[Rule]:
    """Other thresholds for named rules (in place of a quantile, too), and rules left out.

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
        if rule.name in thresholds and not (_is_number(rule.threshold) or rule.quantile is not None):
            raise BadConfig(f"rule {rule.name!r} has no number to override: its threshold is {rule.threshold!r}")
    return [
        rule.model_copy(update={"threshold": thresholds[rule.name], "quantile": None, "by": None})
        if rule.name in thresholds
        else rule
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
                f" {rule.comparison} with {_readable(rule)}"
            )
        if rule.by is not None and not _is_text(schema.field(rule.by).type):
            raise BadConfig(f"rule {rule.name!r}: by {rule.by} is {schema.field(rule.by).type}, not text")


def check_signal(rule: Rule, names: Sequence[str]) -> None:
    """Raise `BadConfig` unless the rule's columns are among `names`."""
    for column in columns_of_rules([rule]):
        if column not in names:
            raise BadConfig(f"rule {rule.name!r}: no signal {column!r}{_near(column, names)}")


def columns_of_rules(rules: Iterable[Rule]) -> list[str]:
    """The columns that rules look at, each once."""
    return list(dict.fromkeys(name for rule in rules for name in (rule.signal, rule.by) if name is not None))


def load_rule(content: Mapping[str, Any]) -> Rule:
    """A rule as an artifact recorded it."""
    return (ResolvedRule if "thresholds" in content else Rule).model_validate(dict(content))


def decide(table: pa.Table, rules: Sequence[Rule]) -> Decision:
    """Apply rules to the rows of a table that holds their signals."""
    first = np.full(table.num_rows, -1, np.int64)
    fired: dict[str, int] = {}
    for index, rule in enumerate(rules):
        hits = fires(table, rule)
        fired[rule.name] = int(np.count_nonzero(hits))
        first[hits & (first < 0)] = index
    return Decision(first, fired)


def fires(table: pa.Table, rule: Rule) -> npt.NDArray[np.bool_]:
    """(n_rows,) where `signal comparison threshold` holds; false where the signal is null."""
    column = table.column(rule.signal)
    if not isinstance(rule, ResolvedRule):
        return _compared(column, rule.comparison, rule.threshold)
    if rule.by is None:
        number = rule.thresholds.get("")  # none: no document had the signal
        return np.zeros(table.num_rows, bool) if number is None else _compared(column, rule.comparison, number)
    groups, hits = group_names(table, rule.by), np.zeros(table.num_rows, bool)
    for group, number in rule.thresholds.items():
        hits |= _compared(column, rule.comparison, number) & pc.equal(groups, group).to_numpy(zero_copy_only=False)
    return hits


def group_names(table: pa.Table, by: str | None) -> pa.Array:
    """The group that each row belongs to; documents without a value of `by` are a group of their own, named ""."""
    if by is None:
        return pa.array(np.full(table.num_rows, "", dtype=object), pa.string())
    return pc.fill_null(table.column(by), "").combine_chunks()


def _compared(column: pa.ChunkedArray, comparison: Comparison, threshold: Threshold | None) -> npt.NDArray[np.bool_]:
    if threshold is None:
        raise BadConfig("a quantile was not resolved before its rule was applied")
    if comparison in ("in", "not_in"):
        members = pc.is_in(column, value_set=pa.array(threshold, column.type))
        result = pc.and_(pc.is_valid(column), pc.invert(members) if comparison == "not_in" else members)
    elif pa.types.is_integer(column.type):  # a threshold such as 49.5 must not be cut to 49
        compare = _ORDERED.get(comparison, pc.equal)
        result = compare(column.cast(pa.float64()), pa.scalar(float(threshold), pa.float64()))  # type: ignore[arg-type]
    else:
        compare = _ORDERED.get(comparison, pc.equal)
        result = compare(column, pa.scalar(threshold, column.type))
    return pc.fill_null(result, False).to_numpy()


def explain_rules(row: pa.Table, rules: Sequence[Rule]) -> list[Verdict]:
    """What each rule says about the one document of a one-row table, in declared order.

    The first verdict that fired is the one that decides; the others tell what else would have.
    """
    return [
        Verdict(
            rule.of_group(group_names(row, rule.by)[0].as_py()) if isinstance(rule, ResolvedRule) else rule,
            readable_value(row.column(rule.signal)[0]),
            bool(fires(row, rule)[0]),
        )
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


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _fits(rule: Rule, kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if rule.quantile is not None:
        return number
    if _is_text(kind):
        return isinstance(rule.threshold, str | tuple)
    if pa.types.is_boolean(kind):
        return isinstance(rule.threshold, bool) and rule.comparison == "=="
    return _is_number(rule.threshold) and number


def _readable(rule: Rule) -> str:
    if rule.quantile is not None:
        return f"a quantile ({rule.quantile})"
    return ", ".join(rule.threshold) if isinstance(rule.threshold, tuple) else repr(rule.threshold)


def _near(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(matches)}?" if matches else f"; there are: {', '.join(known)}"
