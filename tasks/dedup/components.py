"""Connected components: in memory when the links fit, on Spark when they do not. Both give the same components.

In memory: every node takes the smallest label it can see and follows it (Shiloach and Vishkin 1982), vectorised.
On Spark: alternating large-star and small-star steps (Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii 2014,
"Connected Components in MapReduce and Beyond"), O(log² n) rounds of one shuffle a step, no list of neighbours in
memory. A component's label is the smallest id in it, in both.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from infra.errors import SluiceError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

IntArray = npt.NDArray[np.int64]
MAX_ROUNDS = 100  # never reached: components of 10^12 nodes need fewer; a guard against looping for ever


def connected_components(a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    """Components of the graph with links a[i] to b[i].

    Returns:
        (nodes, labels): the distinct ids in ascending order, and for each the smallest id of its component.
    """
    nodes, ends = np.unique(np.concatenate([a, b]), return_inverse=True)
    left, right = ends[: len(a)], ends[len(a) :]
    labels = np.arange(len(nodes))
    while True:
        smallest = np.minimum(labels[left], labels[right])
        before = labels.copy()
        for side in (left, right):
            np.minimum.at(labels, before[side], smallest)  # hook the old root, so that whole trees join
            np.minimum.at(labels, side, smallest)
        while not np.array_equal(labels, jumped := labels[labels]):
            labels = jumped
        if np.array_equal(labels, before):
            return nodes, nodes[labels]


def connected_components_on_spark(spark: "SparkSession", links: "DataFrame", scratch: Path) -> "DataFrame":
    """Components of the graph with links (a: long, b: long), as a DataFrame (id: long, component: long).

    Each round is written to `scratch` as Parquet and read back, so that no plan grows with the number of rounds and a
    lost executor costs one round. The folder must be visible to every executor.
    """
    from pyspark.sql import functions as F

    edges = links.select(F.col("a").alias("u"), F.col("b").alias("v")).where("u <> v").distinct()
    before = None
    for number in range(MAX_ROUNDS):
        path = str(scratch / f"stars-{number:03d}")
        small_star(large_star(edges)).write.parquet(path)
        edges = spark.read.schema("u long, v long").parquet(path)
        now = edges.agg(F.count("*"), F.bit_xor(F.xxhash64("u", "v"))).first()
        if now == before:
            roots = edges.select(F.col("v").alias("id"), F.col("v").alias("component")).distinct()
            return edges.select(F.col("u").alias("id"), F.col("v").alias("component")).unionByName(roots)
        before = now
    raise SluiceError(f"dedup: components did not settle in {MAX_ROUNDS} rounds")


def large_star(edges: "DataFrame") -> "DataFrame":
    """Link every larger neighbour of each node to the smallest of the node and its neighbours."""
    from pyspark.sql import functions as F

    both = edges.unionByName(edges.select(F.col("v").alias("u"), F.col("u").alias("v")))
    return _star(both).where("v > u").select(F.col("v").alias("u"), F.col("smallest").alias("v")).distinct()


def small_star(edges: "DataFrame") -> "DataFrame":
    """Link each node and its smaller neighbours to the smallest of them."""
    from pyspark.sql import functions as F

    down = edges.select(F.greatest("u", "v").alias("u"), F.least("u", "v").alias("v"))
    stars = _star(down)
    neighbours = stars.select(F.col("v").alias("u"), F.col("smallest").alias("v"))
    centres = stars.select("u", F.col("smallest").alias("v"))
    return neighbours.unionByName(centres).where("u <> v").distinct()


def _star(edges: "DataFrame") -> "DataFrame":
    """(u, v, smallest): beside each link of u, the smallest of u and all v it is linked to."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    smallest = F.least(F.col("u"), F.min("v").over(Window.partitionBy("u")))
    return edges.select("u", "v", smallest.alias("smallest"))
