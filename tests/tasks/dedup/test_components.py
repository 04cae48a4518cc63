from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tasks.dedup.components import connected_components, connected_components_on_spark

Ints = npt.NDArray[np.int64]


def by_search(a: Ints, b: Ints) -> dict[int, int]:
    """Components by breadth-first search: node -> smallest node."""
    neighbours: dict[int, set[int]] = {}
    for left, right in zip(a.tolist(), b.tolist(), strict=True):
        neighbours.setdefault(left, set()).add(right)
        neighbours.setdefault(right, set()).add(left)
    label: dict[int, int] = {}
    for start in sorted(neighbours):
        frontier = [] if start in label else [start]
        while frontier:
            node = frontier.pop()
            if node not in label:
                label[node] = start
                frontier.extend(neighbours[node])
    return label


def chain(n: int) -> tuple[Ints, Ints]:
    """A path through n shuffled ids: the hardest shape for label propagation."""
    ids = np.random.default_rng(3).permutation(n).astype(np.int64) * 1_000_003
    return ids[:-1], ids[1:]


def random_graph(seed: int, nodes: int, edges: int) -> tuple[Ints, Ints]:
    ends = np.random.default_rng(seed).integers(0, nodes, (2, edges), dtype=np.int64)
    return ends[0] << 32, ends[1] << 32


@pytest.mark.parametrize(
    "graph", [chain(500), random_graph(0, 300, 100), random_graph(1, 300, 200), random_graph(2, 50, 400)]
)
def test_components_equal_a_search(graph: tuple[Ints, Ints]) -> None:
    nodes, labels = connected_components(*graph)
    assert dict(zip(nodes.tolist(), labels.tolist(), strict=True)) == by_search(*graph)


def test_no_links_no_components() -> None:
    empty = np.empty(0, dtype=np.int64)
    nodes, labels = connected_components(empty, empty)
    assert len(nodes) == len(labels) == 0


@pytest.mark.slow  # test_clusters runs the same rounds on a smaller graph
def test_spark_finds_the_same_components(spark: Any, tmp_path: Path) -> None:
    a, b = (np.concatenate(ends) for ends in zip(chain(20), random_graph(1, 100, 60), strict=True))
    pairs = [(left, right) for left, right in zip(a.tolist(), b.tolist(), strict=True) if left != right]
    links = spark.createDataFrame(pairs, "a long, b long")
    found = connected_components_on_spark(spark, links, tmp_path).collect()
    assert {row["id"]: row["component"] for row in found} == by_search(*np.array(pairs).T)
    assert len(found) == len({row["id"] for row in found})
