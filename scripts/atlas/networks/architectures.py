"""Causal networks, and sequence-to-sequence ones (an encoder and a decoder): which a base is."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas import device as devices
from atlas.errors import AtlasError
from atlas.files import read_object
from atlas.limits import without_panics

if TYPE_CHECKING:
    import torch

# Settings that say how often a part of a network is made.
COUNTS = re.compile(r"(num|n)_(\w+_)?(layers?|experts|heads?)|(en|de)coder_layers")
MOST_PARTS = 4096


def is_seq2seq(folder: Path) -> bool:
    """Whether the base in a folder is a sequence-to-sequence model, by its config.json."""
    return bool(read_object(folder / "config.json").get("is_encoder_decoder", False))


def loader(config: Any) -> Any:
    """The class of transformers that loads a model of this kind, be it one that reads pictures, too."""
    import transformers
    from transformers.models.auto import modeling_auto

    if config.is_encoder_decoder:
        return transformers.AutoModelForSeq2SeqLM
    kind = config.model_type
    pictures = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    if kind in pictures and kind not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return transformers.AutoModelForImageTextToText
    return transformers.AutoModelForCausalLM


def blank(folder: Path) -> Any:
    """The network of a folder by its config.json alone: names and shapes, no weights.

    :raises AtlasError: where transformers makes no network of it.
    """
    import torch

    config = configuration(folder)
    with reported(folder.name), torch.device("meta"):
        return loader(config).from_config(config, trust_remote_code=False).eval()


def configuration(folder: Path) -> Any:
    """The configuration of the network in a folder, as transformers has it.

    :raises AtlasError: where transformers cannot read it.
    """
    from transformers import AutoConfig

    check_settings(folder)
    with reported(folder.name):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def load(folder: Path, dtype: str, device: torch.device, *, empty: bool = False) -> Any:
    """The network in a folder, still in main memory; remote code is never run.

    :param dtype: ``auto``: as it is stored.
    :param device: where it will compute, which its attention must allow; ``meta``: nothing is read.
    :param empty: whether its weights are left where they are, and it is on ``meta`` so far.
    :raises AtlasError: where a tensor is missing, is one too many or has another shape; where it
        cannot compute attention as the configuration wants it.
    """
    import torch

    settings = configuration(folder)
    nothing = {"device_map": "meta"} if empty or device.type == "meta" else {}
    wanted = None if device.type == "meta" else devices.attention(dtype, device)
    with reported(folder.name):
        network, found = loader(settings).from_pretrained(
            folder, dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            trust_remote_code=False, output_loading_info=True, ignore_mismatched_sizes=True,
            **nothing,
        )  # fmt: skip
    _refuse_misfits(folder, network, found)
    for config in (network.config, network.config.get_text_config()):
        config.return_dict = True  # who asks for a part of what it gives asks by name
        config.output_hidden_states = config.output_attentions = False
    if wanted is not None:
        _set_attention(network, wanted)
    if device.type != "meta":
        devices.note_attention(network.config._attn_implementation)
    return network


def check_settings(folder: Path) -> None:
    """Refuse a config.json of a family that only code of its own knows, or with sizes that no network has.

    :raises AtlasError: naming the first such key.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    where = f"{folder.name}/config.json"
    parts = [read_object(folder / "config.json")]
    for settings in parts:
        if settings.get("auto_map") and settings.get("model_type") not in CONFIG_MAPPING_NAMES:
            raise AtlasError(
                f"{where}: names code of its own (auto_map), which is never run; take a model of a family "
                "that transformers has."
            )
        for key, value in settings.items():
            if isinstance(value, dict) and key.endswith("_config"):
                parts.append(value)
            is_count = isinstance(value, int | float) and COUNTS.fullmatch(key)
            if is_count and not (isinstance(value, int) and 0 <= value <= MOST_PARTS):
                raise AtlasError(
                    f"{where}: says {key}: {value}, and no network has more than {MOST_PARTS:,}."
                )


@contextlib.contextmanager
def reported(name: str) -> Iterator[None]:
    """What transformers says of somebody's files, of whatever kind, as an error of these files."""
    import torch

    try:
        with without_panics():
            yield
    except (AtlasError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise AtlasError(
            f"{name}: transformers cannot load it ({type(error).__name__}: {reason}); mend its "
            "config.json, or save it again with save_pretrained."
        ) from None


def _refuse_misfits(folder: Path, network: Any, found: dict[str, Any]) -> None:
    """What transformers passes over with a warning."""
    # Of a multimodal repository, a text network leaves the other parts where they are.
    part = is_text_of_more(folder, network.config)
    shapes = [f"{name} in the shape {tuple(own)}, and the network of its config.json in "
              f"{tuple(wanted)}" for name, own, wanted in found["mismatched_keys"]]  # fmt: skip
    for names, what in (
        (found["missing_keys"], "has no tensor {}, which the network of its config.json has"),
        (() if part else found["unexpected_keys"],
         "has a tensor {}, for which the network of its config.json has no place"),
        (shapes, "has {}"),
    ):  # fmt: skip
        if some := sorted(names):
            more = f" (and {len(some) - 1} more)" if len(some) > 1 else ""
            raise AtlasError(
                f"{folder.name}: {what.format(some[0] + more)} ({type(network).__name__}); save the "
                "whole model again with save_pretrained of that class."
            )


def is_text_of_more(folder: Path, config: Any) -> bool:
    """Whether a network is the text model of a repository that holds more, by its configuration."""
    stored = read_object(folder / "config.json")
    return "text_config" in stored and stored.get("model_type") != config.model_type


def device_of(network: Any) -> torch.device:
    """Where a network computes: what it has no values for yet (``meta``) does not count."""
    if (layers := vars(network).get("by_layer")) is not None:
        device: torch.device = layers.device
        return device
    own: list[torch.device] = [parameter.device for parameter in network.parameters()]
    return next((device for device in own if device.type != "meta"), own[0])


def body_of(network: Any) -> Any:
    """What computes the last hidden state of a causal network, without a head."""
    return network.base_model if network.base_model is not network else _decoder(network)


def _decoder(network: Any) -> Any:
    found = network.get_decoder()
    return found if found is not network else network.model


def decoder_start(network: Any) -> int:
    """The first token of a decoder, as transformers finds it where it generates.

    :raises AtlasError: where neither config.json nor generation_config.json tells it.
    """
    for key in ("decoder_start_token_id", "bos_token_id"):
        for settings in (network.config, network.generation_config):
            if (found := getattr(settings, key, None)) is not None:
                return int(found)
    raise AtlasError(
        f"{Path(network.config.name_or_path).name}: its config.json has no decoder_start_token_id, with "
        "which its decoder begins; put it there."
    )


def text_path(network: Any) -> str:
    """Where the layers of text stand in a network: the name of the module that holds them."""
    inner = network.base_model if network.config.is_encoder_decoder else _decoder(network)
    return next((name for name, module in network.named_modules() if module is inner), "")


def own_path(network: Any, names: Iterable[str]) -> str:
    """Where the layers of text stand in the names of an adapter (:func:`text_path`).

    It may have been made with another class of the architecture: one without a head has no prefix
    before its layers, one for pictures has a longer one.

    :param names: of its tensors or modules.
    """
    text = text_path(network)
    children = {name for name, _ in network.get_submodule(text).named_children()}
    found = set()
    for name in names:
        parts = name.removeprefix("base_model.model.").split(".")
        at = next((i for i, part in enumerate(parts) if part in children), None)
        found |= set() if at is None else {".".join(parts[:at])}
    if not text or len(found) != 1:
        return text
    path = found.pop()
    # Any other prefix is that of a class that would not have loaded the base.
    known = f".{text}".endswith(f".{path}") or "language_model" in path or "language_model" in text
    return path if known or not path else text


def _set_attention(network: Any, wanted: str) -> None:
    """Transformers warns, takes another or raises where an architecture has no such attention."""
    try:
        network.set_attn_implementation(wanted)
        if network.config._attn_implementation == wanted:
            return
        reason = f"it computes by {network.config._attn_implementation}"
    except (ImportError, ValueError) as error:
        reason = str(error).partition(". ")[0].rstrip(".")
    raise AtlasError(
        f"attention is {wanted}, which {type(network).__name__} cannot use ({reason}); set "
        "attention to auto."
    )


def is_routed(network: Any) -> bool:
    """Whether a network sends its tokens to experts."""
    return any(name.rpartition(".")[2] == "experts" for name, _ in network.named_modules())


def refuse_seq2seq(folder: Path) -> None:
    """Refuse a sequence-to-sequence model where only causal ones can be read."""
    if is_seq2seq(folder):
        raise AtlasError(
            f"{folder.name}: is a sequence-to-sequence model, and this reads causal ones only; the "
            "embedding spaces that read both are delta_activations, weight_deltas, "
            "flattened_weights, salient_mask and output_sentences."
        )
