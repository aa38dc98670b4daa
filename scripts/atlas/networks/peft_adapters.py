"""Adapters of every kind that PEFT loads, on a base that is in memory and stays as it is.

What :mod:`atlas.weights.adapters` cannot apply by itself, PEFT applies: to a shadow of the base,
modules of its own around the very tensors of the base, which is thrown away afterwards.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.guarded_patterns import ending, matches
from atlas.networks.architectures import own_path, text_path
from atlas.weights.adapted_module import PREFIX
from atlas.weights.adapters import PeftAdapter, is_off
from atlas.weights.tensors import Weights

# Kinds that put virtual tokens before a text, or keys and values: no weight of the base changes.
PROMPTS = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING", "CPT",
           "CARTRIDGE")  # fmt: skip
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
# Heads of other tasks, which stand after the hidden states that are read here.
HEADS = ("score", "classifier", "qa_outputs", "v_head", "summary")
OTHER_TASKS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")
ANOTHER = (
    "name the base that it was trained from, or merge it and give the merged model with kind: full"
)
# What PEFT and torch raise for files that do not fit may be anything, and this is no fault of a file.
NO_FAULT = (MemoryError, torch.OutOfMemoryError, OSError)


def shadow(network: Any, changed: Callable[[str], bool]) -> Any:
    """A network of its own modules, whose tensors are the memory of another's.

    :param changed: name of a tensor -> whether it is a copy, because it will change.
    """

    def kept(name: str, tensor: torch.Tensor) -> torch.Tensor:
        values = tensor.detach().clone() if changed(name) else tensor.detach()
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        return torch.nn.Parameter(values, requires_grad=False) if is_parameter else values

    tensors = itertools.chain(network.named_parameters(), network.named_buffers())
    return copy.deepcopy(network, {id(tensor): kept(name, tensor) for name, tensor in tensors})


@contextlib.contextmanager
def peft_applied(network: Any, adapter: PeftAdapter) -> Iterator[Any]:
    """A network that computes what PEFT computes with the adapter on a base.

    :param network: the base, which stays as it is; on the device ``meta``, nothing is computed,
        and whether the adapter fits is found out all the same.
    :raises AtlasError: where no loading can be right, and where the adapter does not fit.
    """
    loaded = _loaded(network, adapter)
    if adapter.method in PROMPTS:
        _try_one_token(loaded.wrapped, adapter)
    # Of these, PEFT's own forward pass does a part, before the modules of the base.
    whole = adapter.method in PROMPTS or _is_activated(adapter.config)
    yield loaded.wrapped if whole else loaded.network


def merged_by_peft(network: Any, adapter: PeftAdapter) -> Any:
    """A new network: the base with the adapter merged, which shares the weights that stay.

    :raises AtlasError: for kinds that change no weight, and as :func:`peft_applied` does.
    """
    if reason := no_weights(adapter.config):
        raise AtlasError(f"{adapter.name}: {reason}.")
    loaded = _loaded(network, adapter, merges=True)
    try:
        inner = loaded.wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:
        raise AtlasError(
            f"{adapter.name}: PEFT cannot merge this {adapter.method} adapter "
            f"({_reason(error)}), so the change of the weights is not known; leave it out of the "
            "spaces that compare weights."
        ) from None
    return _give_back(inner, loaded.network)


def no_weights(config: Mapping[str, Any]) -> str:
    """Why no change of weights stands for an adapter; nothing where one does.

    :param config: its configuration, as PEFT writes it.
    """
    method = str(config.get("peft_type")).upper()
    if method in (*PROMPTS, "ADAPTION_PROMPT"):
        return f"{method.lower().replace('_', ' ')} changes no weight of the base"
    if _is_activated(config):
        return "an activated LoRA changes weights only after its invocation"
    return ""


def _is_activated(config: Mapping[str, Any]) -> bool:
    return not is_off(config.get("alora_invocation_tokens"))


@dataclass(frozen=True)
class _Loaded:
    """PEFT's model of an adapter, and the network of transformers that computes as it does."""

    wrapped: Any
    network: Any


def _loaded(network: Any, adapter: PeftAdapter, *, merges: bool = False) -> _Loaded:
    """An adapter on a shadow of the base, in evaluation mode."""
    import peft

    config = _configuration(adapter, network)
    tensors = Weights([adapter.weights])
    shapes = {name: tensors.shape(name) for name in tensors}
    text = text_path(network)
    own = text if adapter.method in PROMPTS else own_path(network, shapes)
    places = {_of_base(name) for name in shapes}
    if own != text:
        places = {f"{text}.{name.removeprefix(own).lstrip('.')}" for name in places} | places
    base = shadow(network, _changed(places, takes=merges or _takes_from_base(adapter)))
    named = base if own == text else _renamed(base, text, own)
    if named is not base:
        config.task_type = None
    blank = next(network.parameters()).device.type == "meta"
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # What it warns of (missing tensors, targets) is refused below, or was decided when training.
        warnings.simplefilter("ignore")
        torch.manual_seed(0)  # of what is neither stored nor always the same
        _resize(base, adapter, shapes)
        try:
            wrapper = peft.MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(config.task_type, peft.PeftModel)
            wrapped = wrapper(named, config, "default", low_cpu_mem_usage=blank)
            found = wrapped.load_adapter(
                str(adapter.weights.parent), "default",
                torch_device="cpu" if blank else str(network.device),
            )  # fmt: skip
        except Exception as error:
            if blank and isinstance(error, NotImplementedError):
                # It begins with a computation from weights, so it is tried where there are some.
                return _Loaded(None, base)
            raise AtlasError(
                f"{adapter.name}: PEFT cannot load it into this base ({type(error).__name__}: "
                f"{_reason(error)}); {ANOTHER}."
            ) from None
    _refuse_misfits(adapter, shapes, found)
    return _Loaded(wrapped.eval().requires_grad_(False), _give_back(named, base))


def _changed(places: Collection[str], *, takes: bool) -> Callable[[str], bool]:
    """Which tensors of a base an adapter may write to.

    :param places: names in the base of what it stores.
    :param takes: whether it takes something from the matrices beside which it stands, or is merged.
    """
    beside = {name.rpartition(".")[0] for name in places} if takes else set()
    beside |= {name.rpartition(".")[0] for name in beside}
    return lambda name: name in places or name.rpartition(".")[0] in beside


def _refuse_misfits(
    adapter: PeftAdapter, shapes: Mapping[str, tuple[int, ...]], found: Any
) -> None:
    """What PEFT passes over with a warning."""
    unknown = [] if adapter.method in PROMPTS else [
        name for name in found.unexpected_keys
        if not _of_a_head(name) and (_of_base(name) == name or PREFIX + _of_base(name) not in shapes)
    ]  # fmt: skip
    missing = [
        n for n in found.missing_keys if "vblora_vector_bank" not in n and "prompt_enc" not in n
    ]
    if unknown or missing:
        name, what = (unknown[0], "no place for") if unknown else (missing[0], "no value for")
        raise AtlasError(
            f"{adapter.name}: with this base there is {what} the tensor {name}; {ANOTHER}."
        )


def _try_one_token(wrapped: Any, adapter: PeftAdapter) -> None:
    """Let PEFT read one token after what it puts before, which it cannot in every architecture."""
    one = torch.zeros(1, 1, dtype=torch.long, device=wrapped.device)
    decoder = {"decoder_input_ids": one} if wrapped.config.is_encoder_decoder else {}
    try:
        with torch.inference_mode():
            wrapped(input_ids=one, use_cache=False, **decoder)
    except Exception as error:
        # Without weights, some steps cannot be taken; these are about shapes and kinds of layers.
        if one.is_meta and not isinstance(error, ValueError) and "Sizes of" not in str(error):
            return
        raise AtlasError(
            f"{adapter.name}: PEFT cannot put {adapter.method} before a text in this base "
            f"({_reason(error)}); leave this model out."
        ) from None


def _of_base(name: str) -> str:
    """The tensor of the base that a tensor of an adapter stands for, where it is one of the base."""
    wrappers = r"\.(base_layer|original_module|modules_to_save)(?=\.)"
    return re.sub(wrappers, "", name.removeprefix(PREFIX))


def _reason(error: Exception) -> str:
    """What an error says first; of a list, its first item. Too little memory is no fault of a file."""
    if isinstance(error, NO_FAULT):
        raise error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:300].rstrip(".:")


def _takes_from_base(adapter: PeftAdapter) -> bool:
    return str(adapter.config.get("init_lora_weights")).lower() in REPEATED


def _configuration(adapter: PeftAdapter, network: Any) -> Any:
    """PEFT's configuration of an adapter, as a causal network can take it."""
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
            f"{_reason(error)}); mend its adapter_config.json."
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


def _of_a_head(name: str) -> bool:
    return any(part in HEADS for part in name.split("."))


def _resize(network: Any, adapter: PeftAdapter, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Give a network the vocabulary that an adapter was saved with."""
    inner = {id(module): name for name, module in network.named_modules()}
    found = (network.get_input_embeddings(), network.get_output_embeddings())
    ends = {inner[id(module)].rpartition(".")[2] for module in found if id(module) in inner}
    # A tensor of embeddings as a whole, or of LoRA beside it, has a row or column a token.
    whole, beside = set(), set()
    for name, shape in shapes.items():
        match = re.search(rf"(?:^|\.)(?:{'|'.join(ends)})\.(.+)", name)
        part = match[1] if match else ""
        if re.fullmatch(
            r"((.+\.)?(base_layer|original_module|modules_to_save(\.\w+)?)\.)?weight", part
        ):
            whole.add(shape[0])
        elif part.startswith("lora_embedding_A"):
            beside.add(shape[1])
    rows = whole or beside
    if len(rows) > 1:
        raise AtlasError(
            f"{adapter.name}: has embeddings of {' and '.join(map(str, sorted(rows)))} tokens."
        )
    before = network.get_input_embeddings().weight.shape[0]
    for count in rows - {before}:
        if count > before and not whole:
            raise AtlasError(
                f"{adapter.name}: was trained with {count - before} more tokens than its base has, and "
                "their embeddings are not in it; save it with save_embedding_layers=True."
            )
        network.resize_token_embeddings(count, mean_resizing=False)


def _renamed(network: Any, text: str, path: str) -> Any:
    """The modules of a network, with those of text under another path."""
    inner = network.get_submodule(text)
    if not path:
        return inner
    named = at = torch.nn.Module()
    taken = {text.partition(".")[0], path.partition(".")[0]}
    for name, module in network.named_children():
        if name not in taken:
            named.add_module(name, module)
    *parents, last = path.split(".")
    for name in parents:
        at.add_module(name, torch.nn.Module())
        at = at.get_submodule(name)
    at.add_module(last, inner)
    return named


def _give_back(named: Any, network: Any) -> Any:
    """A network with what PEFT put into the place of modules that stand beside its text model."""
    text = text_path(network).partition(".")[0]
    for name, module in list(named.named_children()):
        if name != text and hasattr(network, name):
            network.add_module(name, module)
    return network
