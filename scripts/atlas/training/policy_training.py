"""Group relative policy optimisation with TRL, on rewards that a program verifies."""

import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from atlas.errors import AtlasError
from atlas.networks.tokens import load_tokenizer
from atlas.progress import say
from atlas.training.fine_tuning import COLUMNS, Watch, peft_config, train, trainer_arguments
from atlas.training.rewards import reward

REWARD_COLUMNS = {
    "reward": "reward",
    "reward_std": "reward_std",
    "completion_tokens": "completions/mean_length",
    "truncated_share": "completions/clipped_ratio",
    "entropy": "entropy",
}


def train_policy(*, model: str, scratch: Path, **arguments: Any) -> None:
    """Train one adapter on rewards; arguments as in :func:`atlas.training.fine_tuning.train`.

    training.csv then also has ``reward`` and ``reward_std`` (mean and standard deviation over the
    completions of a step), ``completion_tokens`` (mean length), ``truncated_share`` (completions
    that reached the longest length) and ``entropy`` (nats per token).

    :raises AtlasError: also where the prompts do not fill whole steps.
    """
    columns = COLUMNS | {"tokens": "num_tokens"} | REWARD_COLUMNS
    train(model=model, scratch=scratch, **arguments, build=_trainer, columns=columns)


def _trainer(
    network: Any, folder: Path, data: list[dict[str, Any]], recipe: dict[str, Any], seed: int,
    scratch: Path, device: torch.device,
) -> Any:  # fmt: skip
    grpo = recipe["grpo"]
    prompts = prompts_per_step(len(data), recipe)
    steps = recipe["max_steps"] or int(recipe["epochs"] * (len(data) // prompts))
    say(f"{len(data)} prompts, {steps} steps of {prompts} with {grpo['generations']} completions "
        f"each on {device}")  # fmt: skip
    arguments = trainer_arguments(recipe, seed, scratch, device, steps)
    settings = GRPOConfig(
        **arguments,
        num_generations=grpo["generations"],
        max_completion_length=grpo["new_tokens"],
        temperature=grpo["temperature"],
        beta=grpo["kl"],
        epsilon=grpo["epsilon"],
        scale_rewards="group",
        loss_type="dapo",
    )

    def verified(completions: list[str], entry: list[str], **_: Any) -> list[float]:
        graded = (grpo["grader"], grpo["answer"], grpo["column"])
        return [reward(c, json.loads(e), *graded) for c, e in zip(completions, entry, strict=True)]

    return _Rewarded(
        prompt_ids={row["prompt"]: row["prompt_ids"] for row in data},
        model=network,
        args=settings,
        reward_funcs=verified,
        train_dataset=Dataset.from_list(
            [{"prompt": row["prompt"], "entry": json.dumps(row["entry"])} for row in data]
        ),
        processing_class=load_tokenizer(folder),
        peft_config=peft_config(recipe),
        callbacks=[Watch(steps)],
    )


def prompts_per_step(prompts: int, recipe: dict[str, Any]) -> int:
    """Prompts of an optimiser step.

    :raises AtlasError: where a step has no whole number of prompts, or the prompts no whole number
        of steps (the sampler would drop what is left over).
    """
    completions = recipe["batch_size"] * recipe["accumulation"]
    generations = recipe["grpo"]["generations"]
    each, over = divmod(completions, generations)
    if over or each == 0:
        raise AtlasError(
            f"a step of {completions} completions (batch_size times accumulation) has no whole "
            f"number of prompts with {generations} generations each; choose a multiple of "
            f"{generations}."
        )
    if prompts % each:
        raise AtlasError(
            f"{prompts} prompts do not fill steps of {each}, and what is left over would not be "
            f"trained; set rows to {prompts - prompts % each or each}."
        )
    return each


class _Rewarded(GRPOTrainer):  # type: ignore[misc]
    """Reads prompts as the tokens that were prepared."""

    def __init__(self, *, prompt_ids: dict[str, list[int]], **arguments: Any) -> None:
        self._prompt_ids = prompt_ids
        super().__init__(**arguments)

    def _tokenize_prompts(self, prompts: list[str]) -> Any:
        return [self._prompt_ids[prompt] for prompt in prompts], None, {}

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Checkpoints need no card."""
