import pyarrow as pa
import pytest
from pydantic import ValidationError

from infra.errors import BadConfig
from tasks.extract.stage import DOCUMENTS as EXTRACTED
from tasks.filters.rules import (
    Rule,
    check_rules,
    decide,
    explain_rules,
    fires,
    override,
    preset,
    preset_digests,
    preset_names,
)
from tasks.measure import SIGNALS


def rule(**changes):
    base = {"name": "short", "signal": "n_words", "comparison": "<", "threshold": 50, "reason": "too_short"}
    return Rule.model_validate({**base, **changes})


TABLE = pa.table(
    {
        "n_words": pa.array([10, 49, 50, 900, None], pa.int32()),
        "share": pa.array([0.1, 0.3, 0.30001, None, 0.9], pa.float32()),
        "language": pa.array(["en", "de", None, "en", "fr"]),
        "secure": pa.array([True, False, True, None, True]),
    }
)


@pytest.mark.parametrize(
    ("changes", "hits"),
    [
        ({"comparison": "<", "threshold": 50}, [0, 1]),
        ({"comparison": "<=", "threshold": 50}, [0, 1, 2]),
        ({"comparison": ">", "threshold": 50}, [3]),
        ({"comparison": ">=", "threshold": 50}, [2, 3]),
        ({"comparison": "==", "threshold": 50}, [2]),
        ({"comparison": "<", "threshold": 49.5}, [0, 1]),  # a whole number is not compared with 49
        ({"signal": "share", "comparison": ">", "threshold": 0.3}, [2, 4]),  # float32 0.3 does not exceed 0.3
        ({"signal": "language", "comparison": "in", "threshold": ["de", "fr"]}, [1, 4]),
        ({"signal": "language", "comparison": "not_in", "threshold": ["en"]}, [1, 4]),
        ({"signal": "language", "comparison": "==", "threshold": "en"}, [0, 3]),
        ({"signal": "secure", "comparison": "==", "threshold": False}, [1]),
    ],
)
def test_a_rule_fires_where_its_comparison_holds_and_never_on_null(changes, hits):
    one = rule(**changes)
    check_rules([one], TABLE.schema)
    assert fires(TABLE, one).nonzero()[0].tolist() == hits


def test_the_first_rule_that_fires_decides_and_all_that_fire_are_counted():
    rules = [
        rule(name="a", threshold=20),
        rule(name="b", signal="share", comparison=">", threshold=0.2),
        rule(name="c"),
    ]
    decision = decide(TABLE, rules)
    assert decision.first.tolist() == [0, 1, 1, -1, 1]
    assert decision.kept.tolist() == [False, False, False, True, False]
    assert decision.fired == {"a": 1, "b": 3, "c": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signal": "n_word"}, "no signal 'n_word'; did you mean n_words"),
        ({"signal": "language"}, "language is string, which cannot be compared by < with 50"),
        ({"signal": "secure", "comparison": "==", "threshold": 1}, "secure is bool"),
        ({"comparison": "in", "threshold": ["50"]}, "n_words is int32"),
        ({"comparison": "==", "threshold": True}, "n_words is int32"),
    ],
)
def test_a_rule_that_could_never_fire_is_an_error(changes, message):
    with pytest.raises(BadConfig, match=message):
        check_rules([rule(**changes)], TABLE.schema)


@pytest.mark.parametrize(
    "changes",
    [
        {"comparison": "<", "threshold": "50"},
        {"comparison": "<", "threshold": True},
        {"comparison": "in", "threshold": "en"},
        {"comparison": "<", "threshold": ["en"]},
        {"comparison": "=<"},
        {"colour": "red"},
        {"reason": "Too short!"},
    ],
)
def test_a_malformed_rule_is_refused(changes):
    with pytest.raises(ValidationError):
        rule(**changes)


def test_a_rule_survives_json():
    for one in (rule(), rule(comparison="in", threshold=["a", "b"]), rule(comparison="==", threshold=False)):
        assert Rule.model_validate(one.model_dump(mode="json")) == one


def test_every_preset_compares_signals_that_measure_writes():
    for name in preset_names():
        check_rules(preset(name), pa.schema([*EXTRACTED, *SIGNALS]))
        assert all(one.source for one in preset(name))


def test_presets_hold_the_published_thresholds():
    found = {one.name: (one.comparison, one.threshold) for name in preset_names() for one in preset(name)}
    # Rae et al. 2021, Table A1
    assert [found[f"gopher_top_{n}gram"][1] for n in (2, 3, 4)] == [0.20, 0.18, 0.16]
    assert [found[f"gopher_duplicate_{n}grams"][1] for n in range(5, 11)] == [0.15, 0.14, 0.13, 0.12, 0.11, 0.10]
    assert found["gopher_duplicate_lines"] == (">", 0.30)
    # A.1.1
    assert (found["gopher_min_words"], found["gopher_max_words"]) == (("<", 50), (">", 100_000))
    assert found["gopher_alpha_words"] == ("<", 0.8)
    assert found["c4_sentences"] == ("<", 5)
    assert found["fineweb_duplicate_lines"] == (">", 0.01)


def test_a_presets_digest_changes_with_its_file(monkeypatch, tmp_path):
    before = preset_digests()
    for name in preset_names():
        (tmp_path / f"{name}.yaml").write_text("rules: []\n")
    monkeypatch.setattr("tasks.filters.rules.PRESETS", tmp_path)
    assert preset_digests().keys() == before.keys()
    assert all(preset_digests()[name] != before[name] for name in before)


def test_a_preset_includes_others_in_its_order():
    names = [one.name for one in preset("dclm")]
    quality, repetition = ([one.name for one in preset(f"gopher_{part}")] for part in ("quality", "repetition"))
    assert names == [*[one.name for one in preset("url")], *quality, *repetition, "dclm_removed_words"]
    assert [one.name for one in preset("gopher")] == [*repetition, *quality]
    assert {one.source for one in preset("gopher")} == {
        one.source for one in (*preset("gopher_repetition"), *preset("gopher_quality"))
    }


def test_an_unknown_preset_names_the_likely_ones():
    with pytest.raises(BadConfig, match="did you mean gopher_quality"):
        preset("gopher_qualty")


def test_thresholds_are_overridden_and_rules_left_out_by_name():
    rules = override(preset("gopher_quality"), {"gopher_min_words": 30}, ["gopher_stop_words"])
    assert next(one for one in rules if one.name == "gopher_min_words").threshold == 30
    assert [one.name for one in rules] == [
        one.name for one in preset("gopher_quality") if one.name != "gopher_stop_words"
    ]


@pytest.mark.parametrize(
    ("thresholds", "without", "message"),
    [
        ({"gopher_min_word": 3}, [], "no rule 'gopher_min_word'; did you mean gopher_min_words"),
        ({}, ["gopher_stopwords"], "did you mean gopher_stop_words"),
    ],
)
def test_an_override_of_no_rule_is_an_error(thresholds, without, message):
    with pytest.raises(BadConfig, match=message):
        override(preset("gopher_quality"), thresholds, without)


def test_two_rules_of_one_name_are_an_error():
    with pytest.raises(BadConfig, match="two rules are called 'short'"):
        override([rule(), rule(threshold=3)], {}, [])


def test_a_list_of_languages_cannot_be_overridden_by_a_number():
    with pytest.raises(BadConfig, match="no number to override"):
        override([rule(comparison="in", threshold=["en"], signal="language")], {"short": 3.0}, [])


def test_explain_gives_every_rules_value_and_says_which_fire():
    verdicts = explain_rules(
        TABLE.slice(1, 1), [rule(), rule(name="share", signal="share", comparison=">", threshold=0.3)]
    )
    assert [(v.rule.name, v.value, v.fired) for v in verdicts] == [("short", 49, True), ("share", 0.3, False)]


def test_explain_shows_a_null_signal_as_none():
    (verdict,) = explain_rules(TABLE.slice(4, 1), [rule()])
    assert (verdict.value, verdict.fired) == (None, False)
