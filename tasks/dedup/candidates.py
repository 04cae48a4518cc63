"""From signature files to links between documents, as Spark DataFrames.

Copies are collapsed first, each kind among what the one before left: equal doc_id (`record`), if asked equal canonical
URL (`url`), equal text (`exact`). What is left is hashed band by band (`minhash.band_keys`), and every document of a
bucket is linked to two others: the first of the bucket and the one just before it. That finds what all pairs would,
almost always, since similar documents meet in several bands; and a bucket of a million pages costs two million links
and no list in memory. Inside a bucket documents stand by length and text digest, so that neighbours are alike and
the links do not depend on how files are numbered or on which copy stays.

Only ids, URLs, hashes and numbers are shuffled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.tables import read_table, write_table
from tasks.dedup.keep import EXACT, NEAR, ORDER, RECORD, UNKNOWN, URL, KeepPolicy, pack, policy_rank
from tasks.dedup.minhash import band_keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FACTS = (
    "rank long, url string, captured long, doc_id string, id long, text_digest string, n_chars long,"
    " bands array<long>, signature binary"
)
SIGNATURE_COLUMNS = ("doc_id", "row", "url_canonical", "captured_at", "text_digest", "n_chars", "signature")

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Banding:
    """How documents are read: the keep policy's number and the bands of the signature."""

    policy: KeepPolicy
    bands: int
    rows: int


def read_facts(path: Path, part: int, banding: Banding) -> pa.Table:
    """One part of a `signatures` table with what clustering needs: the columns of `FACTS`."""
    table = read_table(path, SIGNATURE_COLUMNS)
    ids = pack(part, table.column("row").to_numpy())
    captured = pc.fill_null(table.column("captured_at").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()), UNKNOWN)
    times = captured.to_numpy()
    n_chars = table.column("n_chars").to_numpy().astype(np.int64)
    keys = [
        [] if signature is None else band_keys(signature, banding.bands, banding.rows)
        for signature in table.column("signature").to_pylist()
    ]
    return pa.table(
        {
            "rank": policy_rank(banding.policy, n_chars, times, ids),
            "url": pc.fill_null(table.column("url_canonical"), ""),
            "captured": times,
            "doc_id": table.column("doc_id"),
            "id": ids,
            "text_digest": table.column("text_digest"),
            "n_chars": n_chars,
            "bands": pa.array(keys, type=pa.list_(pa.int64())),
            "signature": table.column("signature").cast(pa.binary()),
        }
    )


def load_facts(spark: "SparkSession", paths: Sequence[Path], banding: Banding, scratch: Path) -> "DataFrame":
    """The facts of all documents; part k is `paths[k]`. Written to `scratch`, from where Spark reads them natively."""
    folder = scratch / "facts"
    in_tasks(spark, partial(_write_facts, folder, banding), list(enumerate(paths)))
    return spark.read.schema(FACTS).parquet(str(folder))


def in_tasks(spark: "SparkSession", function: Callable[[In], Out], jobs: Sequence[In]) -> list[Out]:
    """`function` of each job, one Spark task a job. Tasks over files, since Spark's Arrow functions want pandas."""
    if not jobs:
        return []
    return spark.sparkContext.parallelize(jobs, len(jobs)).map(function).collect()


def collapse_copies(facts: "DataFrame", same_url: bool) -> "DataFrame":
    """`facts` with `kind` and `leader`: what a document is a copy by and of which id; null for what is left."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    classes = [(RECORD, "doc_id"), *([(URL, "url")] if same_url else []), (EXACT, "text_digest")]
    found = facts.withColumn("kind", F.lit(None).cast("string")).withColumn("leader", F.lit(None).cast("long"))
    for kind, column in classes:
        # a document that is a copy already, or has no URL, is a group by itself
        joins = F.col("kind").isNull() & (F.col(column) != "")
        group = F.when(joins, F.concat(F.lit("="), F.col(column))).otherwise(F.col("id").cast("string"))
        first = F.first("id").over(Window.partitionBy(group).orderBy(*ORDER))
        found = found.withColumn("first", first)
        is_copy = F.col("first") != F.col("id")
        found = (
            found.withColumn("leader", F.when(is_copy, F.col("first")).otherwise(F.col("leader")))
            .withColumn("kind", F.when(is_copy, F.lit(kind)).otherwise(F.col("kind")))
            .drop("first")
        )
    return found


def copy_links(collapsed: "DataFrame") -> "DataFrame":
    """(kind, a, b): each copy and what it is a copy of."""
    from pyspark.sql import functions as F

    return collapsed.where("kind is not null").select("kind", F.col("id").alias("a"), F.col("leader").alias("b"))


def near_candidates(collapsed: "DataFrame") -> "DataFrame":
    """(kind, a, b) with a < b: pairs of a bucket, each pair once."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    left = collapsed.where("kind is null").select("id", "n_chars", "text_digest", F.explode("bands").alias("bucket"))
    inside = Window.partitionBy("bucket").orderBy(F.desc("n_chars"), "text_digest")
    linked = left.select(
        "id", F.first("id").over(inside).alias("centre"), F.lag("id").over(inside).alias("previous")
    ).where("previous is not null")
    return (
        linked.select("id", F.explode(F.array("centre", "previous")).alias("other"))
        .select(F.lit(NEAR).alias("kind"), F.least("id", "other").alias("a"), F.greatest("id", "other").alias("b"))
        .distinct()
    )


def _write_facts(folder: Path, banding: Banding, job: tuple[int, Path]) -> None:
    part, path = job
    write_table(folder / f"part-{part:05d}.parquet", read_facts(path, part, banding))
