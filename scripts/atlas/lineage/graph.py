"""The graph of jobs behind an artefact."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from atlas.job.records import Records
from atlas.job.statements import Statement, is_artefact


@dataclass(frozen=True)
class Node:
    """A job, or a file that no job made.

    :param id: the statement's digest, or the file's path.
    :param stage: first word below results/ of what it makes (sources, datasets, models, …), or
        ``outside`` for a file that no job made.
    :param outputs: path -> SHA-256 (of a source: the file itself).
    """

    id: str
    label: str
    stage: str
    outputs: dict[str, str]
    statement: Statement | None = None

    @property
    def details(self) -> dict[str, Any]:
        """What people ask of a job: parameters, code, packages behind it, host, times."""
        if self.statement is None:
            return {}
        s = self.statement
        return {
            "rule": s.rule, "wildcards": s.wildcards, "params": s.params,
            "function": s.code["function"], "modules": s.code["modules"],
            "packages": s.code["distributions"], "execution": s.execution,
            "started": s.started, "finished": s.finished, "statement": s.digest,
        }  # fmt: skip


@dataclass
class Graph:
    """Jobs and sources, with the files that go from one to the next."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # (from, to) -> files
    targets: list[str] = field(default_factory=list)  # ids of the jobs that were asked for

    def above(self, node: str) -> list[str]:
        """Ids of the nodes whose files a node reads, sorted by label."""
        found = {a for a, b in self.edges if b == node}
        return sorted(found, key=lambda i: (self.nodes[i].stage, self.nodes[i].label))


def build_graph(records: Records, target: Statement, row: Mapping[str, str] | None = None) -> Graph:
    """All jobs behind a job, back to the sources.

    :param target: its statement, also one that was replaced since.
    :param row: a row of the target's table: of several pools, spaces or models that a job reads,
        only those that the row names are followed.
    :raises AtlasError: for an artefact with a broken statement.
    """
    start = job_node(target)
    graph = Graph({start.id: start}, targets=[start.id])
    values = set((row or {}).values()) - {""}
    queue = [start]
    while queue:
        node = queue.pop()
        inputs = node.statement.inputs if node.statement else {}
        for path in relevant(list(inputs), values):
            made = records.maker(path, inputs[path]) if is_artefact(path) else None
            above = job_node(made) if made else Node(path, path, "outside", {path: inputs[path]})
            if graph.nodes.setdefault(above.id, above) is above:
                queue.append(above)
            graph.edges.setdefault((above.id, node.id), []).append(path)
    return graph


def job_node(statement: Statement) -> Node:
    """The node of a job."""
    stage = min(statement.outputs).split("/")[1] if statement.outputs else ""
    return Node(statement.digest, statement.job, stage, statement.outputs, statement)


def relevant(paths: list[str], values: set[str]) -> list[str]:
    """Of paths that differ in one folder's name only, those whose folder is among the values.

    Where none is, all of them count: the average over pools names no pool.
    """
    groups: dict[tuple[Any, ...], list[str]] = {}
    for path in paths:
        parts = path.split("/")
        groups.setdefault((len(parts), *parts[:-2], parts[-1]), []).append(path)
    return sorted(
        path
        for group in groups.values()
        for path in [p for p in group if Path(p).parent.name in values] or group
    )


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers as (first, last) of each run, for a job may read hundreds."""
    runs = groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0])
    return [(run[0][1], run[-1][1]) for run in (list(run) for _, run in runs)]
