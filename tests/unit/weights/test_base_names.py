"""What an adapter records of its base: a digest, a path, or one of the names of a model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from atlas.errors import AtlasError
from atlas.weights.base_names import check_base

LLAMA_2, LLAMA_3 = "meta-llama/Llama-2-7b-hf", "meta-llama/Meta-Llama-3-8B"


def check(recorded, *names, **metadata):
    adapter = SimpleNamespace(
        name="mine", metadata=metadata, config={"base_model_name_or_path": recorded}
    )
    check_base(adapter, {"name": "base", "weights_sha256": "a" * 64}, names)


@pytest.mark.parametrize(
    "path",
    [
        "./base", "../llama", "models/llama", "checkpoints/x", "C:\\models\\llama", "/data/llama",
        "~/llama", "results/run-1/checkpoint-500", "base", "", None,
    ],
)  # fmt: skip
def test_a_path_says_nothing(path):
    check(path, LLAMA_3)


def test_a_path_in_the_cache_of_a_hub_is_the_name_of_a_repository():
    cached = "/data/hub/models--meta-llama--Meta-Llama-3-8B/snapshots/0123abc"
    check(cached, LLAMA_3)
    check("C:\\hub\\models--unsloth--llama-3-8b-bnb-4bit\\snapshots\\0123abc", LLAMA_3)
    with pytest.raises(AtlasError, match=f"records the base {LLAMA_3}, and base is known as"):
        check(cached, LLAMA_2)


@pytest.mark.parametrize(
    ("recorded", "name"),
    [
        (LLAMA_3, LLAMA_3),
        (LLAMA_3.lower(), LLAMA_3),
        ("unsloth/llama-3-8b-bnb-4bit", LLAMA_3),
        ("unsloth/llama-3-8b", LLAMA_3),
        ("NousResearch/Meta-Llama-3-8B", LLAMA_3),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B"),
        ("TheBloke/Llama-2-7B-GPTQ", LLAMA_2),
        ("TheBloke/Llama-2-7B-AWQ", LLAMA_2),
        ("meta-llama/Llama-2-7b", LLAMA_2),
        ("unsloth/Qwen2.5-7B-unsloth-bnb-4bit", "Qwen/Qwen2.5-7B"),
        ("Qwen/Qwen2.5-7B-GPTQ-Int4", "Qwen/Qwen2.5-7B"),
        ("somebody/Mistral-7B-v0.1-4bit", "mistralai/Mistral-7B-v0.1"),
        ("neuralmagic/Mistral-7B-v0.1-quantized.w8a16", "mistralai/Mistral-7B-v0.1"),
        ("hugging-quants/Llama-2-7B-AWQ-INT4", LLAMA_2),
    ],
)
def test_a_quantised_copy_is_known_as_its_model(recorded, name):
    check(recorded, "lab/other", name)


@pytest.mark.parametrize(
    "recorded",
    [
        LLAMA_2, "unsloth/llama-3-8b-Instruct-bnb-4bit", "TheBloke/Llama-2-13B-GPTQ",
        "meta-llama/Llama-3.1-8B", "somebody/Meta-Llama-3-8B", "mistralai/Mistral-7B-v0.1",
    ],
)  # fmt: skip
def test_another_base_is_refused_with_the_line_to_add(recorded):
    with pytest.raises(AtlasError) as raised:
        check(recorded, LLAMA_3)
    text = str(raised.value)
    assert text.startswith(f"mine: records the base {recorded}, and base is known as {LLAMA_3};")
    assert text.endswith(f"add the line `aliases: [{recorded}]` to bases.base.")


def test_a_digest_counts_more_than_a_name():
    check("mistralai/Mistral-7B-v0.1", LLAMA_3, base_sha256="a" * 64)
    with pytest.raises(AtlasError, match="mine: was trained from a base with the digest bbbb"):
        check(LLAMA_3, LLAMA_3, base_sha256="b" * 64)
