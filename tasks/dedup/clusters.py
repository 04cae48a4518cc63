"""The clusters of duplicates in a set of signature files: links from Spark, then components, then what stays.

Links that fit in memory are verified and joined on the driver; more are on Spark, by the same functions applied to
slices (`verified`, `keep.resolve`) and the same definition of a component, so both ways give the same rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.tables import read_table, row_count, write_table
from tasks.dedup.candidates import (
    Banding,
    collapse_copies,
    copy_links,
    in_tasks,
    load_facts,
    near_candidates,
    read_facts,
)
from tasks.dedup.components import connected_components, connected_components_on_spark
from tasks.dedup.keep import EXACT, LINKS, MEMBERS, NEAR, RESOLVED, KeepPolicy, resolve, unpack
from tasks.dedup.minhash import estimated_jaccard, stack

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Above this many links (verified and not) the work stays on Spark. A link brings at most two documents of 0.7 kB
# (signature, ids, URL) to the driver: 1.4 GB in the worst case, usually a third of it.
DRIVER_LINKS = 1_000_000
PAIRS_AT_ONCE = 65_536  # signature pairs compared in one go: 2 x 29 MB
MEMBERS_A_SLICE = 200_000  # documents of clusters that one Spark task resolves, unless one cluster is larger

FOUND = pa.schema([LINKS.field(name) for name in ("kind", "a", "b")])  # links before they are verified
FOUND_COLUMNS = "kind string, a long, b long"
EDGE_COLUMNS = "kind string, a long, b long, jaccard float"
RESOLVED_COLUMNS = (
    "id long, cluster_id string, doc_id string, kind string, kept boolean, matched_with string, jaccard float,"
    " keep_reason string"
)

ClusterRows = Callable[[int], pa.Table]  # part -> its rows of `keep.RESOLVED`, by row


@dataclass(frozen=True)
class Clustering:
    """The part of the parameters that shapes clusters. `min_jaccard` None takes every candidate."""

    banding: Banding
    same_url: bool
    min_jaccard: float | None


def find_clusters(
    spark: "SparkSession",
    paths: Sequence[Path],
    clustering: Clustering,
    scratch: Path,
    driver_links: int = DRIVER_LINKS,
) -> ClusterRows:
    """Cluster the documents of signature files; part k is `paths[k]`.

    Args:
        scratch: an empty folder, visible to every executor, for what does not fit in memory.
        driver_links: more links than this are joined on Spark.

    Returns:
        A function from a part to the rows (`keep.RESOLVED`) of its documents that are in a cluster, by row.
    """
    from pyspark import StorageLevel

    if not paths:
        return lambda part: RESOLVED.empty_table()  # noqa: ARG005  no part will be asked for
    facts = load_facts(spark, paths, clustering.banding, scratch)
    collapsed = collapse_copies(facts, clustering.same_url).persist(StorageLevel.MEMORY_AND_DISK)
    folder = scratch / "found"
    copy_links(collapsed).unionByName(near_candidates(collapsed)).write.parquet(str(folder))
    collapsed.unpersist()
    if sum(map(row_count, folder.glob("*.parquet"))) <= driver_links:
        return _in_memory(_read_files(folder, FOUND), paths, clustering)
    return _on_spark(spark, spark.read.schema(FOUND_COLUMNS).parquet(str(folder)), facts, clustering, scratch)


def verified(
    links: pa.Table, signature_a: pa.ChunkedArray, signature_b: pa.ChunkedArray, minimum: float | None
) -> pa.Table:
    """Near candidates (kind, a, b) that estimated Jaccard confirms, as `LINKS`.

    Args:
        signature_a, signature_b: binary, the signatures of `a` and `b`, row by row.
        minimum: smallest estimate to accept; None accepts every candidate.
    """
    estimates = [np.empty(0, dtype=np.float32)]
    for start in range(0, links.num_rows, PAIRS_AT_ONCE):
        left = stack(signature_a.slice(start, PAIRS_AT_ONCE).to_pylist())
        right = stack(signature_b.slice(start, PAIRS_AT_ONCE).to_pylist())
        estimates.append(estimated_jaccard(left, right))
    jaccard = np.concatenate(estimates)
    table = pa.table([links.column("kind"), links.column("a"), links.column("b"), jaccard], schema=LINKS)
    # compared as float32 on both sides: 84 of 112 equal positions meet a minimum of 0.75 exactly
    return table if minimum is None else table.filter(pa.array(jaccard >= np.float32(minimum)))


# -- links that fit in memory ---------------------------------------------------------------------------------------


def _in_memory(links: pa.Table, paths: Sequence[Path], clustering: Clustering) -> ClusterRows:
    near = pc.equal(links.column("kind"), NEAR)
    copies, candidates = links.filter(pc.invert(near)), links.filter(near)
    ids = np.unique(np.concatenate([links.column("a").to_numpy(), links.column("b").to_numpy()]))
    facts = _facts_of(ids, paths, clustering.banding)
    signature = facts.column("signature")
    pairs = verified(
        candidates,
        signature.take(pa.array(np.searchsorted(ids, candidates.column("a").to_numpy()))),
        signature.take(pa.array(np.searchsorted(ids, candidates.column("b").to_numpy()))),
        clustering.min_jaccard,
    )
    edges = pa.concat_tables([_with_jaccard(copies), pairs])
    nodes, labels = connected_components(edges.column("a").to_numpy(), edges.column("b").to_numpy())
    members = facts.take(pa.array(np.searchsorted(ids, nodes))).append_column("component", pa.array(labels))
    resolved = resolve(members.select(MEMBERS.names), edges, clustering.banding.policy)
    parts = unpack(resolved.column("id").to_numpy())[0]

    def rows(part: int) -> pa.Table:
        start, end = np.searchsorted(parts, [part, part + 1])
        return resolved.slice(start, end - start)

    return rows


def _facts_of(ids: npt.NDArray[np.int64], paths: Sequence[Path], banding: Banding) -> pa.Table:
    """What clustering needs to know of some documents, in the order of their ascending ids."""
    parts = unpack(ids)[0]
    found = []
    for part in np.unique(parts).tolist():
        table = read_facts(paths[part], part, banding).drop_columns(["bands"])
        own = table.column("id").to_numpy()  # ascending, as the rows of a part are
        found.append(table.take(pa.array(np.searchsorted(own, ids[parts == part]))))
    return pa.concat_tables(found) if found else read_facts(paths[0], 0, banding).slice(0, 0)


def _with_jaccard(copies: pa.Table) -> pa.Table:
    """Links between copies as `LINKS`: 1 for equal texts, null where texts were not compared."""
    exact = pc.equal(copies.column("kind"), EXACT)
    jaccard = pc.if_else(exact, pa.scalar(1.0, pa.float32()), pa.scalar(None, pa.float32()))
    return pa.table([copies.column("kind"), copies.column("a"), copies.column("b"), jaccard], schema=LINKS)


# -- links that do not ----------------------------------------------------------------------------------------------


def _on_spark(
    spark: "SparkSession", links: "DataFrame", facts: "DataFrame", clustering: Clustering, scratch: Path
) -> ClusterRows:
    from pyspark.sql import functions as F

    pairs, edge_folder = scratch / "pairs", scratch / "edges"
    signatures = facts.select("id", "signature")
    (
        links.where(F.col("kind") == NEAR)
        .join(signatures.toDF("a", "signature_a"), "a")
        .join(signatures.toDF("b", "signature_b"), "b")
        .select("kind", "a", "b", "signature_a", "signature_b")
        .write.parquet(str(pairs))
    )
    in_tasks(
        spark, partial(_verify_file, clustering.min_jaccard, edge_folder / "near"), sorted(pairs.glob("*.parquet"))
    )
    exact = F.when(F.col("kind") == EXACT, F.lit(1.0).cast("float"))
    copies = links.where(F.col("kind") != NEAR).select("kind", "a", "b", exact.alias("jaccard"))
    copies.write.parquet(str(edge_folder / "copies"))
    edges = spark.read.schema(EDGE_COLUMNS).option("recursiveFileLookup", "true").parquet(str(edge_folder))

    labels = connected_components_on_spark(spark, edges, scratch)
    members = labels.join(facts.select("id", "rank", "url", "captured", "doc_id"), "id").persist()
    slices = -(-members.count() // MEMBERS_A_SLICE)
    in_slice = F.pmod(F.xxhash64("component"), F.lit(slices)).alias("slice")
    component_of = members.select(F.col("id").alias("a"), "component")
    for name, table, columns in (("members", members, MEMBERS), ("links", edges.join(component_of, "a"), LINKS)):
        sliced = table.select(in_slice, *columns.names).repartition("slice")
        sliced.write.partitionBy("slice").parquet(str(scratch / name))
    members.unpersist()
    in_tasks(spark, partial(_resolve_slice, clustering.banding.policy, scratch), list(range(slices)))

    folder = scratch / "by_part"
    resolved = spark.read.schema(RESOLVED_COLUMNS).parquet(str(scratch / "resolved"))
    by_part = resolved.withColumn("part", F.shiftright("id", 32)).repartition("part")
    by_part.write.partitionBy("part").parquet(str(folder))
    return lambda part: _read_files(folder / f"part={part}", RESOLVED).sort_by("id")


def _verify_file(minimum: float | None, folder: Path, pairs: Path) -> None:
    with pq.ParquetFile(pairs) as file:
        batches = [
            verified(table, table.column("signature_a"), table.column("signature_b"), minimum)
            for table in (pa.Table.from_batches([batch]) for batch in file.iter_batches(PAIRS_AT_ONCE))
        ]
    write_table(folder / pairs.name, pa.concat_tables([LINKS.empty_table(), *batches]))


def _resolve_slice(policy: KeepPolicy, scratch: Path, index: int) -> None:
    members = _read_files(scratch / "members" / f"slice={index}", MEMBERS)
    links = _read_files(scratch / "links" / f"slice={index}", LINKS)
    write_table(scratch / "resolved" / f"{index:05d}.parquet", resolve(members, links, policy))


def _read_files(folder: Path, schema: pa.Schema) -> pa.Table:
    """What Spark wrote into one folder, which does not exist when there was nothing to write."""
    tables = [read_table(path, schema.names).cast(schema) for path in sorted(folder.glob("*.parquet"))]
    return pa.concat_tables([schema.empty_table(), *tables])
