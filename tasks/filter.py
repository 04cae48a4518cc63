"""`filter`: which documents stay, by rules over the signals that `measure` left.

Nothing is counted here and no text is read, so that another threshold costs seconds. The default rules are FineWeb's,
in its order (Penedo et al. 2024, arXiv:2406.17557, section 3): language, Gopher repetition, Gopher quality, C4 without
the terminal punctuation rule, FineWeb's own.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from infra.errors import BadConfig, BadInput
from infra.params import Params
from infra.stage import Draft, Part, stage
from infra.store import Artifact
from tasks.documents import Documents, columns_of, open_part
from tasks.filters.rules import (
    Rule,
    Verdict,
    check_rules,
    check_signal,
    decide,
    explain_rules,
    override,
    preset,
    preset_digests,
    readable_value,
)

KEPT = pa.schema([("doc_id", pa.string()), ("row", pa.int32())])
REJECTED = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int32()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("signal", pa.string()),
        ("comparison", pa.string()),
        ("value", pa.float64()),  # null for a signal that is text
        ("threshold", pa.float64()),
        ("value_text", pa.string()),  # null for a signal that is a number
        ("threshold_text", pa.string()),
    ]
)

SILENT_RULE_DOCUMENTS = 10_000  # a rule that fires on none of so many is more likely mistaken than met


class FilterParams(Params):
    """Which rules decide, in which order: the language gate, the presets as listed, the rules given here."""

    languages: tuple[str, ...] | None = Field(
        ("en",), description="Languages to keep, as lid.176 names them (ISO 639); empty (null) keeps all."
    )
    min_language_score: float = Field(
        0.65,
        ge=0,
        le=1,
        description="Documents stay whose language is given a higher probability than this (FineWeb, RefinedWeb, DCLM:"
        " 0.65); not looked at when `languages` is empty.",
    )
    presets: tuple[str, ...] = Field(
        ("gopher_repetition", "gopher_quality", "c4", "fineweb"),
        description="Rule sets of tasks/filters/presets, in the order in which they decide.",
    )
    rules: tuple[Rule, ...] = Field((), description="Further rules, applied after the presets.")
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Rule name -> another threshold than its own (gopher_min_words: 30)."
    )
    without: tuple[str, ...] = Field((), description="Names of rules to leave out.")


@stage("filter", version=1, tables={"kept": KEPT, "rejected": REJECTED}, fingerprint=preset_digests)
def filter_documents(documents: Documents, params: FilterParams, out: Draft) -> None:
    """Keep the documents that no rule rejects; the first rule that fires gives the reason."""
    rules = resolve_rules(params)
    names = columns_of(documents)
    for rule in rules:
        check_signal(rule, names)
    if documents.part_count:
        check_rules(rules, open_part(documents, 0, _signals(rules)).schema)
    out.metrics["rules"] = [rule.model_dump(mode="json") for rule in rules]
    out.map_parts(filter_part, along=documents)
    sums = out.part_metrics()
    silent = silent_rules(rules, {name: int(sums.get(_fired(name), 0)) for name in (rule.name for rule in rules)})
    if sums.get("documents", 0) > SILENT_RULE_DOCUMENTS and silent:
        out.metrics["silent_rules"] = silent
        out.log.warning(
            "these rules fired on none of %d documents: %s; is each signal what its rule expects?",
            sums["documents"],
            ", ".join(silent),
        )


def filter_part(part: Part) -> None:
    """Decide on the documents of one part."""
    rules = resolve_rules(part.params)
    table = open_part(part.parent("documents"), part.index, _signals(rules))
    kept, rejected, fired = apply_rules(table, rules)
    part.write("kept", kept)
    part.write("rejected", rejected)
    dropped = Counter(rejected.column("reason").to_pylist())
    part.count("documents", table.num_rows, dropped=dropped, out=kept.num_rows)
    part.metric("documents", table.num_rows)
    for name, n in fired.items():
        part.metric(_fired(name), n)


def resolve_rules(params: FilterParams) -> list[Rule]:
    """The rules that parameters stand for, in the order in which they decide.

    Raises:
        BadConfig: an unknown preset or rule name, or two rules of one name.
    """
    rules = [*language_rules(params.languages, params.min_language_score)]
    for name in params.presets:
        rules.extend(preset(name))
    rules.extend(params.rules)
    return override(rules, params.thresholds, params.without)


def language_rules(languages: Sequence[str] | None, min_score: float) -> list[Rule]:
    """The language gate: another language goes, and so does one that is not surer than `min_score`.

    Strictly surer, as in FineWeb. `measure` rounds scores to four decimals, so that 0.65004 counts as 0.65 and goes.
    """
    if languages is None:
        return []
    if not languages:
        raise BadConfig("filter.languages is an empty list, which keeps nothing; null keeps every language")
    source = "Penedo et al. 2024, arXiv:2406.17557, section 3.1"
    return [
        Rule(
            name="language",
            signal="language",
            comparison="not_in",
            threshold=tuple(languages),
            reason="language",
            source=source,
        ),
        Rule(
            name="language_score",
            signal="language_score",
            comparison="<=",
            threshold=min_score,
            reason="language_score",
            source=source,
        ),
    ]


def apply_rules(table: pa.Table, rules: Sequence[Rule]) -> tuple[pa.Table, pa.Table, dict[str, int]]:
    """Split documents into those that stay and those that go.

    Args:
        table: `doc_id`, `row` and every signal that a rule names.

    Returns:
        kept (schema `KEPT`), rejected (schema `REJECTED`), both in the table's order, and rule name -> documents on
        which it fires, whether or not an earlier rule had decided.
    """
    decision = decide(table, rules)
    identity = table.select(["doc_id", "row"])
    rejected = [
        _rejection(table, rules[index], int(place))
        for place, index in zip(np.flatnonzero(~decision.kept), decision.first[~decision.kept], strict=True)
    ]
    return (
        identity.filter(pa.array(decision.kept)).cast(KEPT),
        pa.Table.from_pylist(rejected, schema=REJECTED),
        decision.fired,
    )


def explain(filtered: Artifact, part: int, row: int) -> list[Verdict]:
    """What each rule of a `filter` artifact says about one document that it decided on, in the order of the rules.

    The rules are those that the artifact was made with, whatever the presets say today.

    Args:
        part, row: the document's place in the base text.

    Raises:
        BadInput: the artifact did not decide on such a document.
    """
    rules = [Rule.model_validate(rule) for rule in filtered.manifest.metrics["rules"]]
    table = open_part(filtered.parent("documents"), part, _signals(rules))
    document = table.filter(pc.equal(table.column("row"), row))
    if not document.num_rows:
        raise BadInput(f"{filtered.ref} did not decide on row {row} of part {part}: an earlier stage had dropped it")
    return explain_rules(document, rules)


def silent_rules(rules: Sequence[Rule], fired: dict[str, int]) -> list[str]:
    """Names of the rules that never fired."""
    return [rule.name for rule in rules if not fired[rule.name]]


def _rejection(table: pa.Table, rule: Rule, place: int) -> dict[str, object]:
    value = readable_value(table.column(rule.signal)[place])
    text = isinstance(value, str)
    threshold = ", ".join(rule.threshold) if isinstance(rule.threshold, tuple) else rule.threshold
    return {
        "doc_id": table.column("doc_id")[place].as_py(),
        "row": table.column("row")[place].as_py(),
        "rule": rule.name,
        "reason": rule.reason,
        "signal": rule.signal,
        "comparison": rule.comparison,
        "value": None if text else float(value),
        "threshold": None if text else float(threshold),
        "value_text": value if text else None,
        "threshold_text": threshold if text else None,
    }


def _signals(rules: Sequence[Rule]) -> list[str]:
    return list(dict.fromkeys(rule.signal for rule in rules))


def _fired(rule: str) -> str:
    return f"fired.{rule}"
