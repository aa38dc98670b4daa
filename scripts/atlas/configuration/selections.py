"""Models that are found for a task: composed, or looked up."""

from typing import Literal

from pydantic import Field

from atlas.grammar import Entry, Name, Number, Share


class Selection(Entry):
    """Models of a pool that are chosen for held-out tasks, and composed (LoraHub)."""

    pool: Name = Field(
        description="Pool of adapters of one base, with the space delta_activations."
    )
    tasks: list[Name] = Field(
        min_length=1,
        description="Datasets of completions that no model of the pool is trained on. The examples "
        "are drawn from their region; the answers to the rows after it are matched.",
    )
    recipe: Name = Field(
        description="Recipe of the model that is trained on the examples of a task; its delta "
        "activations say which models are similar to the task."
    )
    strategies: list[Literal["random", "similar", "similar+random"]] = Field(
        default=["random", "similar", "similar+random"],
        min_length=1,
        description="Which models are composed: at random; the most similar; the most similar one, "
        "the others at random.",
    )
    size: int = Field(default=20, ge=1, description="Models in a composition.")
    examples: int = Field(default=5, ge=1, description="Examples of a task.")
    seeds: int = Field(
        default=5, ge=1, description="Repetitions, each with other draws of models and order."
    )
    budget: int = Field(default=40, ge=1, description="Evaluations of a search.")
    bound: Number = Field(default=1.5, gt=0, description="Largest absolute weight of a model.")
    penalty: Number = Field(
        default=0.05, ge=0, description="Factor of the mean absolute weight in the score."
    )
    merges: list[Literal["average", "ties", "dare"]] = Field(
        default=["average", "ties", "dare"],
        description="PEFT's own merges of the same models, for comparison.",
    )
    density: Share = Field(
        default=0.2, description="Share of the elements that ties and dare keep."
    )
    rows: int | None = Field(
        default=None, ge=1, description="Held-out rows of a task, the first ones (default: all)."
    )
    new_tokens: int = Field(default=16, ge=1, description="Longest answer, in tokens.")


class Retrieval(Entry):
    """Models of a pool by their similarity to a task that is known by a few examples."""

    pool: Name = Field(description="Pool with the space delta_activations.")
    dataset: Name = Field(description="Dataset with the examples.")
    split: Name = Field(default="region", description="Split of the dataset that is read.")
    rows: int | None = Field(default=None, ge=1, description="Draw so many rows (default: all).")
    recipe: Name = Field(description="Recipe of the model that is trained on the examples.")
