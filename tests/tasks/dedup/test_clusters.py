"""The clusters of a small, nasty corpus: on the driver and on Spark, both against a reference written out by hand."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from xxhash import xxh32_intdigest

from infra.tables import write_table
from tasks.dedup.candidates import Banding
from tasks.dedup.clusters import Clustering, find_clusters
from tasks.dedup.keep import RESOLVED
from tasks.dedup.minhash import shingles
from tasks.dedup.normalise import plain, simplify, text_digest
from tasks.signatures import SignatureParams, sign

Document = dict[str, Any]
CLUSTERING = Clustering(Banding("longest", 14, 8), same_url=False, min_jaccard=0.7)


def corpus() -> list[Document]:
    """Families of pages that drift apart, plus copies, records met twice, and texts of next to nothing."""
    generator = np.random.default_rng(11)
    documents: list[Document] = []

    def add(text: str, **fields: Any) -> None:
        number = len(documents)
        day = int(generator.integers(1, 28))
        documents.append(
            {
                "doc_id": f"{xxh32_intdigest(str(number).encode()):08x}",
                "url": f"http://site{number % 7}.example/page/{number}",
                "captured_at": f"2024-05-{day:02d}T09:00:00Z",
                "text": text,
            }
            | fields
        )

    for _ in range(12):
        words = [f"w{k}" for k in generator.integers(0, 3000, int(generator.integers(60, 200)))]
        for _ in range(int(generator.integers(1, 7))):
            add(" ".join(words))
            words = list(words)
            for place in generator.integers(0, len(words), int(generator.integers(1, 6))):
                words[place] = f"v{generator.integers(0, 10**6)}"
    for number in (0, 5, 9):
        add(documents[number]["text"].replace(" ", "  "))  # an exact copy but for whitespace
        documents.append(dict(documents[number + 1]))  # a record met twice
    documents.append({**documents[3], "text": documents[3]["text"] + " and more"})  # the same id, another text
    add("short", url=None, captured_at=None)
    add("Short!", url=None, captured_at=None)
    add("")
    add("...")
    add("  ")
    return documents


def reference(documents: list[Document], minimum: float | None) -> dict[int, tuple]:
    """position -> (cluster_id, kind, kept, matched_with, jaccard), by the definitions and nothing else."""
    facts = []
    for position, document in enumerate(documents):
        evened, simplified = plain(document["text"]), simplify(document["text"])
        sketch = MinHash(num_perm=112, seed=1, hashfunc=xxh32_intdigest)
        sketch.update_batch(shingles(simplified, 5))
        url = "" if document["url"] is None else document["url"].removeprefix("http://")
        order = (-len(evened), url, document["captured_at"] or "9999", document["doc_id"], position)
        facts.append((order, evened, sketch.hashvalues if simplified else None))

    copies: dict[int, tuple[str, int]] = {}
    for kind, key in (("record", lambda p: documents[p]["doc_id"]), ("exact", lambda p: facts[p][1])):
        leaders: dict[str, int] = {}
        for position in sorted((p for p in range(len(facts)) if p not in copies), key=lambda p: facts[p][0]):
            leader = leaders.setdefault(key(position), position)
            if leader != position:
                copies[position] = (kind, leader)

    left = [p for p in range(len(facts)) if p not in copies and facts[p][2] is not None]
    near: dict[tuple[int, int], float] = {}
    for band in range(14):
        buckets: dict[bytes, list[int]] = {}
        for p in left:
            buckets.setdefault(facts[p][2][band * 8 : band * 8 + 8].tobytes(), []).append(p)
        for bucket in buckets.values():
            bucket.sort(key=lambda p: (-len(facts[p][1]), text_digest(facts[p][1])))
            for before, p in pairwise(bucket):
                for other in {bucket[0], before}:
                    estimate = float((facts[p][2] == facts[other][2]).mean())
                    if minimum is None or estimate >= minimum - 1e-6:
                        near[min(p, other), max(p, other)] = estimate

    label = list(range(len(facts)))
    for a, b in [*((p, leader) for p, (_, leader) in copies.items()), *near]:
        old, new = label[a], label[b]
        label = [new if x == old else x for x in label]
    found = {}
    for component in set(label):
        group = sorted((p for p in range(len(facts)) if label[p] == component), key=lambda p: facts[p][0])
        for p in group if len(group) > 1 else []:
            cluster = documents[group[0]]["doc_id"]
            if p == group[0]:
                found[p] = (cluster, None, True, None, None)
            elif p in copies:
                kind, leader = copies[p]
                found[p] = (cluster, kind, False, documents[leader]["doc_id"], 1.0 if kind == "exact" else None)
            else:
                candidates = [
                    (-j, facts[a if b == p else b][0], a if b == p else b) for (a, b), j in near.items() if p in (a, b)
                ]
                likeness, _, other = min(candidates)
                found[p] = (cluster, "near", False, documents[other]["doc_id"], pytest.approx(-likeness, abs=1e-6))
    return found


def write_parts(folder: Path, documents: list[Document], n_parts: int) -> list[Path]:
    """Signature files of consecutive documents."""
    borders = np.linspace(0, len(documents), n_parts + 1).astype(int)
    paths = []
    for part, (start, end) in enumerate(pairwise(borders)):
        table = pa.Table.from_pylist(documents[start:end])
        table = table.append_column("row", pa.array(range(end - start), pa.int32()))
        paths.append(folder / f"part-{part:05d}.parquet")
        write_table(paths[-1], sign(table, SignatureParams()))
    return paths


def cluster(spark: Any, folder: Path, documents: list[Document], n_parts: int, **options: Any) -> pa.Table:
    paths = write_parts(folder / "signatures", documents, n_parts)
    (folder / "scratch").mkdir()
    clustering = options.pop("clustering", CLUSTERING)
    rows = find_clusters(spark, paths, clustering, folder / "scratch", **options)
    return pa.concat_tables([rows(part) for part in range(n_parts)])


def by_position(found: pa.Table, documents: list[Document], n_parts: int) -> dict[int, tuple]:
    borders = np.linspace(0, len(documents), n_parts + 1).astype(int)
    columns = ("cluster_id", "kind", "kept", "matched_with", "jaccard")
    return {
        int(borders[row["id"] >> 32]) + (row["id"] & 0xFFFFFFFF): tuple(row[name] for name in columns)
        for row in found.to_pylist()
    }


def test_driver_and_spark_give_the_clusters_of_the_definition(spark: Any, tmp_path: Path) -> None:
    documents = corpus()
    expected = reference(documents, 0.7)
    kinds = [row[1] for row in expected.values()]
    assert {kind: kinds.count(kind) > 1 for kind in ("record", "exact", "near", None)} == dict.fromkeys(
        ("record", "exact", "near", None), True
    )
    on_driver = cluster(spark, tmp_path / "driver", documents, 3)
    assert by_position(on_driver, documents, 3) == expected
    on_spark = cluster(spark, tmp_path / "spark", documents, 3, driver_links=0)
    assert on_spark.schema == RESOLVED
    assert on_spark.equals(on_driver)


def test_clusters_do_not_depend_on_how_files_are_cut_and_numbered(spark: Any, tmp_path: Path) -> None:
    documents = corpus()
    shuffled = [documents[k] for k in np.random.default_rng(5).permutation(len(documents))]
    columns = ["doc_id", "cluster_id", "kind", "kept", "matched_with", "jaccard"]
    tables = [
        cluster(spark, tmp_path / name, given, parts).select(columns).sort_by([(c, "ascending") for c in columns])
        for name, given, parts in (("a", documents, 1), ("b", shuffled, 5))
    ]
    assert tables[0].equals(tables[1])


def test_captures_of_one_url_are_duplicates_when_asked(spark: Any, tmp_path: Path) -> None:
    texts = ["one page about rivers and their banks", "a wholly different page about the price of bread", "no address"]
    urls = ["http://a.example/p?utm_source=x", "https://www.a.example/p", None]
    documents = [
        {"doc_id": f"d{k}", "url": url, "captured_at": f"2024-0{k + 1}-01T00:00:00Z", "text": text}
        for k, (text, url) in enumerate(zip(texts, urls, strict=True))
    ]
    asked = Clustering(Banding("newest", 14, 8), same_url=True, min_jaccard=0.7)
    rows = cluster(spark, tmp_path, documents, 1, clustering=asked).to_pylist()
    assert [(row["doc_id"], row["kind"], row["keep_reason"]) for row in rows] == [
        ("d0", "url", "newest"),
        ("d1", None, "newest"),
    ]
