import logging

import pyarrow as pa
import pytest

from infra.errors import BadConfig, BadInput
from infra.params import Runtime
from infra.stage import parse_params
from infra.store import Store
from tasks.documents import open_part
from tasks.filter import FilterParams, filter_documents, resolve_rules
from tasks.filters import rules as rules_module
from tasks.filters import verdicts as module
from tasks.filters.verdicts import KEPT, REJECTED, apply_rules, explain
from tasks.measure import MeasureParams, measure, measure_texts
from tests.tasks.filters.prose import PROSE
from tests.tasks.raw_documents import raw_documents

LINES = PROSE.split("\n")
GERMAN = (
    "Die Fähre verlässt den alten Hafen um sieben Uhr morgens und braucht etwa zwei Stunden bis zur Insel.\n"
    "Die meisten Reisenden haben dort Verwandte oder hüten eine Woche lang den Leuchtturm."
)


def table_of(*texts: str) -> pa.Table:
    measured = measure_texts(texts, [None] * len(texts), MeasureParams())
    identity = {"doc_id": [f"d{k}" for k in range(len(texts))], "row": pa.array(range(len(texts)), pa.int32())}
    return pa.table({**identity, **{name: measured.column(name) for name in measured.column_names}})


def rejection(text: str, params: FilterParams) -> dict | None:
    """The row in `rejected`, or None where the text is kept."""
    kept, rejected, _ = apply_rules(table_of(text), resolve_rules(params))
    assert kept.num_rows + rejected.num_rows == 1
    return rejected.to_pylist()[0] if rejected.num_rows else None


def wrapped(n: int) -> str:
    """The prose with a line break after every n words."""
    words = PROSE.split()
    return "\n".join(" ".join(words[start : start + n]) for start in range(0, len(words), n))


# One document for each rule that the rule is there for: rule -> (reason, text).
SAID_TWICE = PROSE + " " + " ".join(LINES[1:3])
TELLING = {
    "gopher_duplicate_lines": ("gopher_duplicate_lines", "Yes.\n" * 5 + PROSE),
    "gopher_duplicate_paragraphs": ("gopher_duplicate_paragraphs", "Note well.\n\n" * 3 + PROSE),
    "gopher_duplicate_line_chars": ("gopher_duplicate_lines", "\n".join([PROSE, *LINES[1:3]])),
    "gopher_duplicate_paragraph_chars": (
        "gopher_duplicate_paragraphs",
        "\n\n".join(["\n".join(LINES[:3]), *LINES[3:], "\n".join(LINES[:3])]),
    ),
    "gopher_top_2gram": ("gopher_top_ngram", "\n".join(f"buy shoes {word}" for word in LINES[0].split())),
    "gopher_top_3gram": ("gopher_top_ngram", "\n".join(f"buy our shoes {word}" for word in LINES[0].split())),
    "gopher_top_4gram": ("gopher_top_ngram", "\n".join(f"buy our shoes now {word}" for word in LINES[0].split())),
    **{f"gopher_duplicate_{n}grams": ("gopher_duplicate_ngrams", SAID_TWICE) for n in range(5, 11)},
    "gopher_min_words": ("gopher_too_few_words", " ".join(PROSE.split()[:49])),
    "gopher_max_words": ("gopher_too_many_words", "word " * 100_001),
    "gopher_min_word_length": ("gopher_word_length", "of to be at is it he we\n" * 10),
    "gopher_max_word_length": ("gopher_word_length", PROSE.replace(" ", "-and-so-on ")),
    "gopher_hashes": ("gopher_symbols", PROSE + " #tag" * 30),
    "gopher_ellipses": ("gopher_symbols", PROSE + " so... and…" * 15),
    "gopher_bullet_lines": ("gopher_bullet_lines", "\n".join(f"- {line}" for line in LINES)),
    "gopher_ellipsis_lines": ("gopher_ellipsis_lines", "\n".join([f"{LINES[0]}..", f"{LINES[1]}…", *LINES[2:]])),
    "gopher_alpha_words": ("gopher_alpha_words", " ".join([PROSE, *map(str, range(1700, 1740))])),
    "gopher_stop_words": ("gopher_stop_words", " ".join(f"word{chr(97 + k % 26)}{k}" for k in range(60))),
    "c4_sentences": ("c4_too_few_sentences", "\n".join(LINES[:4])),
    "c4_lorem_ipsum": ("c4_lorem_ipsum", PROSE + "\nLorem ipsum dolor sit amet."),
    "c4_curly_brackets": ("c4_curly_brackets", PROSE + "\nvoid main() { return 1; }"),
    "fineweb_terminal_lines": ("fineweb_terminal_lines", PROSE.replace(".", ",")),
    "fineweb_short_lines": ("fineweb_short_lines", wrapped(4)),
    "fineweb_duplicate_lines": ("fineweb_duplicate_lines", PROSE + "\nThe boat is late today." * 2),
    "fineweb_newlines": ("fineweb_newlines", wrapped(3)),
}
DEFAULT_RULES = resolve_rules(FilterParams())


def test_prose_passes_every_default_rule():
    assert rejection(PROSE, FilterParams()) is None


def test_every_default_rule_has_a_telling_document():
    assert [rule.name for rule in DEFAULT_RULES] == ["language", "language_score", *TELLING]


@pytest.mark.parametrize("name", TELLING)
def test_a_rule_rejects_its_telling_document_with_its_reason_and_value(name):
    reason, text = TELLING[name]
    (rule,) = [rule for rule in DEFAULT_RULES if rule.name == name]
    found = rejection(text, FilterParams(languages=None, presets=(), rules=(rule,)))
    assert found is not None, name
    assert (found["rule"], found["reason"], found["signal"]) == (name, reason, rule.signal)
    assert found["threshold"] == pytest.approx(rule.threshold)
    assert found["value"] < found["threshold"] if rule.comparison == "<" else found["value"] > found["threshold"]
    assert found["value_text"] is None


@pytest.mark.parametrize(
    "name", ["c4_lorem_ipsum", "c4_curly_brackets", "fineweb_duplicate_lines", "gopher_alpha_words"]
)
def test_a_document_with_one_fault_is_rejected_for_it_by_the_whole_chain(name):
    assert rejection(TELLING[name][1], FilterParams())["rule"] == name


def test_another_language_is_rejected_before_anything_else():
    found = rejection(GERMAN, FilterParams())
    assert (found["rule"], found["reason"]) == ("language", "language")
    assert (found["value_text"], found["threshold_text"], found["value"]) == ("de", "en", None)
    assert rejection(GERMAN, FilterParams(languages=("en", "de")))["reason"] == "gopher_too_few_words"
    assert rejection(GERMAN, FilterParams(languages=None))["reason"] == "gopher_too_few_words"


def test_a_language_must_be_surer_than_the_threshold():
    score = measure_texts([PROSE], [None], MeasureParams()).column("language_score")[0].as_py()
    assert rejection(PROSE, FilterParams(min_language_score=round(score, 4)))["reason"] == "language_score"
    assert rejection(PROSE, FilterParams(min_language_score=round(score, 4) - 0.0001)) is None


def test_a_text_without_a_language_is_not_rejected_for_its_language():
    assert rejection("", FilterParams())["reason"] == "gopher_too_few_words"


def test_an_empty_list_of_languages_is_an_error():
    with pytest.raises(BadConfig, match="keeps nothing"):
        resolve_rules(FilterParams(languages=()))


def test_rules_of_a_users_own_come_last_and_thresholds_can_be_changed_by_name():
    params = parse_params(
        FilterParams,
        {
            "rules": [
                {"name": "mail", "signal": "n_emails", "comparison": ">", "threshold": 0, "reason": "personal_data"}
            ],
            "thresholds": {"c4_sentences": 8},
            "without": ["gopher_stop_words"],
        },
        "filter",
    )
    rules = resolve_rules(params)
    assert rules[-1].name == "mail"
    assert "gopher_stop_words" not in [rule.name for rule in rules]
    assert rejection(PROSE, params)["rule"] == "c4_sentences"
    assert rejection(PROSE + "\nWrite to ann@example.org. She reads it. She does.", params)["reason"] == "personal_data"


def test_kept_and_rejected_rows_stay_in_order_and_are_all_of_them():
    kept, rejected, fired = apply_rules(table_of("short", PROSE, GERMAN, PROSE), DEFAULT_RULES)
    assert (kept.schema, rejected.schema) == (KEPT, REJECTED)
    assert kept.to_pylist() == [{"doc_id": "d1", "row": 1}, {"doc_id": "d3", "row": 3}]
    assert rejected.column("row").to_pylist() == [0, 2]
    assert fired["gopher_min_words"] == 2  # also on the one that its language had decided


@pytest.fixture(scope="module")
def measured(spark, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("filter"))
    parts = [
        [("a", None, PROSE), ("b", None, GERMAN), ("c", None, "short")],
        [],
        [("d", None, TELLING["c4_curly_brackets"][1]), ("e", None, PROSE)],
    ]
    return measure.run(store, documents=raw_documents(store, parts), runtime=Runtime(cores=2))


def test_the_stage_accounts_for_every_document_by_reason(measured):
    artifact = filter_documents.run(measured.store, documents=measured)
    counts = artifact.manifest.counts
    assert (counts.in_.n, counts.out.n) == (5, 2)
    assert sum(counts.dropped.values()) == 3
    assert counts.dropped["c4_curly_brackets"] == counts.dropped["language"] == 1
    assert open_part(artifact, 0, ["text"]).column("text").to_pylist() == [PROSE]
    assert open_part(artifact, 1, ["text"]).num_rows == 0
    assert open_part(artifact, 2, ["n_words"]).column("row").to_pylist() == [1]
    assert [rule["name"] for rule in artifact.manifest.metrics["rules"]] == [rule.name for rule in DEFAULT_RULES]


def test_explain_gives_the_value_for_every_rule_that_the_artifact_was_made_with(measured):
    artifact = filter_documents.run(measured.store, documents=measured)
    verdicts = explain(artifact, 2, 0)
    assert [verdict.rule for verdict in verdicts] == DEFAULT_RULES
    assert [verdict.rule.name for verdict in verdicts if verdict.fired] == ["c4_curly_brackets"]
    assert not any(verdict.fired for verdict in explain(artifact, 0, 0))


def test_explain_refuses_a_document_that_never_reached_the_filter(measured):
    first = filter_documents.run(measured.store, documents=measured)
    second = filter_documents.run(measured.store, documents=first, params=FilterParams(presets=("c4",)))
    with pytest.raises(BadInput, match="row 1 of part 0"):
        explain(second, 0, 1)


def test_what_was_filtered_can_be_filtered_again(measured):
    loose = filter_documents.run(measured.store, documents=measured, params=FilterParams(presets=(), languages=None))
    assert loose.manifest.counts.out.n == 5
    strict = filter_documents.run(measured.store, documents=loose, params=FilterParams(presets=("c4",)))
    assert strict.read_table("kept").column("doc_id").to_pylist() == ["a", "e"]


def test_the_presets_are_part_of_the_version(measured, monkeypatch):
    params = FilterParams()
    before = filter_documents.key(params, {"documents": measured})
    monkeypatch.setattr(filter_documents, "fingerprint", lambda: {**rules_module.preset_digests(), "c4": "0" * 64})
    assert filter_documents.key(params, {"documents": measured}) != before


@pytest.mark.parametrize(
    ("signal", "message"), [("n_wrods", "did you mean n_words"), ("language", "cannot be compared by <")]
)
def test_a_rule_that_cannot_work_stops_the_stage_before_any_part(measured, signal, message):
    rule = {"name": "x", "signal": signal, "comparison": "<", "threshold": 1, "reason": "x"}
    params = parse_params(FilterParams, {"rules": [rule]}, "filter")
    with pytest.raises(BadConfig, match=message):
        filter_documents.run(measured.store, documents=measured, params=params)


def test_rules_that_never_fire_on_many_documents_are_named(measured, monkeypatch, caplog):
    monkeypatch.setattr(module, "SILENT_RULE_DOCUMENTS", 4)
    params = FilterParams(languages=None, presets=("c4",))
    with caplog.at_level(logging.WARNING, logger="sluice.filter"):
        artifact = filter_documents.run(measured.store, documents=measured, params=params)
    assert artifact.manifest.metrics["silent_rules"] == ["c4_lorem_ipsum"]
    assert "fired on none of 5 documents: c4_lorem_ipsum" in caplog.text
