"""Kinds of models as people have them, each made by the library that makes it, on tiny random bases."""

from __future__ import annotations

import copy
import functools
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

from atlas.networks.tokens import byte_tokenizer

SIZES = {
    "vocab_size": 260, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "initializer_range": 0.1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
UNTIED = SIZES | {"tie_word_embeddings": False}
GPT2 = {"vocab_size": 260, "n_positions": 256, "n_embd": 32, "n_layer": 2, "n_head": 4,
        "initializer_range": 0.1, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
          "num_attention_heads": 2, "image_size": 28, "patch_size": 14}  # fmt: skip
ROTARY = {"rope_type": "default", "rope_theta": 10000.0}
ATTENTION = ["q_proj", "v_proj"]
TARGETS = [*ATTENTION, "down_proj"]


def conditional(config: Any) -> Any:
    return tf.AutoModelForImageTextToText.from_config(config)


def causal(config: Any) -> Any:
    return tf.AutoModelForCausalLM.from_config(config)


def gemma3() -> Any:
    return conditional(
        tf.Gemma3Config(
            text_config=SIZES | {"head_dim": 8}, vision_config=VISION, mm_tokens_per_image=4,
            image_token_index=3, boi_token_index=4, eoi_token_index=5, **ends(),
        )
    )  # fmt: skip


def ends() -> dict[str, int]:
    return {key: SIZES[key] for key in SIZES if key.endswith("token_id")}


def qwen3_5() -> Any:
    text = SIZES | {
        "head_dim": 8, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "rope_parameters": {**ROTARY, "mrope_section": [1, 0, 0], "partial_rotary_factor": 0.25},
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 24,
              "out_hidden_size": 32, "patch_size": 14, "num_position_embeddings": 16}  # fmt: skip
    return conditional(
        tf.AutoConfig.for_model("qwen3_5", text_config=text, vision_config=vision, **ends())
    )


def qwen2_5_vl() -> Any:
    text = SIZES | {"rope_parameters": {**ROTARY, "mrope_section": [1, 1, 2]}}
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 24,
              "out_hidden_size": 32, "patch_size": 14, "fullatt_block_indexes": [0]}  # fmt: skip
    return conditional(
        tf.AutoConfig.for_model("qwen2_5_vl", text_config=text, vision_config=vision, **ends())
    )


BASES: dict[str, Callable[[], Any]] = {
    "llama": lambda: causal(tf.LlamaConfig(**UNTIED)),
    "llama-tied": lambda: causal(tf.LlamaConfig(**SIZES | {"tie_word_embeddings": True})),
    "llama-bf16": lambda: causal(tf.LlamaConfig(**UNTIED)).bfloat16(),
    "qwen2": lambda: causal(tf.Qwen2Config(**UNTIED)),
    "qwen3": lambda: causal(tf.Qwen3Config(**UNTIED, head_dim=8)),
    "qwen3-moe": lambda: causal(
        tf.Qwen3MoeConfig(**UNTIED, **EXPERTS, head_dim=8, decoder_sparse_step=1)
    ),
    "mixtral": lambda: causal(
        tf.MixtralConfig(**UNTIED, num_local_experts=4, num_experts_per_tok=2)
    ),
    "mistral": lambda: causal(tf.MistralConfig(**UNTIED, sliding_window=16)),
    "gemma2": lambda: causal(tf.Gemma2Config(**SIZES, head_dim=8, sliding_window=16)),
    "gemma3-text": lambda: causal(tf.Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=16)),
    "gemma3": gemma3,
    "qwen3.5": qwen3_5,
    "qwen2.5-vl": qwen2_5_vl,
    "gpt2": lambda: causal(tf.GPT2Config(**GPT2)),
    "opt": lambda: causal(
        tf.OPTConfig(**ends(), vocab_size=260, hidden_size=32, ffn_dim=48, num_hidden_layers=2,
                     num_attention_heads=4, max_position_embeddings=256, word_embed_proj_dim=32)
    ),
    "gpt-neox": lambda: causal(
        tf.GPTNeoXConfig(**{k: v for k, v in UNTIED.items() if k != "num_key_value_heads"})
    ),
    "bloom": lambda: causal(
        tf.BloomConfig(**ends(), vocab_size=260, hidden_size=32, n_layer=2, n_head=4,
                       initializer_range=0.1)
    ),
    "falcon": lambda: causal(
        tf.FalconConfig(**ends(), vocab_size=260, hidden_size=32, num_hidden_layers=2,
                        num_attention_heads=4, initializer_range=0.1)
    ),
    "phi": lambda: causal(tf.PhiConfig(**UNTIED)),
    "phi3": lambda: causal(tf.Phi3Config(**UNTIED)),
    "olmo2": lambda: causal(tf.Olmo2Config(**UNTIED)),
    "olmo": lambda: causal(tf.OlmoConfig(**UNTIED)),
    "gemma3, seeing all": lambda: causal(
        tf.Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=16, use_bidirectional_attention=True)
    ),
    "t5": lambda: tf.T5ForConditionalGeneration(
        tf.T5Config(vocab_size=260, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                    decoder_start_token_id=0, eos_token_id=2, pad_token_id=0)
    ),
    "bart": lambda: tf.BartForConditionalGeneration(
        tf.BartConfig(**ends(), vocab_size=260, d_model=32, encoder_layers=2, decoder_layers=2,
                      encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
                      decoder_ffn_dim=48, max_position_embeddings=256, decoder_start_token_id=0)
    ),
}  # fmt: skip


def rewritten(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    tensors = change(load_file(file))
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, file, {"format": "pt"})


def as_llama_2(tensors: dict[str, Any]) -> dict[str, Any]:
    """With the buffer that transformers stored in 2023."""
    inverse = 1.0 / 10000 ** (torch.arange(0, 8, 2) / 8)
    return tensors | {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": inverse for i in (0, 1)}


def as_on_the_hub(tensors: dict[str, Any]) -> dict[str, Any]:
    """GPT-2's own names: without prefix, with the masks of its attention."""
    mask = torch.tril(torch.ones(1, 1, 256, 256))
    found = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    return found | {f"h.{i}.attn.bias": mask for i in (0, 1)}


STORED = {  # base -> the one whose tensors it has, how they are stored
    "llama-2": ("llama", as_llama_2),
    "gpt2-hub": ("gpt2", as_on_the_hub),
}


def make_base(folder: Path, name: str) -> None:
    """Write a base as its publisher does, with the tokenizer of bytes."""
    kind, change = STORED.get(name, (name, None))
    torch.manual_seed(1)
    network = BASES[kind]()
    with torch.no_grad():
        for parameter in network.parameters():  # norms and biases too, or nobody would miss them
            parameter += 0.02 * torch.randn(parameter.shape).to(parameter.dtype)
    network.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    if change:
        rewritten(folder / "model.safetensors", change)


def fresh(folder: Path, auto: Any = None) -> Any:
    """A network of a folder in float32, by a class of transformers (default: by its config.json)."""
    if auto is None:
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        others = {"qwen2_5_vl": tf.AutoModelForImageTextToText,
                  **dict.fromkeys(("t5", "bart"), tf.AutoModelForSeq2SeqLM)}  # fmt: skip
        auto = others.get(kind, tf.AutoModelForCausalLM)
    torch.manual_seed(5)  # of heads that a base does not have
    return auto.from_pretrained(folder, dtype=torch.float32).eval()


_once = functools.cache(fresh)


def trained(network: Any, seed: int, scale: float = 0.05) -> None:
    """As after training: everything that may change has changed."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=source)
                parameter += scale * noise.to(parameter.dtype)


Change = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    :param make: writes it into a folder, from the folder of its base.
    :param reference: the libraries' own network of it, from the folders of the base and the model.
    :param refused: a pattern of the sentence that refuses it; empty: it is embedded.
    :param late: whether it is only refused once its weights are read.
    :param unchanged: a pattern of the reason why it has no dW.
    :param called: how the path of its text model is called in the base, where that is another.
    """

    base: str
    make: Callable[[Path, Path], None]
    reference: Callable[[Path, Path], Any]
    refused: str = ""
    late: bool = False
    unchanged: str = ""
    called: tuple[str, str] = ("", "")


def adapter(
    config: Callable[[], Any], base: str = "llama", *, prepare: Callable[[Any], Any] | None = None,
    auto: Any = None, settings: Change | None = None, tensors: Change | None = None,
    as_lora: bool = False, save: dict[str, Any] | None = None, **more: Any,
) -> Kind:  # fmt: skip
    """An adapter that PEFT makes, trains and saves.

    :param prepare: what is done to a fresh base before PEFT sees it.
    :param auto: class of transformers that loads the base for training.
    :param settings: changes the configuration, :param tensors: the tensors that were saved.
    :param as_lora: whether what its initialisation took from the base is given back on saving.
    """

    def start(folder: Path) -> Any:
        network = copy.deepcopy(_once(folder, auto))
        if prepare:
            prepare(network)
        return network

    def make(base_folder: Path, folder: Path) -> None:
        torch.manual_seed(2)
        made, kept = config(), dict(save or {})
        wrapped = peft.get_peft_model(start(base_folder), made)
        if as_lora:
            initial, made.init_lora_weights = made.init_lora_weights, True
            wrapped.save_pretrained(str(folder / "first"))
            made.init_lora_weights = initial
            kept["path_initial_model_for_weight_conversion"] = str(folder / "first")
        trained(wrapped, 3)
        wrapped.create_or_update_model_card = lambda _: None  # which takes longer than all else
        wrapped.save_pretrained(str(folder), **kept)
        change = settings or (lambda found: found)
        reset(
            folder / "adapter_config.json",
            lambda s: change(s | {"base_model_name_or_path": "lab/base"}),
        )
        if tensors:
            rewritten(folder / "adapter_model.safetensors", tensors)

    def reference(base_folder: Path, folder: Path) -> Any:
        return peft.PeftModel.from_pretrained(start(base_folder), str(folder)).eval()

    return Kind(base, make, reference, **more)


def full(
    change: Callable[[Any], Any] | None = None, base: str = "llama", *, auto: Any = None,
    settings: Change | None = None, tensors: Change | None = None,
    save: dict[str, Any] | None = None, **more: Any,
) -> Kind:  # fmt: skip
    """A full model that transformers saves.

    :param change: what is done to the network, beside training; it may give another.
    """

    def make(base_folder: Path, folder: Path) -> None:
        network = copy.deepcopy(_once(base_folder, auto))
        trained(network, 4, 0.01)
        network = (change and change(network)) or network
        network.save_pretrained(folder, **save or {})
        if settings:
            reset(folder / "config.json", settings)
        if tensors:
            rewritten(folder / "model.safetensors", tensors)

    return Kind(base, make, lambda _, folder: fresh(folder), **more)


def merged(kind: Kind) -> Kind:
    """What PEFT's merge_and_unload makes of an adapter, as a full model."""

    def make(base_folder: Path, folder: Path) -> None:
        kind.make(base_folder, folder / "adapter")
        network = kind.reference(base_folder, folder / "adapter").merge_and_unload()
        network.save_pretrained(folder)

    return Kind(kind.base, make, lambda _, folder: fresh(folder), called=kind.called)


def lora(**settings: Any) -> Callable[[], Any]:
    known = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, "task_type": "CAUSAL_LM"}
    return lambda: peft.LoraConfig(**copy.deepcopy(known | settings))


def of(config: str, targets: Any = ATTENTION, **settings: Any) -> Callable[[], Any]:
    """A configuration of PEFT by the beginning of the name of its class."""
    known = {"task_type": "CAUSAL_LM"} | ({} if targets is None else {"target_modules": targets})
    return lambda: getattr(peft, f"{config}Config")(**copy.deepcopy(known | settings))


def reset(file: Path, change: Change) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def resized(tokens: int) -> Callable[[Any], None]:
    return lambda network: network.resize_token_embeddings(tokens, mean_resizing=False) and None


def cast(dtype: torch.dtype) -> Change:
    return lambda tensors: {name: value.to(dtype) for name, value in tensors.items()}


def without(*keys: str) -> Change:
    return lambda found: {key: value for key, value in found.items() if key not in keys}


def setting(**values: Any) -> Change:
    return lambda found: found | values


def renamed(old: str, new: str) -> Change:
    return lambda tensors: {name.replace(old, new): value for name, value in tensors.items()}


def rope(**values: Any) -> Change:
    return lambda found: found | {"rope_parameters": found["rope_parameters"] | values}


def untied(network: Any) -> None:
    network.config.tie_word_embeddings = False
    network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.detach() + 0.1)


def pruned(network: Any) -> None:
    network.model.layers = network.model.layers[:1]
    network.config.num_hidden_layers = 1


def fewer_heads(_: Any) -> Any:
    sizes = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    return causal(tf.LlamaConfig(**UNTIED | sizes))


def only_text(network: Any) -> Any:
    """As people cut the text model out of a multimodal one."""
    text = tf.Gemma3ForCausalLM(network.config.text_config)
    text.model.load_state_dict(network.model.language_model.state_dict())
    return text


def expert_by_expert(tensors: dict[str, Any]) -> dict[str, Any]:
    """With LoRA of each expert, as of transformers before version 5."""
    source = torch.Generator().manual_seed(6)
    sizes = {"gate_proj": (32, 16), "up_proj": (32, 16), "down_proj": (16, 32)}
    found = dict(tensors)
    for layer, expert, (name, (of_input, of_output)) in itertools.product(
        (0, 1), range(4), sizes.items()
    ):
        module = f"base_model.model.model.layers.{layer}.mlp.experts.{expert}.{name}"
        for part, shape in (("lora_A", (4, of_input)), ("lora_B", (of_output, 4))):
            found[f"{module}.{part}.weight"] = 0.1 * torch.randn(shape, generator=source)
    return found


def biased(tensors: dict[str, Any]) -> dict[str, Any]:
    rows = {"q": 32, "k": 16, "v": 16, "o": 32}
    return tensors | {f"model.layers.{i}.self_attn.{part}_proj.bias": torch.ones(count)
                      for i in (0, 1) for part, count in rows.items()}  # fmt: skip


def with_tensor(tensor: str, change: Callable[[Any], Any]) -> Change:
    return lambda tensors: tensors | {tensor: change(tensors[tensor])}
