"""The graph of jobs behind an artefact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.job.records import Records
from atlas.job.statements import RESULTS, Statement


@dataclass(frozen=True)
class Node:
    """A job, or a file that no job made.

    :param id: the statement's digest, or the file's path.
    :param label: the job in words (rule and wildcards), or the path.
    :param stage: first word below results/ of what it makes (sources, datasets, models, …), or
        ``outside`` for a file that no job made.
    :param outputs: path -> SHA-256 (of a source: the file itself).
    :param statement: the job's attestation; None for a file that no job made.
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


def build_graph(
    records: Records, targets: Iterable[str | Statement], row: dict[str, str] | None = None
) -> Graph:
    """All jobs behind artefacts, back to the sources.

    :param targets: paths of artefacts, or statements (also ones that were replaced since).
    :param row: a row of the target's table: of several pools, spaces or models that a job reads,
        only those that the row names are followed.
    :raises AtlasError: for an artefact without a statement, or with a broken one.
    """
    graph = Graph()
    values = set((row or {}).values()) - {""}
    queue: list[Node] = []

    def enter(node: Node) -> str:
        if node.id not in graph.nodes:
            graph.nodes[node.id] = node
            queue.append(node)
        return node.id

    for target in targets:
        made = records.statement(target) if isinstance(target, str) else target
        if made is None:
            raise AtlasError(f"{target}: has no attestation; no job of this workflow made it.")
        graph.targets.append(enter(_job(made)))
    while queue:
        node = queue.pop()
        if node.statement is None:
            continue
        inputs = node.statement.inputs
        for path in relevant(list(inputs), values):
            made = None
            if path.startswith(f"{RESULTS}/"):
                made = records.maker(path, inputs[path])
            source = Node(path, path, "outside", {path: inputs[path]})
            above = enter(_job(made) if made else source)
            graph.edges.setdefault((above, node.id), []).append(path)
    return graph


def _job(statement: Statement) -> Node:
    stage = min(statement.outputs).split("/")[1] if statement.outputs else ""
    return Node(statement.digest, statement.job, stage, statement.outputs, statement)


def relevant(paths: list[str], values: set[str]) -> list[str]:
    """Of paths that differ in one folder's name only, those whose folder is among the values.

    Where none is, all of them count: the average over pools names no pool.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        parts = path.split("/")
        groups.setdefault((str(len(parts)), *parts[:-2], parts[-1]), []).append(path)
    found: list[str] = []
    for group in groups.values():
        named = [path for path in group if Path(path).parent.name in values]
        found += named or group
    return sorted(found)
