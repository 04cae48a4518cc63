import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from infra.errors import BadConfig
from tasks.filters.quantiles import Distribution, find_cuts, with_cuts
from tasks.filters.rules import ResolvedRule, Rule, check_rules, decide, explain_rules, load_rule, override

FLOAT = pa.float32()


def rule(**changes):
    base = {"name": "best", "signal": "quality", "comparison": "<", "quantile": 0.9, "reason": "quality"}
    return Rule.model_validate({**base, **changes})


def scores(values, domains=None, kind=FLOAT):
    return pa.table(
        {
            "quality": pa.chunked_array([values], kind),
            "domain": ["general"] * len(values) if domains is None else domains,
        }
    )


def rejected(table, one):
    return (decide(table, with_cuts([one], find_cuts([one], [table]))).first == 0).nonzero()[0].tolist()


HUNDRED = scores([k / 100 for k in range(100)])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, range(90)),  # the best tenth stays
        ({"quantile": 0.29}, range(29)),  # and not 28, which 0.29 * 100 gives in floats
        ({"quantile": 0}, []),
        ({"quantile": 1}, range(99)),  # the largest value is never below itself
        ({"comparison": "<="}, range(91)),
        ({"comparison": ">", "quantile": 0.9}, range(91, 100)),
    ],
)
def test_a_quantile_is_the_value_that_its_share_of_the_documents_lies_below(changes, expected):
    assert rejected(HUNDRED, rule(**changes)) == list(expected)


def test_documents_equal_to_the_quantile_share_one_fate():
    assert rejected(scores([0.1, 0.5, 0.5, 0.5, 0.9]), rule(quantile=0.5)) == [0]


def test_nulls_neither_count_nor_go():
    table = scores([None, 0.1, None, 0.2, 0.3, float("nan")])
    assert find_cuts([rule(quantile=0.5)], [table]) == {"best": {"": 0.2}}
    assert rejected(table, rule(quantile=0.5)) == [1]
    assert rejected(scores([None, None]), rule()) == []


def test_each_group_has_its_own_quantile():
    table = scores([0.9, 0.8, 0.1, 0.2, 0.5], ["news", "news", "code", "code", None])
    one = rule(quantile=0.5, by="domain")
    assert find_cuts([one], [table]) == {"best": {"": 0.5, "code": 0.2, "news": 0.9}}
    assert rejected(table, one) == [1, 2]
    assert rejected(table, rule(quantile=0.5)) == [2, 3]


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.sampled_from(["a", "b", None])), max_size=40),
    st.integers(1, 7),
    st.sampled_from([0.0, 0.1, 0.29, 0.5, 0.9, 1.0]),
)
def test_order_and_parts_change_nothing_and_the_share_is_never_exceeded(rows, size, share):
    one = rule(quantile=share, by="domain")
    parts = [rows[start : start + size] for start in range(0, len(rows), size)][::-1]
    tables = [scores([v for v, _ in part], pa.array([g for _, g in part], pa.string()), pa.int32()) for part in parts]
    whole = scores([v for v, _ in rows], pa.array([g for _, g in rows], pa.string()), pa.int32())
    cuts = find_cuts([one], [whole])
    assert find_cuts([one], tables) == (cuts if rows else {"best": {}})
    gone = (decide(whole, with_cuts([one], cuts)).first == 0).sum()
    assert gone <= share * len(rows)


def test_values_keep_the_digits_of_their_type():
    distribution = Distribution()
    distribution.add(scores([0.3]).column("quality"), pa.array([""]))
    assert distribution.quantile("", 0.5) == 0.3  # and not 0.30000001192092896


def test_a_resolved_rule_survives_json_and_says_its_number():
    one = rule(quantile=0.5, by="domain")
    table = scores([0.9, 0.8, 0.1], ["news", "news", "code"])
    (resolved,) = with_cuts([one], find_cuts([one], [table]))
    again = load_rule(resolved.model_dump(mode="json"))
    assert again == resolved and isinstance(again, ResolvedRule) and again.quantile == 0.5
    verdicts = [explain_rules(table.slice(k, 1), [again])[0] for k in range(3)]
    assert [(v.rule.threshold, v.fired) for v in verdicts] == [(0.9, False), (0.9, True), (0.1, False)]


def test_a_rule_with_an_unresolved_quantile_decides_nothing():
    with pytest.raises(BadConfig, match="not resolved"):
        decide(HUNDRED, [rule()])


def test_a_quantile_can_be_overridden_by_a_number():
    (fixed,) = override([rule(by="domain")], {"best": 0.25}, [])
    assert (fixed.threshold, fixed.quantile, fixed.by) == (0.25, None, None)


@pytest.mark.parametrize(
    "changes",
    [{"threshold": 0.5}, {"quantile": None}, {"quantile": 1.5}, {"comparison": "=="}, {"comparison": "in"}],
)
def test_a_malformed_quantile_is_refused(changes):
    with pytest.raises(ValidationError):
        rule(**changes)


def test_a_group_without_quantile_is_refused():
    with pytest.raises(ValidationError, match="goes with a quantile"):
        rule(quantile=None, threshold=0.5, by="domain")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signal": "domain"}, "domain is string, which cannot be compared by < with a quantile"),
        ({"by": "topic"}, "no signal 'topic'"),
        ({"by": "quality"}, "by quality is float, not text"),
    ],
)
def test_a_quantile_of_what_has_none_is_an_error(changes, message):
    with pytest.raises(BadConfig, match=message):
        check_rules([rule(**changes)], HUNDRED.schema)
