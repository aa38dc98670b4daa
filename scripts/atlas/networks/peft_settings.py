"""Configurations of adapters as PEFT takes them, and those that nothing can be computed with."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.guarded_patterns import ending, matches
from atlas.weights.adapters import PeftAdapter, is_off

# Kinds that a base and their own files are not enough for.
REFUSED = {
    "XLORA": "needs the adapters that it mixes",
    "POLY": "needs a task beside each prompt",
    "MULTITASK_PROMPT_TUNING": "needs a task beside each prompt",
    "CPT": "needs to know which tokens of a prompt are which",
    "SHADOW": "runs a second network beside the base",
    "LILY": "mixes its parts by the mean of all texts that are computed together",
}
# Initialisations that take something from the base, which PEFT takes again when it loads; of others
# that do, only the person who trained them has what was taken.
REPEATED, LOST = ("pissa", "olora"), ("pissa_niter_", "corda", "loftq", "lora_ga")
# Settings that may be one pattern of whole names, and those that are patterns of their ends.
PATTERNS = ("target_modules", "exclude_modules", "feedforward_modules")
ENDINGS = ("rank_pattern", "alpha_pattern", "target_parameters")
# Tasks with heads of their own.
OTHER_TASKS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")
# What PEFT and torch raise for files that do not fit may be anything, and this is no fault of a file.
NO_FAULT = (MemoryError, torch.OutOfMemoryError, OSError)


def configuration(adapter: PeftAdapter, network: Any) -> Any:
    """PEFT's configuration of an adapter, as a causal network can take it.

    :raises AtlasError: for what PEFT cannot read, or nothing can be computed with.
    """
    import peft

    method, own = adapter.method, adapter.config
    _try_patterns(own, [name for name, _ in network.named_modules()], adapter.name)
    if method not in peft.PEFT_TYPE_TO_CONFIG_MAPPING:
        raise AtlasError(
            f"{adapter.name}: PEFT {peft.__version__} has no adapters of the kind {method}; merge it "
            "with the version that made it, and give the merged model with kind: full."
        )
    if why := REFUSED.get(method) or _draws(own):
        raise AtlasError(
            f"{adapter.name}: an adapter of the kind {method} {why}, so it has no activations of its "
            "own; leave this model out."
        )
    initial = str(own.get("init_lora_weights")).lower()
    if initial.startswith(LOST):
        raise AtlasError(
            f"{adapter.name}: {initial} changed the base before training, and what it took cannot be "
            "computed again; save the adapter as plain LoRA (save_pretrained with "
            "path_initial_model_for_weight_conversion), or merge it and give the merged model."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = peft.PeftConfig.from_pretrained(str(adapter.weights.parent))
    except Exception as error:
        raise AtlasError(
            f"{adapter.name}: PEFT cannot read its configuration ({type(error).__name__}: "
            f"{reason(error)}); mend its adapter_config.json."
        ) from None
    if unknown := [k for k in sorted(own) if not hasattr(config, k) and not is_off(own[k])]:
        raise AtlasError(
            f"{adapter.name}: its configuration has {unknown[0]}, which PEFT {peft.__version__} does "
            "not know; where it is only a note, take the line out, else merge the adapter with the "
            "version that made it, and give the merged model with kind: full."
        )
    config.inference_mode = True
    if str(config.task_type) in OTHER_TASKS:
        # Their heads are read by nobody here, and a causal network has no place for them.
        config.task_type = "SEQ_2_SEQ_LM" if network.config.is_encoder_decoder else "CAUSAL_LM"
        modules = dict(network.named_modules())
        for key in ("modules_to_save", "exclude_modules"):
            kept = getattr(config, key, None)
            if isinstance(kept, list):
                there = [n for n in kept if any(m.split(".")[-1] == n for m in modules)]
                setattr(config, key, there or None)
    return config


def _try_patterns(config: Mapping[str, Any], modules: Collection[str], where: str) -> None:
    """Refuse patterns that never end, which PEFT tries on all modules without a look at the clock.

    :raises AtlasError: for such a pattern, and for one that is none.
    """
    wholes = [p for p in map(config.get, PATTERNS) if isinstance(p, str)]
    for key in ENDINGS:
        given = config.get(key) or []
        wholes += [ending(p) for p in ([given] if isinstance(given, str) else given)]
    saved = config.get("modules_to_save") or []
    wholes += [rf"(^|.*\.){name}($|\..*)" for name in saved if isinstance(name, str)]
    found = config.get("layers_pattern") or []
    layers = [found] if isinstance(found, str) else found
    wholes += [rf"(?:^|.*?\.){layer}\.(?P<idx>\d+)\..*" for layer in layers]
    matches([(pattern, modules) for pattern in wholes], where)


def _draws(config: Mapping[str, Any]) -> str:
    """Why an adapter computes something else each time; nothing where it does not."""
    return "draws at random as it computes" if config.get("sample_at_inference") else ""


def takes_from_base(adapter: PeftAdapter) -> bool:
    """Whether an adapter takes a part of the base before it changes the rest."""
    return str(adapter.config.get("init_lora_weights")).lower() in REPEATED


def reason(error: Exception) -> str:
    """What an error says first; of a list, its first item. Too little memory is no fault of a file."""
    if isinstance(error, NO_FAULT):
        raise error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:300].rstrip(".:")
