"""Whether an adapter was trained from a base, by what it records: a digest, else a name."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from atlas.errors import AtlasError

# Folders that people keep models in. A path with one slash looks like a name on a hub; no
# organisation of a hub is called like these.
FOLDERS = {
    "ai", "artifacts", "assets", "base", "base_model", "base_models", "bases", "basemodel", "cache",
    "checkpoint", "checkpoints", "ckpt", "ckpts", "content", "data", "download", "downloads", "exp",
    "experiments", "final", "finetuned", "hf", "hf_models", "home", "hub", "huggingface", "llm",
    "llms", "local", "merged", "mnt", "model", "models", "opt", "out", "output", "outputs",
    "pretrain", "pretrained", "pretrained_models", "project", "result", "results", "root", "run",
    "runs", "save", "saved", "saved_models", "saves", "scratch", "src", "storage", "temp", "tmp",
    "train", "training", "weights", "work", "workspace",
}  # fmt: skip
# Who publishes other people's models under names of their own, quantised or not.
REPUBLISHERS = {"unsloth", "thebloke", "bartowski", "nousresearch", "neuralmagic", "redhatai",
                "casperhansen", "solidrust", "hugging-quants", "techxgenus", "isotr0py"}  # fmt: skip
QUANTISED = re.compile(
    r"[-_.](unsloth[-_.])?(quantized[-_.])?(bnb[-_.]?)?(4bit|8bit|int[48]|w[48]a16|fp8|nf4|gptq|awq|hqq|exl2|gguf)"
    r"([-_.](4bit|8bit|int[48]|g128|dynamic|inc|marlin|gemm))*$"
)

# A folder in the cache of a hub.
CACHED = re.compile(r"(?:^|[/\\])models--([\w.-]+?)--([\w.-]+)[/\\]snapshots(?:[/\\]|$)")


def check_base(adapter: Any, base: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse an adapter that records another base: by digest, else by name.

    :param adapter: with ``name``, ``metadata`` (of its weights) and ``config``, as PEFT writes it.
    :param base: the record of the base at hand (base.json).
    :param names: names under which the base may be recorded.
    :raises AtlasError: where the digest, or the name, is another one.
    """
    digest = adapter.metadata.get("base_sha256")
    if digest is not None:
        if digest != base["weights_sha256"]:
            raise AtlasError(
                f"{adapter.name}: was trained from a base with the digest {digest[:12]}…, and "
                f"{base['name']} has {str(base['weights_sha256'])[:12]}…; name its own base."
            )
        return
    recorded = recorded_name(adapter.config.get("base_model_name_or_path"))
    if is_name(recorded) and not same_model(recorded, names):
        raise AtlasError(
            f"{adapter.name}: records the base {recorded}, and {base['name']} is known as "
            f"{', '.join(names)}; name its own base, or, where they are the same, add the line "
            f"`aliases: [{recorded}]` to bases.{base['name']}."
        )


def recorded_name(recorded: Any) -> Any:
    """What is recorded; of a path in the cache of a hub, the repository that it names."""
    found = CACHED.search(recorded) if isinstance(recorded, str) else None
    return f"{found[1]}/{found[2]}" if found else recorded


def is_name(recorded: Any) -> bool:
    """Whether what an adapter records is a name on a hub; a path says where somebody had the base."""
    found = isinstance(recorded, str) and re.fullmatch(r"([\w-][\w.-]*)/[\w.-]+", recorded)
    return bool(found) and found[1].lower() not in FOLDERS  # type: ignore[index]


def same_model(recorded: str, names: Sequence[str]) -> bool:
    """Whether a name on a hub is one of some names, or that of a copy, maybe quantised, of one."""
    if recorded.lower() in {name.lower() for name in names}:
        return True
    publisher, _, name = recorded.lower().partition("/")
    known = REPUBLISHERS | {name.lower().partition("/")[0] for name in names}
    if publisher not in known and not QUANTISED.search(name):
        return False
    return _bare(recorded) in map(_bare, names)


def copied(recorded: str) -> int:
    """How far a name is from that of a model itself: 0, 1 where others publish it, 2 quantised."""
    publisher, _, name = recorded.lower().partition("/")
    return 2 if QUANTISED.search(name) else int(publisher in REPUBLISHERS)


def _bare(name: str) -> str:
    """A model's name without publisher and quantisation; families are called with and without these."""
    bare = name.lower().rpartition("/")[2]
    bare = QUANTISED.sub("", bare).removeprefix("meta-").removesuffix("-hf")
    return bare.removesuffix("-unsloth")
