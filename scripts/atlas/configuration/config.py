"""The configuration grammar: typed models, their defaults and their descriptions.

Everything a user may write in a configuration file is defined here and nowhere else;
``config/schema.json`` and the tables of ``config/README.md`` are generated from it
(``python scripts/document_config.py``). References between entries are resolved in
:mod:`atlas.plan.building`.
"""

import os
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from atlas.configuration.bases import Base, Encoder
from atlas.configuration.comparisons import Comparison
from atlas.configuration.datasets import Dataset, Turns
from atlas.configuration.deltas import Delta
from atlas.configuration.models import BaseRef, Grid, Model
from atlas.configuration.pools import Pool
from atlas.configuration.recipes import Recipe
from atlas.configuration.selections import Retrieval, Selection
from atlas.configuration.tables import Tables
from atlas.grammar import Entry, Name

OKABE_ITO = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442",
             "#000000"]  # fmt: skip


class Perplexity(Entry):
    """How perplexity is measured on text that a model was not trained on."""

    documents: int = Field(default=20, ge=1, description="Texts per dataset, the first ones.")
    max_tokens: int = Field(default=512, ge=2, description="Tokens of each text, from its start.")


class Push(Entry):
    """An upload to a hub, made only when results/pushed/NAME.json is asked for."""

    path: str = Field(
        pattern=r"^(deltas|merged|models)/[A-Za-z0-9._+-]+$",
        description="Folder below results/ that is uploaded: deltas/…, merged/… or models/….",
    )
    repo: str = Field(
        pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", description="`organisation/name`."
    )
    private: bool = Field(default=True, description="Whether the repository is private.")


class Figures(Entry):
    """How figures look."""

    palette: list[Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]] = Field(
        default=OKABE_ITO,
        min_length=1,
        description="Colours of the domains, in alphabetical order (default: Okabe and Ito's).",
    )
    markers: list[str] = Field(
        default=["o", "s", "^", "D", "v", "P", "X", "*"],
        min_length=1,
        description="Markers of the domains (matplotlib), so that grey prints stay legible.",
    )


class Config(Entry):
    """A whole configuration."""

    defaults: bool = Field(
        default=True,
        description="false: the models, grids, pools, tables, comparisons, deltas, selections, "
        "retrievals, pushes and summary of the default (config.yaml and experiments/), and bases "
        "that are one of its models, are left out; its other bases, encoders, datasets, recipes and "
        "settings stay.",
    )
    bases: dict[Name, Base] = Field(default={}, description="Pretrained models.")
    datasets: dict[Name, Dataset] = Field(default={}, description="Rows to train on.")
    recipes: dict[Name, Recipe] = Field(default={}, description="How to train.")
    models: dict[Name, Model] = Field(default={}, description="Trained and fetched models.")
    grids: dict[Name, Grid] = Field(default={}, description="Patterns that generate models.")
    pools: dict[Name, Pool] = Field(default={}, description="Models to compare.")
    encoders: dict[Name, Encoder] = Field(default={}, description="Sentence encoders.")
    deltas: dict[Name, Delta] = Field(
        default={}, description="Instruction deltas: instruct model minus base."
    )
    selections: dict[Name, Selection] = Field(
        default={}, description="Models composed for held-out tasks."
    )
    retrievals: dict[Name, Retrieval] = Field(
        default={}, description="Models looked up by a few examples."
    )
    pushes: dict[Name, Push] = Field(default={}, description="Uploads to a hub.")
    signing_key: Annotated[str, AfterValidator(os.path.expanduser)] | None = Field(
        default=None,
        description="Private EC key (PEM) that signs models where results/models/NAME/model.sig is asked "
        "for, and where they are uploaded.",
    )
    comparisons: dict[Name, Comparison] = Field(
        default={}, description="Comparisons of the geometry of models."
    )
    tables: Tables = Field(default={}, description="Tables and their pools.")
    summary: list[Name] = Field(
        default=[],
        description="Tables whose findings results/summary.md tells, in its order (default: all of "
        "the configuration).",
    )
    perplexity: Perplexity = Field(
        default=Perplexity(), description="How perplexity on held-out text is measured."
    )
    figures: Figures = Field(default=Figures(), description="Colours and markers.")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[42],
        min_length=1,
        description="Global seeds. Models are trained with the first; experiments (tables of other "
        "kinds than main) are repeated with each further one, and report mean and spread.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where numeric jobs run; auto takes a GPU when one is visible."
    )
    stream: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether activations, features and residual streams are computed with one decoder "
        "layer of a base in memory at a time: auto where the base would leave less than a quarter of "
        "the free memory; always: such jobs ask a cluster for little memory; never: the base is "
        "loaded. Like device, it is no parameter of a job: the results are the same but for rounding.",
    )
    fork_jobs: bool = Field(
        True,
        description="Start local jobs from processes that have imported their libraries (on Linux; not "
        "on clusters, nor with environments or containers of their own); false: each job imports them.",
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        default="auto",
        description="How bases compute attention: PyTorch's kernels (sdpa), plain products "
        "(eager), or flash-attn (flash_attention_2: on a GPU, where it is installed, for bases in "
        "bfloat16 or float16); auto leaves it to transformers, which takes sdpa where an "
        "architecture has it. Like device, it is no parameter of a job: changing it makes nothing "
        "again, and statements have what was used.",
    )
    cache: Annotated[str, AfterValidator(os.path.expanduser)] = Field(
        default=".snakemake/atlas/cache",
        description="Folder of downloads, by content; several checkouts may share one.",
    )


# Entries that may stand where a name may stand too.
UNION_ENTRIES = (BaseRef, Turns)
