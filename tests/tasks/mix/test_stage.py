import json
from typing import Any

import pyarrow as pa
import pytest

from infra.params import Params, Runtime
from infra.split import SplitParams, split_of
from infra.stage import Draft, Stage
from infra.store import Artifact, Store
from tasks.dedup.urls import canonical_url
from tasks.documents import Documents
from tasks.mix import MixParams, mix
from tasks.mix.stage import DOCUMENTS, finish, long_enough
from tests.tasks.raw_documents import raw_documents

PARTS = [
    [(f"{part}{row}", f"http://site{row}.example/p?utm_source={part}", f"texte numéro {row}") for row in range(20)]
    for part in range(2)
]
HALVES = MixParams(split=SplitParams(validation=0.25, test=0.25), min_words=3)


def mixed(store: Store, parts: list = PARTS, params: MixParams = HALVES) -> Artifact:
    return mix.run(store, documents=raw_documents(store, parts), params=params, runtime=Runtime(cores=2))


def test_each_document_once_with_text_split_domain_and_size(spark: Any, store: Store) -> None:
    made = mixed(store)
    table = made.read_table("documents")
    assert table.schema == DOCUMENTS
    assert table.column("doc_id").to_pylist() == [doc_id for part in PARTS for doc_id, _, _ in part]
    for row in table.to_pylist():
        assert row["split"] == split_of(canonical_url(row["url"]), HALVES.split)
        assert row["n_bytes"] == len(row["text"].encode())
        assert (row["domain"], row["quality"], row["site"], row["language"]) == ("general", None, None, None)
        assert row["anneal"] is False
    assert set(table.column("split").to_pylist()) == {"train", "validation", "test"}
    sides = table.column("split").to_pylist()
    assert sides[:20] == sides[20:]  # the second part holds the same pages under URLs that track


def test_recipe_accounts_for_every_byte(spark: Any, store: Store) -> None:
    made = mixed(store)
    recipe = json.loads(made.file("recipe.json").read_text())
    general = recipe["domains"]["general"]
    table = made.read_table("documents")
    for split in ("train", "validation", "test"):
        rows = [row for row in table.to_pylist() if row["split"] == split]
        assert general[split] == {"documents": len(rows), "bytes": sum(row["n_bytes"] for row in rows)}
        assert made.manifest.metrics[f"documents_{split}"] == len(rows)
    assert (general["share"], general["drawn"], recipe["annealing"]) == (1.0, 1.0, None)
    assert made.manifest.metrics["bytes"] == sum(table.column("n_bytes").to_pylist())


def test_the_split_follows_the_page_into_another_crawl(spark: Any, store: Store) -> None:
    def sides(parts: list) -> dict[str, str]:
        rows = mixed(store, parts).read_table("documents", ["url", "split"]).to_pylist()
        return {canonical_url(row["url"]): row["split"] for row in rows}

    small, grown = sides([PARTS[0][3:9]]), sides([PARTS[1][::-1], PARTS[0]])
    assert small.items() <= grown.items()


class SpanParams(Params):
    pass


def _cut(documents: Artifact, params: SpanParams, out: Draft) -> None:
    rows = documents.read_part("documents", 0, ["doc_id"])
    kept = rows.append_column("row", pa.array(range(rows.num_rows), pa.int32()))
    spans = [
        {"row": 0, "start": 0, "end": 4, "replacement": ""},
        {"row": 1, "start": 0, "end": 3, "replacement": "NAME"},
    ]
    out.write("kept", kept)
    out.write("spans", pa.Table.from_pylist(spans, schema=SPANS))
    out.count("documents", rows.num_rows, out=rows.num_rows)


SPANS = pa.schema([("row", pa.int32()), ("start", pa.int32()), ("end", pa.int32()), ("replacement", pa.string())])


def test_edits_are_applied_and_what_they_leave_too_short_is_dropped(spark: Any, store: Store) -> None:
    _cut.__annotations__["documents"] = Documents
    cutting = Stage(
        _cut,
        name="decontaminate",
        version=0,
        libraries=(),
        tables={"kept": pa.schema([("doc_id", pa.string()), ("row", pa.int32())]), "spans": SPANS},
        one_to_one=False,
        fingerprint=None,
    )
    texts = ["one two three", "Ann two three", "two words"]
    raw = raw_documents(store, [[(f"d{k}", None, text) for k, text in enumerate(texts)]])
    edited = cutting.run(store, documents=raw, params=SpanParams())
    made = mix.run(store, documents=edited, params=HALVES)
    table = made.read_table("documents")
    assert table.column("text").to_pylist() == ["NAME two three", "two words"]  # the short one was never edited
    assert table.column("row").to_pylist() == [1, 2]
    assert made.manifest.counts.dropped == {"too_short_after_edits": 1}


def test_only_edited_texts_are_judged_again() -> None:
    table = pa.table({"text": ["a b", "a b", "a b c"]})
    before = pa.chunked_array([["a b", "a b c", "a b c d"]])
    assert long_enough(table, before, 3).column("text").to_pylist() == ["a b", "a b c"]


def test_an_edit_that_takes_no_word_away_drops_nothing() -> None:
    chinese = "请写信给 ann@corp.cn " + "文章" * 800
    english = "word " * 48 + "ann@corp.com"
    before = pa.chunked_array([[chinese, english, "文章" * 30]])
    after = ["请写信给 user1@example.com " + "文章" * 800, "word " * 48 + "user1@example.com", "文章" * 10]
    kept = long_enough(pa.table({"text": after}), before, 50)
    assert kept.column("text").to_pylist() == after[:2]  # 49 words were no more before; of 60 letters 20 are left


def test_a_scores_domain_and_quality_come_through_and_gaps_are_general() -> None:
    table = pa.table(
        {
            "doc_id": ["x", "y"],
            "row": pa.array([0, 4], pa.int32()),
            "text": ["", "z"],
            "domain": ["code", None],
            "quality": [0.5, None],
        }
    )
    done = finish(table, SplitParams(validation=0, test=0), {"code": 0.5, "general": 0.1})
    assert done.schema == DOCUMENTS
    assert done.column("domain").to_pylist() == ["code", "general"]
    assert done.column("quality").to_pylist() == [pytest.approx(0.5), None]
    assert done.column("n_bytes").to_pylist() == [0, 1]
    assert done.column("anneal").to_pylist() == [True, False]
