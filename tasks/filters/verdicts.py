"""What `filter` and `select` have in common: rules over columns, applied to documents, with a verdict for each.

The stages differ in where their rules come from. The work here is theirs both: check the rules against the columns
there are, resolve quantiles over the whole corpus, decide part by part, and record the rules as they decided.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.errors import BadInput
from infra.stage import Draft, Part
from infra.store import Artifact
from tasks.documents import Documents, columns_of, open_part
from tasks.filters.quantiles import find_cuts, quantile_rules, with_cuts
from tasks.filters.rules import (
    ResolvedRule,
    Rule,
    Verdict,
    check_rules,
    check_signal,
    columns_of_rules,
    decide,
    explain_rules,
    group_names,
    load_rule,
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


def decide_documents(documents: Documents, rules: Sequence[Rule], out: Draft, function: Callable[[Part], None]) -> None:
    """Apply rules to every part and record them in the artifact.

    Args:
        function: the stage's part function; it calls `decide_part`.

    Raises:
        BadConfig: a rule looks at a column that does not exist, or compares it with something else.
    """
    names = columns_of(documents)
    for rule in rules:
        check_signal(rule, names)
    if documents.part_count:
        check_rules(rules, open_part(documents, 0, columns_of_rules(rules)).schema)
    relative = quantile_rules(rules)
    cuts = {}
    if relative:
        looked_at = columns_of_rules(relative)
        cuts = find_cuts(relative, (open_part(documents, k, looked_at) for k in range(documents.part_count)))
    out.metrics["rules"] = [rule.model_dump(mode="json") for rule in with_cuts(rules, cuts)]
    out.map_parts(function, along=documents, given={"cuts": cuts} if relative else None)
    sums = out.part_metrics()
    silent = silent_rules(rules, {rule.name: int(sums.get(_fired(rule.name), 0)) for rule in rules})
    if sums.get("documents", 0) > SILENT_RULE_DOCUMENTS and silent:
        out.metrics["silent_rules"] = silent
        out.log.warning(
            "these rules fired on none of %d documents: %s; is each signal what its rule expects?",
            sums["documents"],
            ", ".join(silent),
        )


def decide_part(part: Part, rules: Sequence[Rule]) -> None:
    """Decide on the documents of one part and write `kept` and `rejected`."""
    resolved = with_cuts(rules, part.given.get("cuts", {}))
    table = open_part(part.parent("documents"), part.index, columns_of_rules(resolved))
    kept, rejected, fired = apply_rules(table, resolved)
    part.write("kept", kept)
    part.write("rejected", rejected)
    dropped = Counter(rejected.column("reason").to_pylist())
    part.count("documents", table.num_rows, dropped=dropped, out=kept.num_rows)
    part.metric("documents", table.num_rows)
    for name, n in fired.items():
        part.metric(_fired(name), n)


def apply_rules(table: pa.Table, rules: Sequence[Rule]) -> tuple[pa.Table, pa.Table, dict[str, int]]:
    """Split documents into those that stay and those that go.

    Args:
        table: `doc_id`, `row` and every column that a rule looks at.
        rules: without unresolved quantiles.

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


def explain(decided: Artifact, part: int, row: int) -> list[Verdict]:
    """What each rule of a `filter` or `select` artifact says about one document that it decided on, in order.

    The rules are those that the artifact was made with, whatever the presets say today; a quantile is the number that
    it came to.

    Args:
        part, row: the document's place in the base text.

    Raises:
        BadInput: the artifact did not decide on such a document.
    """
    rules = [load_rule(rule) for rule in decided.manifest.metrics["rules"]]
    table = open_part(decided.parent("documents"), part, columns_of_rules(rules))
    document = table.filter(pc.equal(table.column("row"), row))
    if not document.num_rows:
        raise BadInput(f"{decided.ref} did not decide on row {row} of part {part}: an earlier stage had dropped it")
    return explain_rules(document, rules)


def silent_rules(rules: Sequence[Rule], fired: dict[str, int]) -> list[str]:
    """Names of the rules that never fired."""
    return [rule.name for rule in rules if not fired[rule.name]]


def _rejection(table: pa.Table, rule: Rule, place: int) -> dict[str, object]:
    if isinstance(rule, ResolvedRule):
        rule = rule.of_group(group_names(table.slice(place, 1), rule.by)[0].as_py())
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
        "threshold": None if text else float(threshold),  # type: ignore[arg-type]
        "value_text": value if text else None,
        "threshold_text": threshold if text else None,
    }


def _fired(rule: str) -> str:
    return f"fired.{rule}"
