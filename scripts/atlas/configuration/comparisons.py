"""Comparisons of the geometry of models."""

from typing import Annotated, Literal

from pydantic import Field

from atlas.grammar import Entry, Name, Number


class Curvature(Entry):
    """How local curvature is measured: the response to perturbed input embeddings."""

    prompts: int = Field(default=20, ge=0, description="Prompts per task, the first ones; 0: none.")
    directions: int = Field(default=20, ge=1, description="Perturbations of a prompt.")
    radius: Number = Field(
        default=0.01, gt=0, description="Their size, as a share of the norm of the embeddings."
    )


class Trajectories(Entry):
    """Whose trajectories are measured: the path of the stream over all tokens of a prompt."""

    prompts: int = Field(default=20, ge=0, description="Prompts per task, the first ones; 0: none.")
    dimensions: int = Field(
        default=3, ge=2, description="Directions of the base in which signatures are computed."
    )


class WeightChanges(Entry):
    """How changes of the weights are measured."""

    dimensions: int = Field(
        default=32,
        ge=1,
        le=512,
        description="Leading singular directions of a matrix that span its principal subspaces.",
    )


class Drift(Entry):
    """How a model is measured beside its base on the completions of rows held out."""

    rows: int = Field(default=100, ge=1, description="Rows per task, the first ones.")
    max_tokens: int = Field(
        default=1024,
        ge=2,
        description="Longest prompt with its completion; longer rows are left out.",
    )


class Paths(Entry):
    """How the paths of prompts over the layers are compared."""

    dimensions: int = Field(
        default=32,
        ge=1,
        description="Directions of the base in which signatures of depth 3 are computed (fewer where it "
        "varies in fewer).",
    )


class Answers(Entry):
    """Whether models answer the prompts correctly, and whether a linear probe sees it beforehand."""

    prompts: int = Field(default=0, ge=0, description="Prompts per task, the first ones; 0: none.")
    new_tokens: int = Field(default=16, ge=1, description="Longest answer, greedy.")
    rule: Literal["first_number", "last_number", "first_line"] = Field(
        default="first_number",
        description="What has to be the same in the answer and in that of the dataset.",
    )


class Comparison(Entry):
    """Models whose geometry is compared on task prompts."""

    base: Name = Field(description="Name of a base.")
    models: list[Name] = Field(min_length=1, description="Names of models trained from it.")
    rl: list[Name] = Field(
        default=[],
        description="Those of the models that were trained with rewards; the others are fine-tuned "
        "on solutions. Where there are both, the two are compared.",
    )
    tasks: list[Name] = Field(
        min_length=1, description="Datasets whose prompts (of the rows held out) are read."
    )
    prompts: int = Field(
        default=500, ge=2, description="Prompts per task, the first ones (fewer where there are)."
    )
    shots: int = Field(
        default=0,
        ge=0,
        description="Solved examples before each prompt, the same ones: the last rows held out, which "
        "are then no prompts.",
    )
    streams: list[Literal["resid_pre", "resid_mid", "resid_post"]] = Field(
        default=["resid_mid", "resid_post"],
        description="Residual streams of each block that are read: before it, between attention and MLP, "
        "after it. The table is of resid_post.",
    )
    subspace: int = Field(
        default=50,
        ge=1,
        description="Leading right singular vectors whose subspaces are compared (fewer where there are).",
    )
    positions: Literal["last_token", "mean", "all"] = Field(
        default="last_token",
        description="What is read of each prompt: its last token, the mean over its tokens, or "
        "all of them, each a row.",
    )
    learnt: list[Name] = Field(
        default=[],
        description="Those of the tasks that the models were trained on: divergence from the base is "
        "compared on them, forgetting on the others.",
    )
    weights: WeightChanges = Field(
        default=WeightChanges(), description="Changes of the weights, for tables of weight_space."
    )
    drift: Drift = Field(
        default=Drift(), description="Divergence and forgetting, for tables of weight_space."
    )
    curvature: Curvature = Field(default=Curvature(), description="Local curvature.")
    trajectories: Trajectories = Field(default=Trajectories(), description="Trajectories.")
    answers: Answers = Field(default=Answers(), description="Answers, and a probe of them.")
    paths: Paths = Field(default=Paths(), description="Paths over the layers.")
    precision: Literal["float16", "float32"] = Field(
        default="float16", description="Precision in which activations are stored."
    )
    mean_norm: Annotated[list[Number], Field(min_length=2, max_length=2)] = Field(
        default=[1.0, 1000.0],
        description="Lowest and highest mean norm of a row that passes the quality check.",
    )
