"""The graph of jobs behind an artefact as one page that needs no network."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
import networkx as nx

from atlas.errors import AtlasError
from atlas.files import WORKFLOW_FOLDER
from atlas.lineage.graph import Graph, Node, ranges

TEMPLATE = WORKFLOW_FOLDER / "resources/lineage/page.html.jinja"
# Pixels at zoom 1. All layers share one grid of rows, so that the gaps between rows are free from
# the left end of the page to the right: edges that pass nodes run there.
HEIGHT, PITCH, BESIDE, GUTTER, MARGIN, BEND = 40, 58, 22, 116, 28, 44
NARROW, WIDE, GLYPH, LETTER = 150, 270, 40, 7  # a node is as wide as its letters, within limits
SWEEPS, HEADS = 9, 3
STAGES = ["outside", "sources", "datasets", "models", "pools", "tables"]  # have their own colours
SHAPES = "○■▲●◆▼◐▬"  # one per colour of the template


@dataclass
class Box:
    """Where a node is drawn: layer, column within the layer, left and upper edge in pixels."""

    layer: int
    column: int
    x: int
    y: int
    width: int
    left: int  # edges of the whole layer
    right: int


def write_page(graph: Graph, path: Path, title: str) -> None:
    """Write the page, titled with what was asked for: the same graph and title give the same bytes.

    :raises AtlasError: where the page cannot be written.
    """
    env = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    env.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    text = env.from_string(TEMPLATE.read_text(encoding="utf-8")).render(_content(graph, title))
    try:
        path.write_bytes(text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise AtlasError(f"{path}: cannot be written ({error.strerror}).") from None


def layers(graph: Graph) -> list[list[str]]:
    """Ids by longest path from the sources, ordered within a layer so that few edges cross."""
    dag = nx.DiGraph()
    dag.add_nodes_from(sorted(graph.nodes))
    dag.add_edges_from(sorted(graph.edges))
    with suppress(nx.NetworkXNoCycle):  # newest statements of two runs can read each other's files
        while True:
            dag.remove_edge(*nx.find_cycle(dag)[-1][:2])
    rank = {i: k for k, i in enumerate(sorted(dag, key=lambda i: _natural(graph.nodes[i])))}
    found = [sorted(ids, key=rank.__getitem__) for ids in nx.topological_generations(dag)]
    place = {i: (k + 0.5) / len(ids) for ids in found for k, i in enumerate(ids)}
    for sweep in range(SWEEPS):
        beside = dag.pred if sweep % 2 == 0 else dag.succ
        for ids in found if sweep % 2 == 0 else reversed(found):
            centre = {i: fmean([place[j] for j in beside[i]] or [place[i]]) for i in ids}
            ids.sort(key=lambda i: (round(centre[i], 9), rank[i]))
            place.update((i, (k + 0.5) / len(ids)) for k, i in enumerate(ids))
    return found


def _natural(node: Node) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", f"{node.label} {node.id}")
    return [(int(p) if p.isdecimal() else -1, p) for p in parts]


def arrange(graph: Graph) -> dict[str, Box]:
    """A place for each node, in the order in which they are read: by layer, row and column.

    A layer with many nodes is wrapped into columns. The fullest layer is packed; the others lie
    beside what they are connected with.
    """
    found = layers(graph)
    columns = [-(-len(ids) // max(28, round(3.2 * len(ids) ** 0.5))) for ids in found]
    rows = [-(-len(ids) // n) for ids, n in zip(found, columns, strict=True)]
    tall = max(rows, default=0)
    near = nx.Graph([*graph.edges, *((i, i) for i in graph.nodes)])
    full = rows.index(tall) if rows else 0
    row: dict[str, int] = {}
    for k in [*range(full, len(found)), *reversed(range(full))]:
        ids, n = found[k], columns[k]
        wish = {i: fmean([row[b] for b in near[i] if b in row] or [(j + 0.5) * tall / len(ids) - 0.5])
                for j, i in enumerate(ids)}  # fmt: skip
        if k != full:
            ids.sort(key=lambda i: round(wish[i], 9))
        chunks = [ids[j : j + n] for j in range(0, len(ids), n)]
        wishes = [round(fmean(wish[i] for i in chunk)) for chunk in chunks]
        for chunk, at in zip(chunks, _spread(wishes, tall), strict=True):
            row.update(dict.fromkeys(chunk, at))
    letters = max((len(line) for node in graph.nodes.values() for line in _words(node)), default=0)
    width = min(max(GLYPH + LETTER * letters, NARROW), WIDE)
    boxes, x = {}, MARGIN
    for k, (ids, n) in enumerate(zip(found, columns, strict=True)):
        right = x + n * (width + BESIDE) - BESIDE
        for j, i in enumerate(ids):
            left = x + (j % n) * (width + BESIDE)
            boxes[i] = Box(k, j % n, left, MARGIN + row[i] * PITCH, width, x, right)
        x = right + GUTTER
    return boxes


def _spread(wishes: list[int], rows: int) -> list[int]:
    """Rows near those wished for, each later than the one before, all below `rows`."""
    down, up = list(wishes), list(wishes)
    for k in range(1, len(wishes)):
        down[k] = max(down[k], down[k - 1] + 1)
        up[-k - 1] = min(up[-k - 1], up[-k] - 1)
    between = [(a + b) // 2 for a, b in zip(down, up, strict=True)]
    return [min(max(at, k), rows - len(wishes) + k) for k, at in enumerate(between)]


def _curve(a: Box, b: Box, spans: dict[int, tuple[int, int]], by_source: bool) -> str:
    """The SVG path of an edge.

    It turns in one gutter between layers and otherwise runs straight in gaps between rows. Edges
    that pass layers share the gap beside their source, or else the one beside their goal.
    """
    turn = b.layer - 1 if by_source else a.layer
    start, stop = spans.get(turn, (0, 0))[1], spans.get(turn + 1, (0, 0))[0]
    x, y, end, goal = a.x + a.width, a.y + HEIGHT // 2, b.x, b.y + HEIGHT // 2
    passes = b.layer - a.layer > 1
    leave, arrive = y, goal
    if x < a.right or (passes and by_source):
        leave = a.y + HEIGHT + 4 + 2 * min(a.column, 3)
    if end > b.left or (passes and not by_source):
        arrive = b.y - 3 - 2 * min(b.column, 1)
    points = [(x, y)]
    if leave != y:
        bend = x + (BESIDE - 4 if x < a.right else BEND)
        points += [(bend, leave), (max(bend, start), leave)]
    if arrive != goal:
        bend = end - (BESIDE - 4 if end > b.left else BEND)
        points += [(min(bend, stop), arrive), (bend, arrive)]
    points.append((end, goal))
    path = f"M{x} {y}"
    for (x0, y0), (x1, y1) in pairwise(points):
        half = (x0 + x1) // 2
        path += f"H{x1}" if y0 == y1 else f"C{half} {y0} {half} {y1} {x1} {y1}"
    return path


def _content(graph: Graph, title: str) -> dict[str, Any]:
    """What the template shows."""
    boxes = arrange(graph)
    number = {i: k for k, i in enumerate(boxes)}
    above: dict[str, list[int]] = {i: [] for i in boxes}
    below = dict.fromkeys(boxes, 0)
    for a, b in graph.edges:
        above[b].append(number[a])
        below[a] += 1
    counts = Counter(node.stage for node in graph.nodes.values())
    stages = [*STAGES, *sorted(set(counts) - set(STAGES))]
    slot = {stage: k % len(SHAPES) for k, stage in enumerate(stages)}
    spans = {box.layer: (box.left, box.right) for box in boxes.values()}
    nodes, edges = [], []
    for i, box in boxes.items():
        node = graph.nodes[i]
        nodes.append({
            "label": node.label, "words": _words(node), "box": box,
            "stage": node.stage, "slot": slot[node.stage], "shape": SHAPES[slot[node.stage]],
            "target": i in graph.targets, "outside": node.statement is None,
            "outputs": sorted(node.outputs), "above": len(above[i]), "below": below[i],
            "ranges": ranges(above[i]),
        })  # fmt: skip
    for a, b in sorted(graph.edges, key=lambda e: (number[e[0]], number[e[1]])):
        path = _curve(boxes[a], boxes[b], spans, by_source=below[a] >= len(above[b]))
        edges.append((number[a], number[b], path))
    return {
        "title": title, "nodes": nodes, "edges": edges, "data": _data(graph, number),
        "asked": [(number[i], graph.nodes[i].label) for i in dict.fromkeys(graph.targets)],
        "jobs": sum(n.statement is not None for n in graph.nodes.values()),
        "stages": [(s, slot[s], SHAPES[slot[s]], counts[s]) for s in stages if s in counts],
        "heads": [(*span, _heads(graph, [i for i in boxes if boxes[i].layer == k]))
                  for k, span in spans.items()],
        "width": max((right for _, right in spans.values()), default=0) + MARGIN,
        "height": max((b.y for b in boxes.values()), default=0) + HEIGHT + MARGIN, "node_height": HEIGHT,
    }  # fmt: skip


def _words(node: Node) -> tuple[str, str]:
    """Two lines: rule and wildcards of a job, folder and name of a file."""
    if node.statement is None:
        folder, _, name = node.label.rpartition("/")
        return folder, name or node.label
    values = " · ".join(v for v in node.statement.wildcards.values() if v)
    return (node.statement.rule, values) if values else ("", node.statement.rule)


def _heads(graph: Graph, ids: Iterable[str]) -> list[str]:
    """What a layer holds, in a few lines."""
    made = [graph.nodes[i].statement for i in ids]
    rules = Counter(s.rule if s else "file from outside" for s in made)
    lines = [f"{n} × {rule}" if n > 1 else rule for rule, n in rules.most_common()]
    return lines if len(lines) <= HEADS else [*lines[: HEADS - 1], f"{len(lines) - HEADS + 1} more"]


def _data(graph: Graph, number: dict[str, int]) -> dict[str, Any]:
    """What the panel shows. Files, params and lists of modules are stored once, by content."""
    store: dict[str, int] = {}

    def put(value: Any) -> int:
        return store.setdefault(json.dumps(value, sort_keys=True), len(store))

    makers = {(b, file): number[a] for (a, b), files in graph.edges.items() for file in files}
    jobs = []
    for i in number:
        node = graph.nodes[i]
        details = {k: put(_leaves(v)) for k, v in node.details.items() if k != "params"}
        params = node.details.get("params", {})
        inputs = sorted((node.statement.inputs if node.statement else {}).items())
        jobs.append({
            "d": details, "p": {k: put(_leaves(v)) for k, v in params.items()},
            "o": [put(pair) for pair in sorted(node.outputs.items())],
            "i": [[put(pair), makers.get((i, pair[0]), -1)] for pair in inputs],
        })  # fmt: skip
    return {"jobs": jobs, "store": [json.loads(text) for text in store]}


def _leaves(value: Any) -> Any:
    """A value whose numbers are text: a page's script would round large ones and knows no NaN."""
    if isinstance(value, dict):
        return {str(k): _leaves(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_leaves(v) for v in value]
    return json.dumps(value, ensure_ascii=False, default=str)
