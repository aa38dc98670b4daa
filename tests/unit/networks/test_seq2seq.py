"""Sequence-to-sequence bases: read, trained, generated from as the reference libraries do."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoTokenizer

from atlas.activations.generation import greedy
from atlas.activations.last_tokens import compute_shard
from atlas.errors import AtlasError
from atlas.evaluation.perplexity import held_out_perplexity
from atlas.files import read_csv, read_json
from atlas.networks.architectures import decoder_start, is_seq2seq
from atlas.networks.swap import load_base
from atlas.networks.tokens import Tokens
from unit.conftest import read_activations
from unit.networks.seq2seq import load_t5, make_t5, make_t5_lora
from unit.training.test_fine_tuning import make_rows, train

PROMPTS = [[30, 40, 50, 60], [70, 80], [90, 91, 92]]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return make_t5(tmp_path_factory.mktemp("t5") / "tiny-t5")


@pytest.fixture(scope="module")
def adapter(t5, tmp_path_factory):
    return make_t5_lora(t5[0].parent, tmp_path_factory.mktemp("adapter") / "one", 7)


def test_a_base_says_what_it_is(t5, base_folder):
    assert is_seq2seq(t5[0].parent)
    assert not is_seq2seq(base_folder)


def test_what_reads_causal_models_only_refuses(t5, tmp_path):
    with pytest.raises(
        AtlasError, match="tiny-t5: is a sequence-to-sequence model, and this reads"
    ):
        load_base(t5[0].parent, "float32", CPU)
    with pytest.raises(AtlasError, match="is a sequence-to-sequence model"):
        held_out_perplexity(
            name="m", rows=tmp_path / "rows", base=t5, model=[], texts=[], base_names=[],
            dtype="float32", documents=1, max_tokens=8, table=tmp_path / "t",
        )  # fmt: skip


def test_activations_are_the_decoder_s_at_its_first_token(t5, adapter, probes, tmp_path):
    compute_shard(
        probes=probes, bases=t5, weights=adapter, models=[{"name": "one", "base": "tiny-t5"}],
        dtypes={"tiny-t5": "float32"}, base_names={"tiny-t5": ["tiny-t5"]},
        activations=tmp_path / "a.h5",
    )  # fmt: skip
    prompts, bases, models = read_activations(tmp_path / "a.h5")
    folder = t5[0].parent
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tuned = PeftModel.from_pretrained(load_t5(folder), adapter[0].parent).eval()
    for network, found in ((load_t5(folder), bases["tiny-t5"]), (tuned, models["one"])):
        for prompt, row in zip(prompts, found, strict=True):
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            with torch.inference_mode():
                states = network(
                    input_ids=ids, decoder_input_ids=torch.tensor([[0]]), output_hidden_states=True
                ).decoder_hidden_states
            np.testing.assert_allclose(row, states[-1][0, 0].numpy(), rtol=0, atol=1e-5)
    assert np.abs(models["one"] - bases["tiny-t5"]).max() > 1e-3


def test_answers_are_those_of_one_prompt_at_a_time(t5):
    network, tokens = load_t5(t5[0].parent), Tokens(t5[0].parent)
    alone = [network.generate(input_ids=torch.tensor([p]), do_sample=False, max_new_tokens=5)
             for p in PROMPTS]  # fmt: skip
    expected = [tokens.decode(row[0].tolist()) for row in alone]
    assert greedy(network, tokens, PROMPTS, 5) == expected


def test_an_encoder_reads_the_end_token_where_the_tokenizer_writes_it(t5, tmp_path):
    from tokenizers.processors import TemplateProcessing

    folder = t5[0].parent
    assert Tokens(folder).encoder([5, 6]) == [5, 6]
    closing = AutoTokenizer.from_pretrained(folder)
    closing.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", 2)]
    )
    closing.save_pretrained(tmp_path, save_jinja_files=False)
    tokens = Tokens(tmp_path)
    assert tokens.prompt("ab") == Tokens(folder).prompt("ab")
    assert tokens.encoder(tokens.prompt("ab")) == [*tokens.prompt("ab"), 2]


T5_LORA = {"lora": {"r": 4, "alpha": 8, "targets": ["q", "v"]}}


@pytest.mark.parametrize(("kind", "more"), [("sft-lora", T5_LORA), ("sft-full", {})])
def test_training_lowers_the_loss_of_completions(t5, tmp_path, kind, more):
    rows = make_rows("sft", n=4)
    train(tmp_path, t5, kind, rows=rows, epochs=20, **more)
    log = read_csv(tmp_path / "m/training.csv")
    assert float(log[-1]["loss"]) < 0.9 * float(log[0]["loss"])
    # The first loss is the mean over the tokens of a batch, as a T5 by itself has it.
    assert float(log[0]["tokens"]) > 0
    card = (tmp_path / "m/README.md").read_text()
    assert "AutoModelForSeq2SeqLM" in card
    if kind == "sft-lora":
        assert read_json(tmp_path / "m/adapter_config.json")["task_type"] == "SEQ_2_SEQ_LM"
        PeftModel.from_pretrained(load_t5(t5[0].parent), tmp_path / "m")


def test_training_twice_gives_the_same_bytes(t5, tmp_path):
    one = train(tmp_path / "a", t5, "sft-lora", **T5_LORA)
    assert train(tmp_path / "b", t5, "sft-lora", **T5_LORA) == one


def test_other_objectives_are_refused(t5, tmp_path):
    with pytest.raises(AtlasError, match="trained with the objective sft, not dpo"):
        train(tmp_path, t5, "dpo-lora", **T5_LORA)


@pytest.mark.parametrize(
    ("told", "generation", "start"),
    [({"decoder_start_token_id": 5, "bos_token_id": 1}, 7, 5), ({"bos_token_id": 1}, 7, 7),
     ({"bos_token_id": 1}, None, 1), ({}, None, None)],
)  # fmt: skip
def test_the_token_with_which_a_decoder_begins(told, generation, start):
    settings = SimpleNamespace(decoder_start_token_id=generation, bos_token_id=None)
    config = SimpleNamespace(name_or_path="/a/base", **told)
    network = SimpleNamespace(config=config, generation_config=settings)
    if start is not None:
        assert decoder_start(network) == start
        return
    with pytest.raises(AtlasError, match=r"base: its config\.json has no decoder_start_token_id"):
        decoder_start(network)
