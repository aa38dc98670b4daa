"""What a merged model has besides its weights: configuration, generation, tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import by_name, copy, read_json, write_json
from atlas.networks.vocabularies import TOKEN_IDS
from atlas.weights.portable_settings import portable_config


def write_settings(model: Sequence[Path], meta: dict[str, Any], config: Path) -> None:
    """config.json of a full model, with what the instruct model changed of its base's."""
    settings = read_json(by_name(model)["config.json"]) | meta["config"]
    gone = {key for key, value in meta["config"].items() if value is None}
    kept = {key: settings[key] for key in settings if key not in gone}
    write_json(config, portable_config(kept))


def write_generation(instruct: dict[str, Path], config: Path, generation: Path) -> None:
    """generation_config.json: the instruct model's own, else one with the ids of config.json."""
    record = read_json(instruct["base.json"]) if "base.json" in instruct else {}
    settings = read_json(config)
    ids = {key: settings[key] for key in TOKEN_IDS if settings.get(key) is not None}
    write_json(generation, record.get("generation", {"_from_model_config": True, **ids}))


def take_tokenizer(instruct: dict[str, Path], tokenizer: Path, tokenizer_config: Path) -> None:
    """Tokenizer and chat template of the instruct model.

    :raises AtlasError: where it has no chat template.
    """
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if name not in instruct:
            raise AtlasError(f"the instruct model of the delta has no {name}, which chats need.")
    settings = instruct["tokenizer_config.json"]
    if not read_json(settings).get("chat_template"):
        raise AtlasError(
            f"{settings}: has no chat template, which a merged instruct model needs; give the "
            "instruct model one (chat_template)."
        )
    copy(instruct["tokenizer.json"], tokenizer)
    copy(settings, tokenizer_config)
