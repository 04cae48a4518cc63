from itertools import chain
from typing import Any

import pytest

from infra.errors import BadConfig, BadInput
from infra.params import Runtime
from infra.store import Artifact, Store
from tasks.dedup import DedupParams, deduplicate
from tasks.dedup.stage import CLUSTERS, KEPT
from tasks.documents import open_part
from tasks.signatures import SignatureParams, signatures
from tests.tasks.raw_documents import raw_documents

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]  # letters, as digits all count as 0
LONG = " ".join(WORDS)
NEARLY = " ".join(WORDS[:-1])
OTHER = " ".join(reversed(WORDS))
PARTS = [
    [("a1", "http://a.example/long", LONG), ("a2", "http://a.example/near", NEARLY), ("a3", None, OTHER)],
    [],
    [("b1", "http://b.example/copy", LONG + "\n"), ("a3", None, OTHER), ("b2", "http://b.example/", "")],
]


def signed(store: Store, parts: list, params: SignatureParams | None = None) -> Artifact:
    return signatures.run(store, documents=raw_documents(store, parts), params=params, runtime=Runtime(cores=2))


def kept_ids(artifact: Artifact) -> list[list[str]]:
    return [part.column("doc_id").to_pylist() for part in artifact.iter_parts("kept")]


def test_one_of_each_stays_and_the_account_says_where_the_others_went(spark: Any, store: Store) -> None:
    made = deduplicate.run(store, signatures=[signed(store, PARTS)], params=DedupParams())
    assert made.read_table("kept").schema == KEPT
    assert made.read_table("clusters").schema == CLUSTERS
    assert kept_ids(made) == [["a1", "a3"], [], ["b2"]]
    counts = made.manifest.counts
    assert (counts.in_.n, counts.dropped, counts.out.n) == (6, {"exact": 1, "near": 1, "record": 1}, 3)
    assert made.manifest.metrics["clusters"] == 2
    rows = {(row["part"], row["row"]): row for row in made.read_table("clusters").to_pylist()}
    assert sorted(rows) == [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]  # b2 is like nothing else
    assert (rows[0, 1]["kind"], rows[0, 1]["cluster_id"], rows[0, 1]["keep_reason"]) == ("near", "a1", "longest")
    assert (rows[2, 0]["kind"], rows[2, 0]["matched_with"], rows[2, 0]["jaccard"]) == ("exact", "a1", 1.0)
    assert (rows[2, 1]["kind"], rows[2, 1]["kept"], rows[0, 2]["keep_reason"]) == ("record", False, "position")
    assert open_part(made, 0, ["text"]).column("text").to_pylist() == [LONG, OTHER]


def test_several_corpora_are_one_set_with_parts_one_after_the_other(spark: Any, store: Store) -> None:
    parents = [signed(store, [PARTS[0]]), signed(store, [PARTS[2], PARTS[1]])]
    made = deduplicate.run(store, signatures=parents, params=DedupParams(keep="first"))
    again = deduplicate.run(store, signatures=parents[::-1], params=DedupParams(keep="first"))
    assert again.version == made.version
    assert made.part_count == 3
    assert sorted(chain.from_iterable(kept_ids(made))) in (
        ["a1", "a3", "b2"],
        ["a3", "b1", "b2"],
    )  # by the versions' order
    assert [open_part(made, part).num_rows for part in range(3)] == [len(ids) for ids in kept_ids(made)]


def test_nothing_in_common_means_nothing_dropped(spark: Any, store: Store) -> None:
    made = deduplicate.run(store, signatures=[signed(store, [[("x", None, LONG), ("y", None, OTHER)]])])
    assert kept_ids(made) == [["x", "y"]]
    assert made.read_table("clusters").num_rows == 0


def test_signatures_that_cannot_be_compared_are_refused(spark: Any, store: Store) -> None:
    one = signed(store, [PARTS[0]])
    other = signed(store, [PARTS[0]], SignatureParams(ngram=3))
    with pytest.raises(BadInput, match="cannot be compared: their params differ"):
        deduplicate.run(store, signatures=[one, other])


def test_bands_that_do_not_fit_are_refused(spark: Any, store: Store) -> None:
    with pytest.raises(BadConfig, match=r"20 bands of 8 values need 160 permutations, but signatures/.* has 112"):
        deduplicate.run(store, signatures=[signed(store, [PARTS[0]])], params=DedupParams(bands=20))
