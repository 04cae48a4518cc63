"""The lineage as a drawing: boxes in layers, parents above children.

A small layered layout (Sugiyama, Tagawa and Toda, 1981): edges that a longer path implies are left out, a node's layer
is its longest path from a source, long edges pass through invisible places in the layers between, and a few sweeps
order each layer by the mean position of its neighbours.
"""

import itertools
from collections.abc import Mapping, Sequence

from markupsafe import Markup

BOX_WIDTH, BOX_HEIGHT = 118, 40
GAP, LAYER_GAP = 18, 26
LANE = 14  # room that a passing edge takes in a layer
MARGIN = 4
SWEEPS = 6

Edges = Mapping[str, Sequence[str]]


def transitive_reduction(parents: Edges) -> dict[str, list[str]]:
    """The same ancestry with the fewest edges: a parent that another parent descends from is left out.

    `parents` maps each node to its parents and lists parents before children; unknown parents are ignored.
    """
    ancestors: dict[str, set[str]] = {}
    reduced: dict[str, list[str]] = {}
    for node, given in parents.items():
        known = [parent for parent in dict.fromkeys(given) if parent in ancestors]
        ancestors[node] = set(known).union(*(ancestors[parent] for parent in known)) if known else set()
        reduced[node] = [p for p in known if not any(p in ancestors[other] for other in known if other != p)]
    return reduced


def layers(parents: Edges) -> dict[str, int]:
    """Each node's longest distance from a node without parents."""
    depth: dict[str, int] = {}
    for node, given in parents.items():
        depth[node] = max((depth[parent] + 1 for parent in given), default=0)
    return depth


def lineage_svg(parents: Edges, labels: Mapping[str, tuple[str, str, str]]) -> Markup:
    """Draw the graph.

    Args:
        parents: node -> its parents, parents listed before children.
        labels: node -> (first line, second line, target of its link); the first word of the CSS class of a box is
            its first line, so that the style sheet may colour stages.
    """
    edges = transitive_reduction(parents)
    depth = layers(edges)
    if not depth:
        return Markup('<p class="empty">No lineage.</p>')
    rows: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for node, layer in depth.items():
        rows[layer].append(node)
    paths = _route(edges, depth, rows)
    _order(rows, paths)
    centres = _place(rows, depth)
    width = max(x + (BOX_WIDTH / 2 if name in depth else LANE / 2) for name, (x, _) in centres.items()) + MARGIN
    height = len(rows) * (BOX_HEIGHT + LAYER_GAP) - LAYER_GAP + 2 * MARGIN
    parts = [
        Markup(
            '<svg class="graph" viewBox="0 0 {} {}" width="{}" role="img" aria-label="Lineage of the report">'
        ).format(f"{width:.0f}", f"{height:.0f}", f"{width:.0f}")
    ]
    for path in paths:
        parts.append(Markup('<path class="edge" d="{}"/>').format(_curve(path, centres, depth)))
    for node in depth:
        parts.append(_box(*centres[node], *labels[node]))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _route(edges: Edges, depth: Mapping[str, int], rows: list[list[str]]) -> list[list[str]]:
    """Every edge as a list of places, one a layer; adds the invisible places of long edges to `rows`."""
    paths = []
    for node, given in edges.items():
        for parent in given:
            path = [parent]
            for layer in range(depth[parent] + 1, depth[node]):
                lane = f"\0{parent}\0{node}\0{layer}"
                rows[layer].append(lane)
                path.append(lane)
            paths.append([*path, node])
    return paths


def _order(rows: list[list[str]], paths: list[list[str]]) -> None:
    """Sort each layer by the mean position of its neighbours, downwards and upwards in turn."""
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for path in paths:
        for upper, lower in itertools.pairwise(path):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            position = {name: k / max(len(other) - 1, 1) for other in rows for k, name in enumerate(other)}
            mean = {
                name: sum(position[n] for n in neighbours[name]) / len(neighbours[name])
                for name in row
                if name in neighbours
            }
            row.sort(key=lambda name, mean=mean, position=position: mean.get(name, position[name]))  # type: ignore[misc]


def _place(rows: list[list[str]], depth: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Centre of every place; layers are centred on the widest one."""
    sizes = [[BOX_WIDTH if name in depth else LANE for name in row] for row in rows]
    widths = [sum(row) + GAP * (len(row) - 1) for row in sizes]
    centres = {}
    for layer, row in enumerate(rows):
        x = MARGIN + (max(widths) - widths[layer]) / 2
        y = MARGIN + layer * (BOX_HEIGHT + LAYER_GAP) + BOX_HEIGHT / 2
        for name, size in zip(row, sizes[layer], strict=True):
            centres[name] = (x + size / 2, y)
            x += size + GAP
    return centres


def _curve(path: list[str], centres: Mapping[str, tuple[float, float]], depth: Mapping[str, int]) -> str:
    """SVG path from the lower edge of a box through its lanes to the upper edge of the next."""
    half = BOX_HEIGHT / 2
    x, y = centres[path[0]]
    commands = [f"M{x:.1f} {y + half:.1f}"]
    y += half
    for name in path[1:]:
        to_x, centre_y = centres[name]
        to_y = centre_y - half
        middle = (y + to_y) / 2
        commands.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
        if name not in depth:
            y = centre_y + half
            commands.append(f"L{x:.1f} {y:.1f}")
    return " ".join(commands)


def _box(x: float, y: float, title: str, subtitle: str, target: str) -> Markup:
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    return Markup(
        '<a href="{}"><g class="node {}"><rect x="{}" y="{}" width="{}" height="{}" rx="7"/>'
        '<text class="title" x="{}" y="{}">{}</text><text class="sub" x="{}" y="{}">{}</text></g></a>'
    ).format(
        target,
        title,
        f"{left:.1f}",
        f"{top:.1f}",
        BOX_WIDTH,
        BOX_HEIGHT,
        f"{x:.1f}",
        f"{y - 2:.1f}",
        title,
        f"{x:.1f}",
        f"{y + 13:.1f}",
        subtitle,
    )
