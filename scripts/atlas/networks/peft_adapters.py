"""Adapters of every kind that PEFT loads, on a base that is in memory and stays as it is.

What :mod:`atlas.weights.adapters` cannot apply by itself, PEFT applies: to a shadow of the base,
modules of its own around the very tensors of the base, which is thrown away afterwards.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import re
import traceback
import unittest.mock
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from atlas.errors import AtlasError
from atlas.networks.architectures import own_path, text_path
from atlas.networks.peft_settings import configuration, reason, takes_from_base
from atlas.weights.adapted_module import PREFIX
from atlas.weights.adapters import PeftAdapter, is_off
from atlas.weights.tensors import Weights

# Kinds that put virtual tokens before a text, or keys and values: no weight of the base changes.
PROMPTS = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING", "CPT",
           "CARTRIDGE")  # fmt: skip
# Heads of other tasks, which stand after the hidden states that are read here.
HEADS = ("score", "classifier", "qa_outputs", "v_head", "summary")
# What torch says of tensors that do not fit each other, with values or without.
SIZES = re.compile("Sizes of|shapes cannot be multiplied|must match")
ANOTHER = (
    "name the base that it was trained from, or merge it and give the merged model with kind: full"
)


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
    # Of these, PEFT's own forward pass does a part, before the modules of the base.
    whole = adapter.method in PROMPTS or _is_activated(adapter.config)
    found = loaded.wrapped if whole else loaded.network
    if loaded.wrapped is not None and (adapter.method in PROMPTS or found.device.type == "meta"):
        _try_one_token(found, adapter)
    try:
        yield found
    except Exception as error:
        if not _of_a_library(error):
            raise
        _refuse_to_compute(adapter, error)


def peft_unread(network: Any, adapter: PeftAdapter) -> tuple[Any, Any]:
    """As :func:`peft_applied` with a base that has no values yet, and gets them as it computes.

    :param network: the base on ``meta``.
    :returns: what computes as PEFT does, and the network of transformers in it, with the adapter's
        own tensors; None and nothing of it where PEFT computes from the weights when it loads.
    :raises AtlasError: as there.
    """
    if takes_from_base(adapter):
        return None, None
    loaded = _loaded(network, adapter, unread=True)
    whole = adapter.method in PROMPTS or _is_activated(adapter.config)
    return loaded.wrapped if whole or loaded.wrapped is None else loaded.network, loaded.network


def merged_by_peft(network: Any, adapter: PeftAdapter) -> Any:
    """A new network: the base with the adapter merged, which shares the weights that stay.

    :raises AtlasError: for kinds that change no weight, and as :func:`peft_applied` does.
    """
    if without := no_weights(adapter.config):
        raise AtlasError(f"{adapter.name}: {without}.")
    loaded = _loaded(network, adapter, merges=True)
    try:
        inner = loaded.wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:
        raise AtlasError(
            f"{adapter.name}: PEFT cannot merge this {adapter.method} adapter "
            f"({reason(error)}), so the change of the weights is not known; leave it out of the "
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


def _loaded(
    network: Any, adapter: PeftAdapter, *, merges: bool = False, unread: bool = False
) -> _Loaded:
    """An adapter on a shadow of the base, in evaluation mode.

    :param unread: whether the base is blank, and the adapter gets its values all the same.
    """
    import peft

    config = configuration(adapter, network)
    if adapter.method in PROMPTS and not config.task_type:
        raise AtlasError(
            f"{adapter.name}: names no task_type, and PEFT puts {adapter.method} before a text only for "
            "a task; say task_type: CAUSAL_LM in its configuration, or leave this model out."
        )
    tensors = Weights([adapter.weights])
    shapes = {name: tensors.shape(name) for name in tensors}
    text = text_path(network)
    own = text if adapter.method in PROMPTS else own_path(network, shapes)
    places = {name_in_base(name) for name in shapes}
    if own != text:
        places = {f"{text}.{name.removeprefix(own).lstrip('.')}" for name in places} | places
    base = shadow(network, _changed(places, takes=merges or takes_from_base(adapter)))
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
            with _assigned(wrapped) if unread else contextlib.nullcontext():
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
                f"{reason(error)}); {ANOTHER}."
            ) from None
    _refuse_misfits(adapter, shapes, found)
    return _Loaded(wrapped.eval().requires_grad_(False), _give_back(named, base))


@contextlib.contextmanager
def _assigned(wrapped: Any) -> Iterator[None]:
    """Within this context, what is loaded takes the place of tensors that have no room for values."""
    # Of tied ends, too, which are two tensors once each has taken what is loaded.
    named = wrapped.named_parameters(remove_duplicate=False)
    dtypes = {name: tensor.dtype for name, tensor in named}
    load, loaded = torch.nn.Module.load_state_dict, list[tuple[Any, Mapping[str, torch.Tensor]]]()

    def assign(module: Any, state: Mapping[str, torch.Tensor], **_: Any) -> Any:
        loaded.append((module, state))
        return load(module, state, strict=False, assign=True)

    with unittest.mock.patch.object(torch.nn.Module, "load_state_dict", assign):
        yield
    # Again, because PEFT has moved all to where its base is.
    for module, state in loaded:
        load(module, state, strict=False, assign=True)
    for name, tensor in wrapped.named_parameters():
        if tensor.dtype != dtypes[name]:
            tensor.data = tensor.data.to(dtypes[name])


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
        if not _of_a_head(name) and (name_in_base(name) == name or PREFIX + name_in_base(name) not in shapes)
        and not _is_tied(name, Weights([adapter.weights]), found.unexpected_keys)
    ]  # fmt: skip
    missing = [
        n for n in found.missing_keys if "vblora_vector_bank" not in n and "prompt_enc" not in n
    ]
    if unknown or missing:
        name, what = (unknown[0], "no place for") if unknown else (missing[0], "no value for")
        raise AtlasError(
            f"{adapter.name}: with this base there is {what} the tensor {name}; {ANOTHER}."
        )


def _try_one_token(network: Any, adapter: PeftAdapter) -> None:
    """Let PEFT read one token, which it cannot with every kind in every architecture."""
    one = torch.zeros(1, 1, dtype=torch.long, device=network.device)
    decoder = {"decoder_input_ids": one} if network.config.is_encoder_decoder else {}
    try:
        with torch.inference_mode():
            network(input_ids=one, use_cache=False, **decoder)
    except Exception as error:
        # Without weights, some steps cannot be taken; these are about shapes and kinds of layers.
        does_not_fit = isinstance(error, (ValueError, IndexError)) or SIZES.search(str(error))
        if one.is_meta and not does_not_fit:
            return
        _refuse_to_compute(adapter, error)


def _refuse_to_compute(adapter: PeftAdapter, error: Exception) -> NoReturn:
    """Say that PEFT loads an adapter and cannot compute with it."""
    if adapter.method in PROMPTS:
        raise AtlasError(
            f"{adapter.name}: PEFT cannot put {adapter.method} before a text in this base "
            f"({reason(error)}); leave this model out."
        ) from None
    raise AtlasError(
        f"{adapter.name}: PEFT loads it into this base and cannot compute with it "
        f"({type(error).__name__}: {reason(error)}); leave this model out."
    ) from None


def _of_a_library(error: Exception) -> bool:
    """Whether something went wrong within a network, and not in what is done with it."""
    frames = (frame.f_globals for frame, _ in traceback.walk_tb(error.__traceback__))
    libraries = {str(names.get("__name__")).partition(".")[0] for names in frames}
    return not isinstance(error, AtlasError) and bool(libraries & {"peft", "transformers"})


def name_in_base(name: str) -> str:
    """The tensor of the base that one of an adapter, or of what PEFT made, stands for, if any."""
    wrappers = r"\.(base_layer|original_module|modules_to_save|token_adapter)(?=\.)"
    return re.sub(wrappers, "", name.removeprefix(PREFIX))


def _is_tied(name: str, tensors: Weights, unexpected: Collection[str]) -> bool:
    """Whether a tensor is one that PEFT takes, stored a second time under its name at the other end."""
    last = name.rpartition(".")[2]
    return name in tensors and any(
        other.rpartition(".")[2] == last
        and tensors.shape(other) == tensors.shape(name)
        and torch.equal(tensors[other], tensors[name])
        for other in tensors.keys() - set(unexpected)
    )


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
