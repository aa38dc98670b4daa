"""Settings that older transformers and PEFT read as the ones here do: both forms of a key in one file.

Transformers 5 renamed keys (`rope_theta` and `rope_scaling` are in `rope_parameters`, `torch_dtype` is
`dtype`), and an older one takes its default for a key that it does not find, in silence.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

# Least version that opens a family with the same numbers, measured with
# `python bench/older_transformers.py`; beyond the oldest, the first release in whose wheel
# transformers/models/ has the family (phi3: has partial_rotary_factor).
OLDEST = "4.46"
LEAST = {
    **dict.fromkeys(
        ("bert", "bloom", "falcon", "gemma", "gemma2", "gpt2", "gpt_neox", "llama", "mistral",
         "mixtral", "opt", "phi", "qwen2", "t5"), OLDEST,
    ),
    "olmo2": "4.47", "phi3": "4.49", "gemma3_text": "4.50", "qwen3": "4.51", "qwen3_moe": "4.51",
    "olmo3": "4.57",
}  # fmt: skip
SCALINGS = {"yarn": "4.57", "longrope": "5.0"}  # older ones scale positions in another way
LAYER_TYPES = "4.53"  # the first that reads layer_types
BOTH_FORMS = "5.0"  # the first that reads rope_parameters and dtype
FULL, SLIDING = "full_attention", "sliding_attention"
# One layer of so many sees all, before layer_types said so.
PERIODS = {"gemma2": 2, "gemma3_text": 6}
OLD_NAMES = {"gpt_neox": {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}}

# Settings of a tokenizer that are not saved, and for which older versions have other defaults.
IMPLIED = ("clean_up_tokenization_spaces", "model_input_names")

# Fields of LoRA and IA3 that PEFT 0.13, which is of the time of transformers 4.46, refuses, with the
# values that say what it does anyway.
NEW_IN_PEFT: dict[str, Any] = {
    "alora_invocation_tokens": None, "arrow_config": None, "corda_config": None,
    "ensure_weight_tying": False, "eva_config": None, "exclude_modules": None, "kasa_config": None,
    "lora_bias": False, "lora_ga_config": None, "monteclora_config": None, "qalora_group_size": 16,
    "target_parameters": None, "trainable_token_indices": None, "use_bdlora": None,
    "use_qalora": False, "velora_config": None,
}  # fmt: skip


def portable_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json with the older form of each key beside the newer one.

    Keys that say something stay as they are; transformers 5 reads the result as it reads `config`.
    """
    found = {
        key: portable_config(part) if key.endswith("_config") and isinstance(part, dict) else part
        for key, part in config.items()
    }
    older = _older_rope(found) or {}
    if found.get("model_type") == "qwen3_moe" and "num_local_experts" in found:
        older["num_experts"] = found["num_local_experts"]
    if found.get("dtype") is not None:
        older["torch_dtype"] = found["dtype"]
    return older | {
        key: part for key, part in found.items() if part is not None or key not in older
    }


def _older_rope(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Older keys of `rope_parameters`; None where they cannot say what it says."""
    rope, family = config.get("rope_parameters"), config.get("model_type")
    if not rope:
        return {}
    if "rope_type" in rope:
        older = _flat(rope, OLD_NAMES.get(str(family), {}))
        if family == "phi3" and older.get("partial_rotary_factor") == 1.0:
            older.pop("partial_rotary_factor")  # its configuration has no such key
        return older
    if set(rope) != {FULL, SLIDING}:
        return None
    full, sliding = rope[FULL], rope[SLIDING]
    if sliding["rope_type"] == "default" and family == "gemma3_text":
        return _flat(full, {}) | {"rope_local_base_freq": sliding["rope_theta"]}
    if family == "olmo3" and sliding == {"rope_type": "default", "rope_theta": full["rope_theta"]}:
        return _flat(full, {})
    return None


def _flat(rope: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    own = ("rope_theta", "partial_rotary_factor")
    older = {names.get(key, key): rope[key] for key in own if key in rope}
    scaling = {key: value for key, value in rope.items() if key not in own}
    return older | {"rope_scaling": None if scaling == {"rope_type": "default"} else scaling}


def portable_tokenizer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer_config.json whose class and lists of tokens older transformers know.

    :param settings: as transformers 5 saves them, with what it takes for granted (:data:`IMPLIED`).
    """
    found = dict(settings)
    if found.get("tokenizer_class") == "TokenizersBackend":
        found["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(found.get("extra_special_tokens"), list):
        found["additional_special_tokens"] = found.pop("extra_special_tokens")
    return found


def portable_adapter(settings: Mapping[str, Any]) -> dict[str, Any]:
    """An adapter_config.json without the fields that an older PEFT refuses and that change nothing."""
    drop = {key for key, value in NEW_IN_PEFT.items() if key in settings and settings[key] == value}
    if settings.get("peft_type") in ("LORA", "IA3"):
        drop.add("peft_version")
    return {key: value for key, value in settings.items() if key not in drop}


def least_transformers(config: Mapping[str, Any]) -> str:
    """The least version of transformers that reads a config.json with the numbers of the one here.

    A family of which no other is known needs the one here.
    """
    family = str(config.get("model_type"))
    if family not in LEAST:
        return version("transformers")
    needs = [LEAST[family]]
    if _older_rope(config) is None or portable_config(config) != config:
        needs.append(BOTH_FORMS)
    scaled = config.get("rope_scaling") or config.get("rope_parameters") or {}
    needs.append(SCALINGS.get(str(scaled.get("rope_type", scaled.get("type"))), OLDEST))
    period, layers = PERIODS.get(family, 1), config.get("layer_types") or []
    if layers != [SLIDING if i % period else FULL for i in range(1, len(layers) + 1)]:
        needs.append(LAYER_TYPES)
    return max(needs, key=lambda release: [int(part) for part in release.split(".")])
