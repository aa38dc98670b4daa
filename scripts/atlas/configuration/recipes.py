"""Recipes: how models are trained."""

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from atlas.grammar import DType, Entry, Name, Number


class Lora(Entry):
    """LoRA hyperparameters (PEFT)."""

    r: int = Field(default=8, ge=1, description="Rank.")
    alpha: int = Field(default=16, ge=1, description="Scale; the update is alpha / r times B A.")
    dropout: Number = Field(default=0.0, ge=0, lt=1, description="Dropout on the input of A.")
    targets: list[str] = Field(
        default=["q_proj", "k_proj", "v_proj", "up_proj", "down_proj", "gate_proj"],
        min_length=1,
        description="Modules that are adapted.",
    )


class Ia3(Entry):
    """IA3 hyperparameters (PEFT)."""

    targets: list[str] = Field(
        default=["k_proj", "v_proj", "down_proj"], min_length=1, description="Modules scaled."
    )
    feedforward: list[str] = Field(
        default=["down_proj"], description="Those of them whose input is scaled."
    )


class Length(Entry):
    """What happens to rows that are longer than the model is trained on."""

    max_tokens: int = Field(default=1024, ge=8, description="Longest row, prompt and completion.")
    datasets: dict[Name, int] = Field(
        default={}, description="Other lengths for some datasets, in tokens."
    )
    prompt_tokens: int | None = Field(
        default=None, ge=1, description="Of a longer prompt, the start goes first (dpo)."
    )
    policy: Literal["cut", "truncate", "keep_end", "drop", "refuse"] = Field(
        default="truncate",
        description="cut: shorten the dataset's `cut` column until the row fits, drop the row if "
        "it still does not; truncate: cut the end of the row, as the published trainer does; "
        "keep_end: cut its start, for each answer by itself, as the published trainer of preferences "
        "does (dpo); drop: leave the row out; refuse: stop.",
    )


class Labels(Entry):
    """Which tokens of a row are learnt (sft)."""

    end: bool = Field(
        default=True,
        description="Whether the end token is learnt, so that the model stops; the published trainer "
        "takes it for padding, wherever it stands, and its models never learn to stop.",
    )
    template: str | None = Field(
        default=None,
        description="Text after whose last place in a row the loss begins, by its tokens without the "
        "first; prompt and completion are then tokenised as one text, as published (`### Response:`). "
        "Without it, they are tokenised apart, and the completion is learnt.",
    )
    keep: bool = Field(
        default=False,
        description="Whether a row whose prompt fills the length stays, with nothing to learn, as "
        "published (policy truncate).",
    )
    match: Literal["rest", "second"] = Field(
        default="rest",
        description="Tokens of the template that are looked for: rest, all but the first; second, "
        "the second alone, so that what is left of the template is learnt, too.",
    )
    datasets: dict[Name, Literal["rest", "second"]] = Field(
        default={}, description="Another `match` for some datasets."
    )


class Grpo(Entry):
    """Group relative policy optimisation: completions are sampled, a program rewards them."""

    grader: Literal["reasoning_gym", "number"] = Field(
        default="reasoning_gym",
        description="reasoning_gym: the grader of the task that generated the row; number: 1 where "
        "the answer is the number that ends the reference (GSM8K), else 0.",
    )
    answer: Literal["text", "first_line", "first_number", "last_number", "tag"] = Field(
        default="last_number", description="What of a completion is the answer."
    )
    column: str = Field(
        default="answer", description="Dotted path of the reference in the raw row (number)."
    )
    generations: int = Field(default=8, ge=2, description="Completions of each prompt.")
    new_tokens: int = Field(default=16, ge=1, description="Longest completion, in tokens.")
    temperature: Number = Field(default=1.0, gt=0, description="Temperature of sampling.")
    kl: Number = Field(default=0.0, ge=0, description="Weight of the divergence from the base.")
    epsilon: Number = Field(default=0.2, gt=0, description="Clipping of the probability ratio.")


class Recipe(Entry):
    """Objective, parameters and hyperparameters of a training."""

    objective: Literal["sft", "dpo", "cpt", "grpo"] = Field(
        description="Supervised fine-tuning, direct preference optimisation, continued "
        "pre-training, group relative policy optimisation on verified rewards."
    )
    parameters: Literal["lora", "ia3", "full"] = Field(description="What is trained.")
    dtype: DType | None = Field(
        default=None,
        description="Precision in which the base is loaded for training (null: that of the base).",
    )
    lora: Lora = Field(default=Lora(), description="Used when parameters is lora.")
    ia3: Ia3 = Field(default=Ia3(), description="Used when parameters is ia3.")
    grpo: Grpo = Field(default=Grpo(), description="Used when objective is grpo.")
    learning_rate: Number = Field(default=1e-4, gt=0, description="Peak learning rate.")
    batch_size: int = Field(
        default=4, ge=1, description="Rows in a forward pass (grpo: completions)."
    )
    accumulation: int = Field(default=4, ge=1, description="Forward passes in an optimiser step.")
    epochs: Number = Field(default=3.0, gt=0, description="Passes over the rows.")
    max_steps: int | None = Field(default=None, ge=1, description="Stop after so many steps.")
    rows: int | None = Field(
        default=None, ge=1, description="Train on so many rows, drawn at random from the data."
    )
    warmup_steps: int = Field(default=0, ge=0, description="Warm-up, in optimiser steps.")
    warmup_ratio: Number = Field(
        default=0.0, ge=0, lt=1, description="Warm-up as a share of the steps (if no warmup_steps)."
    )
    scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        default="linear", description="Learning-rate schedule."
    )
    optimizer: Literal["adamw_torch", "paged_adamw_32bit", "adafactor", "sgd"] = Field(
        default="adamw_torch", description="Optimiser (paged_adamw_32bit needs bitsandbytes)."
    )
    weight_decay: Number = Field(default=0.0, ge=0, description="Weight decay.")
    max_grad_norm: Number = Field(default=1.0, gt=0, description="Gradient clipping.")
    beta: Number = Field(default=0.1, gt=0, description="Strength of the reference model (dpo).")
    bf16: bool = Field(default=False, description="Mixed precision in bfloat16.")
    gradient_checkpointing: bool = Field(
        default=False, description="Recompute activations in the backward pass to save memory."
    )
    padding_free: bool = Field(
        default=False,
        description="Rows of a batch stand in one sequence, one after another and unseen by each "
        "other, so that nothing is spent on padding (sft and cpt on causal bases). Steps have the "
        "same rows as without, and results differ by rounding only; TRL's packing, which is not "
        "used, changes how many rows a step has.",
    )
    liger: bool = Field(
        default=False,
        description="Layers by the kernels of liger-kernel, which is installed by hand and needs a "
        "GPU (sft and cpt on causal bases); results differ by rounding.",
    )
    checkpoint_steps: int = Field(
        default=100, ge=1, description="Steps between checkpoints; a killed training resumes there."
    )
    length: Length = Field(default=Length(), description="Length policy.")
    labels: Labels = Field(default=Labels(), description="Which tokens are learnt (sft).")

    @model_validator(mode="after")
    def _pairs_only(self) -> "Recipe":
        length = self.length
        if self.objective != "dpo" and (length.policy == "keep_end" or length.prompt_tokens):
            raise PydanticCustomError(
                "recipe",
                "length.policy keep_end and length.prompt_tokens are for the objective dpo",
            )
        return self

    @model_validator(mode="after")
    def _faster(self) -> "Recipe":
        if (self.padding_free or self.liger) and self.objective not in ("sft", "cpt"):
            raise PydanticCustomError(
                "recipe", "padding_free and liger are for the objectives sft and cpt"
            )
        return self
