from __future__ import annotations

import json

import peft
import pytest
import transformers as tf

from atlas.networks.tokens import byte_tokenizer
from atlas.weights.portable_settings import (
    LEAST,
    NEW_IN_PEFT,
    least_transformers,
    portable_adapter,
    portable_config,
    portable_tokenizer,
)
from unit.networks.kinds import BASES, SIZES

LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}  # fmt: skip
SLOW = {"rope_type": "default", "rope_theta": 2e4}
LINEAR = {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}
PARTIAL = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}
HEADS = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
SCALED = {
    "llama, llama3": lambda: tf.LlamaConfig(**SIZES, rope_parameters=LLAMA3),
    "gemma": lambda: tf.GemmaConfig(**SIZES, rope_parameters=SLOW),
    "gemma3, linear": lambda: tf.Gemma3TextConfig(
        **SIZES, rope_parameters={"full_attention": LINEAR, "sliding_attention": SLOW}
    ),
    "olmo3": lambda: tf.Olmo3Config(**SIZES),
    "olmo3, linear": lambda: tf.Olmo3Config(
        **SIZES, rope_parameters={"full_attention": LINEAR, "sliding_attention": SLOW}
    ),
    "phi, partial": lambda: tf.PhiConfig(**SIZES, rope_parameters=PARTIAL),
    "gpt-neox, partial": lambda: tf.GPTNeoXConfig(**HEADS, rope_parameters=PARTIAL),
}  # fmt: skip


def saved(config):
    """What save_pretrained writes, as it is read."""
    return json.loads(config.to_json_string(use_diff=False))


def family(name):
    return BASES[name]().config if name in BASES else SCALED[name]()


@pytest.mark.parametrize("name", [*BASES, *SCALED])
def test_transformers_reads_both_forms_as_the_newer_one(name):
    config = family(name)
    plain = saved(config)
    both = portable_config(plain)
    assert both.items() >= {key: both[key] for key in plain}.items()
    assert {key: both[key] for key in plain if not key.endswith("_config")} == {
        key: value for key, value in plain.items() if not key.endswith("_config")
    }
    read = [type(config).from_dict(json.loads(json.dumps(form))) for form in (plain, both)]
    assert read[0].to_dict() == read[1].to_dict()
    assert portable_config(both) == both


@pytest.mark.parametrize(
    ("name", "older"),
    [
        ("llama", {"rope_theta": 10000.0, "rope_scaling": None}),
        ("llama, llama3", {"rope_theta": 5e5, "rope_scaling": {
            key: value for key, value in LLAMA3.items() if key != "rope_theta"}}),
        ("gemma3, linear", {"rope_theta": 1e6, "rope_local_base_freq": 2e4, "rope_scaling": {
            "rope_type": "linear", "factor": 8.0}}),
        ("phi, partial", {"rope_theta": 500.0, "partial_rotary_factor": 0.5, "rope_scaling": None}),
        ("gpt-neox, partial", {"rotary_emb_base": 500.0, "rotary_pct": 0.5, "rope_scaling": None}),
        ("phi3", {"rope_theta": 10000.0, "rope_scaling": None}),
        ("olmo3", {"rope_theta": 500000.0, "rope_scaling": None}),
        ("olmo3, linear", {}),
        ("gpt2", {}),
        ("qwen3-moe", {"rope_theta": 10000.0, "rope_scaling": None, "num_experts": 4}),
    ],
)  # fmt: skip
def test_older_keys(name, older):
    plain = saved(family(name)) | {"dtype": "bfloat16"}
    both = portable_config(plain)
    assert {key: both[key] for key in both if key not in plain} == older | {
        "torch_dtype": "bfloat16"
    }


def test_what_stands_there_stays():
    config = {
        "model_type": "llama",
        "rope_theta": 3.0,
        "rope_scaling": None,
        "torch_dtype": "float16",
    }
    assert portable_config(config) == config


def test_parts_of_a_model_have_both_forms():
    found = portable_config({"text_config": {"dtype": "float32", "rope_parameters": SLOW}})
    assert found["text_config"]["rope_theta"] == 2e4
    assert found["text_config"]["torch_dtype"] == "float32"
    assert found.keys() == {"text_config"}


@pytest.mark.parametrize(
    ("config", "least"),
    [
        ({"model_type": "llama", "rope_theta": 1.0}, "4.46"),
        ({"model_type": "llama", "rope_parameters": SLOW}, "5.0"),
        (portable_config({"model_type": "llama", "rope_parameters": SLOW}), "4.46"),
        ({"model_type": "gemma2", "layer_types": ["sliding_attention", "full_attention"]}, "4.46"),
        ({"model_type": "gemma2", "layer_types": ["full_attention", "sliding_attention"]}, "4.53"),
        ({"model_type": "qwen2", "layer_types": ["full_attention"] * 2}, "4.46"),
        ({"model_type": "qwen2", "layer_types": ["sliding_attention"] * 2}, "4.53"),
        ({"model_type": "gemma3_text"}, "4.50"),
        ({"model_type": "new"}, tf.__version__),
        ({"model_type": "qwen2", "rope_scaling": {"type": "yarn"}}, "4.57"),
    ],
)
def test_the_least_version(config, least):
    assert least_transformers(config) == least


def test_positions_that_have_no_older_form_need_the_newer_one():
    assert least_transformers(portable_config(saved(SCALED["olmo3, linear"]()))) == "5.0"


def test_families_of_the_table_are_those_of_transformers():
    assert set(LEAST) <= set(tf.CONFIG_MAPPING.keys())


def test_a_tokenizer_is_read_as_before(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|own|>"]})
    tokenizer.save_pretrained(tmp_path, save_jinja_files=False)
    file = tmp_path / "tokenizer_config.json"
    plain = json.loads(file.read_text())
    before = tf.AutoTokenizer.from_pretrained(tmp_path)
    found = portable_tokenizer(plain)
    assert plain["tokenizer_class"] == "TokenizersBackend"
    assert found["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert found["additional_special_tokens"] == ["<|own|>"]
    file.write_text(json.dumps(found))
    after = tf.AutoTokenizer.from_pretrained(tmp_path)
    assert type(after) is type(before)
    assert after.all_special_tokens == before.all_special_tokens
    assert "<|own|>" in after.all_special_tokens
    assert after("a<|own|> b") == before("a<|own|> b")


@pytest.mark.parametrize("kind", [peft.LoraConfig, peft.IA3Config])
def test_new_fields_of_an_adapter_are_left_out_where_they_say_nothing(kind):
    """Fields that have no default of their own would be read as another value."""
    settings = kind(target_modules=["q_proj"], **({"feedforward_modules": []}
                    if kind is peft.IA3Config else {})).to_dict()  # fmt: skip
    found = portable_adapter(settings)
    assert set(settings) - set(found) == (set(NEW_IN_PEFT) & set(settings)) | {"peft_version"}
    assert kind(**found).to_dict() == settings


def test_new_fields_of_an_adapter_stay_where_they_say_something():
    settings = peft.LoraConfig(target_modules=["q_proj"], lora_bias=True).to_dict()
    assert portable_adapter(settings)["lora_bias"] is True


def test_other_adapters_keep_their_version():
    assert (
        portable_adapter({"peft_type": "OFT", "peft_version": "0.21.2"})["peft_version"] == "0.21.2"
    )
