"""Full and merged models, models that are refused, and all kinds together."""

from __future__ import annotations

import torch
import transformers as tf

from unit.networks.kinds import (
    UNTIED,
    adapter,
    as_llama_2,
    as_on_the_hub,
    biased,
    cast,
    causal,
    fewer_heads,
    full,
    lora,
    merged,
    of,
    only_text,
    pruned,
    renamed,
    resized,
    rope,
    setting,
    untied,
    with_tensor,
    without,
)
from unit.networks.lora_kinds import LORA, NOT_SAVED, OF_PICTURES, PICTURES, SEQ_CLS, UP
from unit.networks.other_kinds import FAMILIES, OTHER_KINDS, PREFIX_KINDS

FULL = {
    "full, grown": full(resized(264)),
    "full, shrunk": full(resized(259)),
    "full, grown and tied": full(resized(320), "llama-tied"),
    "full, grown gemma3": full(resized(264), "gemma3"),
    "full, many files": full(save={"max_shard_size": "20KB"}),
    "full, untied": full(untied, "llama-tied"),
    "full, tied head stored": full(
        base="llama-tied", tensors=lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"]}
    ),
    "full, only the tied head stored": full(
        base="llama-tied", tensors=renamed("model.embed_tokens", "lm_head")
    ),
    "full, float16": full(lambda network: network.half()),
    "full, bfloat16": full(lambda network: network.bfloat16()),
    "full, float64": full(lambda network: network.double()),
    "full, several dtypes": full(tensors=with_tensor(UP, torch.Tensor.half)),
    "full, old buffers": full(tensors=as_llama_2),
    "full, as on the hub": full(base="gpt2", tensors=as_on_the_hub),
    "full, rope_theta": full(settings=rope(rope_theta=500000.0)),
    "full, rope_theta of old": full(
        settings=lambda s: without("rope_parameters")(s) | {"rope_theta": 500000.0}
    ),
    "full, rope scaling": full(
        settings=rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                      original_max_position_embeddings=64)
    ),
    "full, rope scaling of old": full(
        settings=lambda s: without("rope_parameters")(s)
        | {"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2.0}}
    ),
    "full, norm epsilon": full(settings=setting(rms_norm_eps=0.1)),
    "full, t5 epsilon": full(base="t5", settings=setting(layer_norm_epsilon=0.1)),
    "full, activation": full(settings=setting(hidden_act="gelu")),
    "full, heads": full(fewer_heads),
    "full, heads of the same tensors": full(
        settings=setting(num_attention_heads=2, num_key_value_heads=1, head_dim=16)
    ),
    "full, window": full(base="mistral", settings=setting(sliding_window=4)),
    "full, soft cap": full(base="gemma2", settings=setting(attn_logit_softcapping=1.0)),
    "full, experts a token": full(base="qwen3-moe", settings=setting(num_experts_per_tok=1)),
    "full, biases": full(tensors=biased, settings=setting(attention_bias=True)),
    "full, pruned": full(pruned),
    "full, with pictures": full(base="qwen3.5", **PICTURES),
    "full, cut out of gemma3": full(
        only_text, "gemma3", called=("model.", "model.language_model.")
    ),
    "full, settings of its outputs": full(settings=setting(use_cache=False)),
    "full, remote code beside": full(
        settings=setting(auto_map={"AutoModelForCausalLM": "modeling_x.Own"})
    ),
}  # fmt: skip

MERGED = {
    f"merged: {name}": merged(kinds[name])
    for kinds, names in (
        (LORA, ("lora", "dora", "all biases", "embeddings", "tied embeddings", "tied head",
                "tied head saved", "grown", "grown, tied", "tokens, tied", "experts", "from pissa")),
        (OTHER_KINDS, ("ia3", "loha", "lokr", "vera", "oft", "boft", "hra", "shira", "miss")),
        (FAMILIES, ("lora of gemma3", "lora of t5", "lora of mixtral", "lora of qwen3.5")),
    )
    for name in names
}  # fmt: skip

REFUSED = {
    "from pissa_niter_4": adapter(
        lora(init_lora_weights="pissa_niter_4"), refused="path_initial_model_for_weight_conversion"
    ),
    **{f"from {start}": adapter(lora(), settings=setting(init_lora_weights=start),
                                refused=f"{start} changed the base before training")
       for start in ("corda", "loftq", "lora_ga")},
    "lily": adapter(of("Lily", r=4), refused="all texts that are computed together"),
    "pvera, sampled": adapter(
        of("Pvera", ["q_proj"], r=8, sample_at_inference=True), refused="draws at random"
    ),
    "poly": adapter(of("Poly", r=4), refused="needs a task beside each prompt"),
    "shadow": adapter(of("Shadow", None), refused="runs a second network"),
    "tasks": adapter(
        of("MultitaskPromptTuning", None, num_virtual_tokens=4, num_tasks=2),
        refused="needs a task beside each prompt",
    ),
    "cpt": adapter(
        of("CPT", None, cpt_token_ids=[5, 6], cpt_mask=[1, 1], cpt_tokens_type_mask=[1, 2]),
        refused="which tokens of a prompt are which",
    ),
    "x-lora": adapter(
        lora(), settings=lambda _: {"peft_type": "XLORA", "task_type": "CAUSAL_LM"},
        refused="needs the adapters that it mixes",
    ),
    "a kind to come": adapter(
        lora(), settings=setting(peft_type="MAGIC"), refused="has no adapters of the kind MAGIC"
    ),
    "a setting to come": adapter(
        lora(), settings=setting(use_magic=True), refused="has use_magic, which PEFT .* does not know"
    ),
    "megatron": adapter(
        lora(), settings=setting(megatron_config={"a": 1}), refused="PEFT cannot load it"
    ),
    "prefix, falcon": adapter(
        of("PrefixTuning", None, num_virtual_tokens=4), "falcon",
        refused="cannot put PREFIX_TUNING before a text",
    ),
    "prefix, qwen3.5": adapter(
        of("PrefixTuning", None, num_virtual_tokens=4), "qwen3.5",
        refused="cannot put PREFIX_TUNING before a text",
    ),
    "layers twice in gemma2": adapter(
        lora(layer_replication=[[0, 2], [0, 2]]), "gemma2", late=True,
        refused="cannot compute with it.*IndexError",
    ),
    "tokens of embeddings that were saved": adapter(
        lora(modules_to_save=["embed_tokens"], trainable_token_indices=[44]),
        refused="cannot compute with it.*TrainableTokensLayer",
    ),
    "grown, tokens not saved": adapter(
        lora(target_modules=["embed_tokens"]), prepare=resized(264), save=NOT_SAVED,
        refused="4 more tokens than its base has.*save_embedding_layers=True",
    ),
    "questions": adapter(
        lora(task_type="QUESTION_ANS"), auto=tf.AutoModelForQuestionAnswering,
        refused="name the base that it was trained from",
    ),
    "pictures of qwen3.5": adapter(
        lora(target_modules=["gate_proj", "qkv"], use_dora=True), "qwen3.5", **PICTURES,
        refused="no place for the tensor .*visual",
    ),
    "another name in its tensors": adapter(
        lora(), tensors=renamed(".weight", ".sft.weight"), refused="no value for the tensor"
    ),
    "half a module": adapter(
        lora(), tensors=lambda t: dict(list(t.items())[1:]), refused="only one of lora_A and lora_B"
    ),
    "not all modules": adapter(
        lora(use_dora=True), refused="no value for the tensor",
        tensors=lambda t: {name: t[name] for name in t if "layers.1" not in name},
    ),
    "no tensors": adapter(lora(), tensors=lambda _: {}, refused="has no tensors"),
    "empty tensors": adapter(
        lora(), tensors=lambda t: {name: torch.zeros(0) for name in t}, refused="is empty.*ZeRO-3"
    ),
    "nan": adapter(
        of("Vera", ["q_proj"], r=4), tensors=lambda t: {name: t[name] / 0 for name in t},
        refused="NaN or Inf",
    ),
    "four bits": adapter(lora(), tensors=cast(torch.uint8), refused="weights of 4 or 8 bits"),
    "another rank": adapter(lora(), settings=setting(r=8), refused="the rank 4 .* says 8"),
    "another rank, dora": adapter(
        lora(use_dora=True), settings=setting(r=8), refused="size mismatch"
    ),
    "alpha is no number": adapter(
        lora(), settings=setting(lora_alpha=None), refused="lora_alpha says .None.*valid number"
    ),
    "settings that PEFT cannot read": adapter(
        lora(use_dora=True), settings=setting(peft_type="lora"), refused="cannot read its configuration"
    ),
    "full, not all tensors": full(
        tensors=without("model.norm.weight"), refused="has no tensor model.norm.weight, which"
    ),
    "full, one tensor more": full(
        tensors=lambda t: t | {"model.new.weight": torch.ones(2)},
        refused="has a tensor model.new.weight, for which",
    ),
    "full, another shape": full(
        tensors=with_tensor(UP, torch.Tensor.t), refused=r"in the shape \(32, 48\), and .* in \(48, 32\)"
    ),
    "full, packed": full(
        tensors=with_tensor(UP, lambda t: t.new_zeros(768, 1, dtype=torch.uint8)), refused="in the shape"
    ),
    "full, empty": full(
        tensors=lambda t: {name: torch.zeros(0) for name in t}, refused=r"in the shape \(0,\)"
    ),
    "full, nan": full(tensors=with_tensor(UP, lambda t: t / 0), refused="NaN or Inf", late=True),
    "full, quantised": full(
        settings=setting(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        refused="save it dequantised",
    ),
    "full, sequences": full(**SEQ_CLS, refused="has no tensor lm_head.weight"),
    "full, no head": full(auto=tf.AutoModel, refused="has no tensor lm_head.weight"),
    "full, names of a wrapper": full(tensors=renamed("model.", "module.model."), refused="has no tensor"),
    "full, fewer layers by its settings": full(
        settings=setting(num_hidden_layers=1), refused="for which the network of its config.json"
    ),
    "full, more tokens by its settings": full(settings=setting(vocab_size=300), refused="in the shape"),
    "full, another hidden size": full(
        lambda _: causal(tf.LlamaConfig(**UNTIED | {"hidden_size": 16})), refused="has hidden_size 16"
    ),
    "full, another type": full(
        lambda _: causal(tf.MistralConfig(**UNTIED)), refused="has model_type mistral"
    ),
    "full, an unknown type": full(settings=setting(model_type="magic"), refused="cannot load it.*magic"),
    "full, remote code": full(
        settings=setting(model_type="own", auto_map={"AutoConfig": "configuration_own.Own"}),
        refused="names code of its own",
    ),
    "full, settings of another kind": full(
        settings=setting(num_attention_heads="4"), refused="num_attention_heads.*mend its config.json"
    ),
}  # fmt: skip

EMBEDDED = (
    {"of pictures": OF_PICTURES} | LORA | OTHER_KINDS | PREFIX_KINDS | FAMILIES | FULL | MERGED
)
