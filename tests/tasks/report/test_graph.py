"""The lineage drawing: which edges it shows and that nothing overlaps."""

import re

from tasks.report.graph import BOX_WIDTH, layers, lineage_svg, transitive_reduction

PARENTS = {
    "mix": [],
    "tokenizer": ["mix"],
    "chat": ["mix"],
    "tokens": ["mix", "tokenizer"],
    "pretrain": ["tokens", "tokenizer"],
    "sft": ["pretrain", "chat"],
    "evaluate": ["tokens", "chat", "pretrain", "sft"],
}


def test_only_edges_that_no_longer_path_implies_are_drawn():
    assert transitive_reduction(PARENTS) == {
        "mix": [],
        "tokenizer": ["mix"],
        "chat": ["mix"],
        "tokens": ["tokenizer"],
        "pretrain": ["tokens"],
        "sft": ["pretrain", "chat"],
        "evaluate": ["sft"],
    }


def test_a_node_lies_below_all_its_parents():
    depth = layers(transitive_reduction(PARENTS))
    assert all(depth[node] > depth[parent] for node, parents in PARENTS.items() for parent in parents)


def test_boxes_of_one_layer_do_not_overlap_and_the_drawing_is_deterministic():
    parents = {"root": [], **{f"leaf{k}": ["root"] for k in range(5)}, "end": [f"leaf{k}" for k in range(5)]}
    labels = {node: (node, "v", f"#{node}") for node in parents}
    svg = str(lineage_svg(parents, labels))
    boxes = [tuple(map(float, found)) for found in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"', svg)]
    assert len(boxes) == len(parents)
    for i, (x, y) in enumerate(boxes):
        assert all(abs(x - other_x) >= BOX_WIDTH for other_x, other_y in boxes[i + 1 :] if other_y == y)
    assert svg == str(lineage_svg(parents, labels))


def test_labels_are_escaped():
    svg = str(lineage_svg({"a": []}, {"a": ("<b>", '"x"', "#a")}))
    assert "<b>" not in svg and "&lt;b&gt;" in svg
