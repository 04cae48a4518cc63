from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from infra.errors import SluiceError
from tasks.dedup.keep import EXACT, LINKS, MEMBERS, NEAR, RECORD, UNKNOWN, URL, pack, policy_rank, resolve, unpack


def members(*rows: dict[str, Any]) -> pa.Table:
    plain = {"component": 0, "rank": 0, "url": "u", "captured": 0}
    return pa.Table.from_pylist([{**plain, "doc_id": f"d{row['id']}", **row} for row in rows], schema=MEMBERS)


def links(*rows: tuple[str, int, int, float | None]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(LINKS.names, row, strict=True)) for row in rows], schema=LINKS)


def by_doc(resolved: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["doc_id"]: row for row in resolved.to_pylist()}


def test_ids_pack_part_and_row() -> None:
    rows = np.array([0, 7, 2**31 - 1])
    parts, back = unpack(pack(90_000, rows))
    assert parts.tolist() == [90_000] * 3
    assert back.tolist() == rows.tolist()


def test_policies_rank_documents() -> None:
    n_chars, captured, ids = np.array([10, 30, 20]), np.array([5, UNKNOWN, 9]), np.array([100, 101, 102])

    def best_first(policy: Any) -> list[int]:
        return np.argsort(policy_rank(policy, n_chars, captured, ids)).tolist()

    assert best_first("longest") == [1, 2, 0]
    assert best_first("newest") == [2, 0, 1]  # without a capture time: last
    assert best_first("oldest") == [0, 2, 1]
    assert best_first("first") == [0, 1, 2]


def test_the_best_ranked_stays_and_each_row_says_why() -> None:
    resolved = by_doc(
        resolve(
            members({"id": 1, "rank": -5}, {"id": 2, "rank": -9}, {"id": 3, "rank": -9, "url": "v"}),
            links((NEAR, 1, 2, 0.9), (NEAR, 2, 3, 0.8)),
            "longest",
        )
    )
    assert {doc: row["kept"] for doc, row in resolved.items()} == {"d1": False, "d2": True, "d3": False}
    assert {row["cluster_id"] for row in resolved.values()} == {"d2"}
    assert (resolved["d2"]["kind"], resolved["d2"]["matched_with"], resolved["d2"]["jaccard"]) == (None, None, None)
    assert resolved["d1"]["keep_reason"] == "longest"
    assert resolved["d2"]["keep_reason"] == resolved["d3"]["keep_reason"] == "url"


@pytest.mark.parametrize(
    ("better", "reason"),
    [
        ({"rank": -1}, "newest"),
        ({"url": "a"}, "url"),
        ({"captured": -1}, "captured_at"),
        ({"doc_id": "a"}, "doc_id"),
        ({"id": 0, "doc_id": "d5"}, "position"),
    ],
)
def test_ties_go_down_the_criteria_in_order(better: dict[str, Any], reason: str) -> None:
    table = members({"id": 5}, {"id": 6, **better})
    resolved = resolve(table, links((RECORD, 5, table.column("id")[1].as_py(), None)), "newest").to_pylist()
    assert [row["keep_reason"] for row in resolved] == [reason, reason]
    assert [row["id"] for row in resolved if row["kept"]] == [better.get("id", 6)]


def test_near_matches_the_most_alike_and_on_ties_the_better_placed() -> None:
    table = members({"id": 1, "rank": -9}, {"id": 2, "rank": -8}, {"id": 3, "rank": -7}, {"id": 4, "rank": -6})
    found = by_doc(
        resolve(table, links((NEAR, 1, 2, 0.75), (NEAR, 2, 3, 1.0), (NEAR, 3, 4, 0.9), (NEAR, 2, 4, 0.9)), "longest")
    )
    assert found["d2"]["matched_with"] == "d3"  # more alike than the one that stays
    assert found["d4"]["matched_with"] == "d2"  # as alike as d3, but longer
    assert found["d4"]["jaccard"] == pytest.approx(0.9)
    assert {row["cluster_id"] for row in found.values()} == {"d1"}


def test_a_copy_is_dropped_as_a_copy_even_when_its_original_goes_too() -> None:
    table = members(
        {"id": 1, "rank": -9}, {"id": 2, "rank": -8}, {"id": 3, "rank": -8, "url": "v"}, {"id": 4, "doc_id": "d2"}
    )
    found = resolve(
        table, links((NEAR, 1, 2, 0.8), (EXACT, 3, 2, 1.0), (RECORD, 4, 2, None), (NEAR, 1, 3, 0.8)), "longest"
    ).to_pylist()
    assert [row["kind"] for row in found] == [None, NEAR, EXACT, RECORD]
    assert [row["matched_with"] for row in found] == [None, "d1", "d2", "d2"]
    assert [row["jaccard"] for row in found][2:] == [1.0, None]
    assert {row["cluster_id"] for row in found} == {"d1"}


def test_components_do_not_mix() -> None:
    table = members({"id": 1}, {"id": 2}, {"id": 8, "component": 8, "rank": -1}, {"id": 9, "component": 8})
    found = by_doc(resolve(table, links((URL, 2, 1, None), (EXACT, 9, 8, 1.0)), "longest"))
    assert {doc: row["cluster_id"] for doc, row in found.items()} == {"d1": "d1", "d2": "d1", "d8": "d8", "d9": "d8"}


def test_nothing_to_resolve_is_no_rows() -> None:
    assert resolve(MEMBERS.empty_table(), LINKS.empty_table(), "first").num_rows == 0


def test_a_defect_upstream_is_an_error_and_not_a_silent_loss() -> None:
    with pytest.raises(SluiceError, match="single document"):
        resolve(members({"id": 1}, {"id": 2, "component": 2}), LINKS.empty_table(), "first")
    with pytest.raises(SluiceError, match="without a link"):
        resolve(members({"id": 1}, {"id": 2}), LINKS.empty_table(), "first")
