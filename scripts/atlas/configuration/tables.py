"""Tables of results."""

from __future__ import annotations

import typing
from typing import Literal

from pydantic import Field

from atlas.configuration.pools import Space
from atlas.grammar import Entry, Name

TableKind = Literal["main", "silhouettes", "additive", "retrieval", "spaces", "outputs", "instruct",
                    "temporal", "geometry", "selection"]  # fmt: skip


TABLE_KINDS: tuple[TableKind, ...] = typing.get_args(TableKind)


class Table(Entry):
    """One of results/tables."""

    kind: TableKind = Field(
        default="main",
        description="main: silhouettes of all spaces with their mean over pools; silhouettes: of "
        "several pools, with p-values and intervals; additive: mixtures against their parts; "
        "retrieval: models of `queries` against the pools; spaces: the family of delta "
        "activations, by layer and by number of probes; outputs: what models write; instruct: bases, "
        "models, instruct and merged models side by side; temporal: the same, with the distances of "
        "the models of `pools` before and after the delta; geometry: models trained with rewards "
        "against models fine-tuned on solutions, of `comparisons`; selection: how well composed "
        "models do, of `selections`.",
    )
    pools: list[Name] = Field(
        default=[],
        description="Pools of the table, in its order (all kinds but instruct, geometry and "
        "selection).",
    )
    comparisons: list[Name] = Field(
        default=[], description="Comparisons of the table, in its order (geometry)."
    )
    selections: list[Name] = Field(
        default=[], description="Selections of the table, in its order (selection)."
    )
    models: list[Name] = Field(
        default=[], description="Models to which the deltas are added (instruct, temporal)."
    )
    deltas: list[Name] = Field(
        default=[], description="Deltas that are added (instruct, temporal)."
    )
    texts: list[Name] = Field(
        default=[],
        description="Datasets of text on whose held-out rows perplexity is measured (instruct, "
        "temporal).",
    )
    chats: list[Name] = Field(
        default=[],
        description="Datasets of conversations on whose held-out rows the loss of the answer is "
        "measured (instruct, temporal).",
    )
    questions: str = Field(
        default="resources/questions.txt",
        description="File of questions that are put to every checkpoint, one per line (instruct, "
        "temporal).",
    )
    new_tokens: int = Field(
        default=40, ge=1, description="Longest answer, in tokens (instruct, temporal)."
    )
    spaces: list[Space] = Field(
        default=[], description="Spaces of a table of silhouettes (default: all of its pools)."
    )
    queries: dict[Name, Name] = Field(
        default={},
        description="Pool -> the pool whose models are looked up in it (kind: retrieval).",
    )
    published: dict[Name, str] = Field(
        default={},
        description="Pool (or selection) -> the published figure that stands beside it: a family of main "
        "(llama, gemma, qwen), or a setting of resources/published_experiments.csv.",
    )
