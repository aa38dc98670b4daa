from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import cosine_distances
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from atlas.activations import continuations as module
from atlas.activations.activation_files import read_activations, write_activations
from atlas.activations.continuations import (
    Continuations,
    read_continuations,
    sample_continuations,
    text_tokens,
)
from atlas.activations.feature_files import FEATURES, FeatureShards, feature_file
from atlas.activations.features import compute_features, on_probes
from atlas.activations.last_tokens import Probe, compute_shard
from atlas.activations.probes import read_probes
from atlas.clusters.layer_curves import CURVE_COLUMNS, layer_curves, probe_curve, write_layer_curves
from atlas.errors import AtlasError
from atlas.files import read_csv, read_jsonl, write_jsonl
from atlas.networks.tokens import batches
from atlas.spaces.delta_activations import embed as embed_delta_activations
from atlas.spaces.delta_family import embed_delta_logits, embed_delta_meaning, embed_delta_weighted
from atlas.spaces.embeddings import read_embeddings
from unit.conftest import described, load, make_base, make_full, make_lora

# Sliding windows shorter than a probe, more rows than tokens, a width of its own.
GEMMA = {
    "architecture": "gemma3_text", "seed": 5, "config": {
        "vocab_size": 410, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
}  # fmt: skip
EMBEDDINGS = {
    "delta_logits": embed_delta_logits, "delta_weighted": embed_delta_weighted,
    "delta_meaning": embed_delta_meaning,
}  # fmt: skip
CLOSE = {"rtol": 0, "atol": 2e-5}


def write_tokenizer(folder):
    """Another tokenizer: byte-level BPE with merges, which opens each prompt."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<bos>", "<eos>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    text = "Below is an instruction that describes a task. ### Response: ### Instruction: Input: "
    backend.train_from_iterator([text, "Please provide a response. Say more."] * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", backend.token_to_id("<bos>"))]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    ).save_pretrained(folder)


def zero_lora(base, folder):
    """An adapter as PEFT creates it, which changes nothing."""
    get_peft_model(
        load(base), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    ).save_pretrained(folder)
    return [folder / "adapter_config.json", folder / "adapter_model.safetensors"]


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_base, mixed_pool):
    """Two bases that share nothing, five models, probes, continuations, and their features."""
    folder = tmp_path_factory.mktemp("family")
    gemma = make_base(folder / "gemma", {"random": GEMMA})
    write_tokenizer(folder / "gemma")
    pool = dict(mixed_pool)
    pool["g"] = make_lora(folder / "gemma", folder / "g", 2, ["q_proj", "up_proj"], 6)
    probes = folder / "probes.txt"
    probes.write_text("Describe it.\nBelow is an instruction.\nSay it.\n")
    sampled = folder / "continuations.jsonl"
    sample_continuations(
        probes=probes, base=tiny_base, dtype="float32", per_probe=3, new_tokens=5, seed=1,
        continuations=sampled,
    )  # fmt: skip
    # Lengths that differ within a probe, one token, and text in which tokens merge.
    rows = [*read_jsonl(sampled), {"probe": 0, "index": 3, "text": " a response."},
            {"probe": 0, "index": 4, "text": "x"}, {"probe": 2, "index": 3, "text": "žluť"}]  # fmt: skip
    write_jsonl(sampled, rows)
    found = SimpleNamespace(
        folder=folder, bases=[*tiny_base, *gemma], pool=pool, probes=probes, sampled=sampled,
        prompts=read_probes(probes), rows=read_continuations(sampled, 3), file=folder / "f.h5",
        models=[{"name": n, "base": "gemma" if n == "g" else "tiny", "domain": d}
                for n, d in zip(pool, "aabbb", strict=True)],
        base_folders={"tiny": tiny_base[0].parent, "gemma": folder / "gemma"},
    )  # fmt: skip
    compute(found, found.file)
    return found


def compute(world, path, models=None, pool=None, bases=None, dtype="float32"):
    pool = pool or world.pool
    models = world.models if models is None else models
    bases = bases or world.bases
    compute_features(
        probes=world.probes, continuations=world.sampled, bases=bases,
        weights=[f for m in models for f in pool[m["name"]]],
        models=[{"name": m["name"], "base": m["base"]} for m in models],
        dtypes={f.parent.name: dtype for f in bases},
        base_names={f.parent.name: [f.parent.name] for f in bases}, features=path,
    )  # fmt: skip
    return path


def stored(path, place):
    with h5py.File(path) as file:
        return {key: file[place][key][:] for key in FEATURES}


def plainly(network, folder, prompts, rows):
    """One text at a time, without padding, cache or batches."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = {key: [] for key in FEATURES}
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.inference_mode():
            output = network(input_ids=ids, output_hidden_states=True)
        states = [state[0].numpy() for state in output.hidden_states]
        found["layers"].append([state[-1] for state in states])
        found["weighted"].append(
            np.average(states[-1], axis=0, weights=np.arange(1, ids.shape[1] + 1))
        )
        found["logits"].append(output.logits[0, -1].numpy())
    for row in rows:
        before = tokenizer(prompts[row["probe"]]).input_ids
        after = tokenizer(row["text"], add_special_tokens=False).input_ids
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([before + after])).logits[0]
        loss = torch.nn.functional.cross_entropy(
            logits[len(before) - 1 : -1], torch.tensor(after)
        )  # fmt: skip
        found["meaning"].append(-float(loss))
    found["layers"] = np.swapaxes(found["layers"], 0, 1)
    return {key: np.array(value, dtype=np.float32) for key, value in found.items()}


def test_every_feature_as_a_plain_computation_finds_it(world):
    shapes = {"tiny": ((3, 3, 16), (3, 16), (3, 260), (12,)),
              "gemma": ((4, 3, 12), (3, 12), (3, 410), (12,))}  # fmt: skip
    places = [(f"bases/{b}", b, None) for b in shapes]
    places += [(f"models/{m['name']}", m["base"], m["name"]) for m in world.models]
    for place, base, name in places:
        folder = world.base_folders[base]
        if name == "full":
            network = AutoModelForCausalLM.from_pretrained(
                world.pool[name][0].parent, dtype=torch.float32
            ).eval()
        else:
            network = load(folder)
            if name:
                network = PeftModel.from_pretrained(network, world.pool[name][0].parent).eval()
        expected = plainly(network, folder, world.prompts, world.rows)
        found = stored(world.file, place)
        for key, shape in zip(FEATURES, shapes[base], strict=True):
            assert (found[key].shape, found[key].dtype) == (shape, np.float32)
            np.testing.assert_allclose(found[key], expected[key], err_msg=f"{place} {key}", **CLOSE)
            if name:
                original = stored(world.file, f"bases/{base}")[key]
                assert np.abs(found[key] - original).max() > 1e-3, key


def test_the_last_layer_is_what_activations_hold(world, tmp_path):
    models = world.models
    compute_shard(
        probes=world.probes, bases=world.bases, weights=[f for p in world.pool.values() for f in p],
        models=models, dtypes={"tiny": "float32", "gemma": "float32"},
        base_names={"tiny": ["tiny"], "gemma": ["gemma"]}, activations=tmp_path / "a.h5",
    )  # fmt: skip
    _, bases, found = read_activations(tmp_path / "a.h5")
    for place, arrays in (("bases", bases), ("models", found)):
        for name, array in arrays.items():
            layers = stored(world.file, f"{place}/{name}")["layers"]
            np.testing.assert_array_equal(layers[-1], array, err_msg=name)


def test_the_weighted_mean_by_hand():
    """Tokens 1..n weigh 1/6, 2/6, 3/6 and 1/3, 2/3; padding weighs nothing."""

    def network(input_ids, logits_to_keep, **_):
        state = input_ids[..., None].float() * torch.tensor([1.0, -2.0])
        return SimpleNamespace(hidden_states=(state, state), logits=state[:, logits_to_keep])

    ids = torch.tensor([[6, 12, 18], [3, 9, 999]])
    probe = SimpleNamespace(ids=[0, 0], inputs=[([1, 0], ids, torch.tensor([2, 1]))])
    found = on_probes(network, probe, "x")
    np.testing.assert_allclose(found["weighted"][1], [14, -28], rtol=1e-6)
    np.testing.assert_allclose(found["weighted"][0], [7, -14], rtol=1e-6)
    assert found["layers"][1].tolist() == [[9, -18], [18, -36]]
    assert found["logits"].tolist() == [[9, -18], [18, -36]]


def test_batches_of_equal_length_give_the_same(world, monkeypatch):
    monkeypatch.setattr(
        "atlas.activations.last_tokens.batches", lambda lengths, exact: batches(lengths, False)
    )
    for base, folder in world.base_folders.items():
        network = load(folder)
        probe = Probe(folder, world.prompts, network)
        expected = stored(world.file, f"bases/{base}")
        for key, found in on_probes(network, probe, base).items():
            np.testing.assert_allclose(found, expected[key], err_msg=key, **CLOSE)
        continued = Continuations(folder, world.prompts, world.rows, network)
        continued._exact = False
        groups = [group for i in range(3) for group in continued._batches(i)]
        assert all(len({len(continued.ids[i]) for i in group}) == 1 for group in groups)
        found = continued.meaning(network, base)
        np.testing.assert_allclose(found, expected["meaning"], **CLOSE)
        # Neither is it of account how many run at a time.
        monkeypatch.setattr(module, "ROWS", 2)
        found = Continuations(folder, world.prompts, world.rows, network).meaning(network, base)
        np.testing.assert_allclose(found, expected["meaning"], **CLOSE)


def test_a_probe_without_continuations_and_tokens_that_do_not_merge_across(world):
    network = load(world.base_folders["gemma"])
    rows = [{"probe": 2, "index": 0, "text": " a"}]
    continued = Continuations(world.base_folders["gemma"], world.prompts, rows, network)
    assert continued.meaning(network, "x").shape == (1,)
    tokenizer = AutoTokenizer.from_pretrained(world.base_folders["gemma"])
    assert continued.ids == [tokenizer(" a", add_special_tokens=False).input_ids]
    assert continued.prompts[0][0] == tokenizer.bos_token_id


def test_a_model_in_lower_precision(world, tmp_path):
    """The other branch: bfloat16, where only equal lengths share a batch."""
    models = [m for m in world.models if m["name"] == "lora4"]
    path = compute(world, tmp_path / "f.h5", models, bases=world.bases[:5], dtype="bfloat16")
    found, exact = stored(path, "models/lora4"), stored(world.file, "models/lora4")
    for key in FEATURES:
        np.testing.assert_allclose(found[key], exact[key], rtol=0, atol=0.1, err_msg=key)


def test_order_and_repetition_change_no_byte(world, tmp_path):
    again = compute(world, tmp_path / "again.h5", world.models[::-1])
    assert again.read_bytes() == world.file.read_bytes()
    alone = compute(world, tmp_path / "alone.h5", world.models[2:3])
    name = world.models[2]["name"]
    for key, array in stored(alone, f"models/{name}").items():
        np.testing.assert_array_equal(array, stored(world.file, f"models/{name}")[key])


def test_the_file_as_others_read_it(world):
    with h5py.File(world.file) as file:
        assert list(file) == [
            "bases", "continuation_probes", "continuations", "models", "probes",
        ]  # fmt: skip
        assert file["continuation_probes"][:].tolist() == [0] * 5 + [1] * 3 + [2] * 4
        assert file["continuations"].asstr()[11] == "žluť"
        assert file["probes"].asstr()[0].startswith("Describe it.")
        for key, chunks in (("layers", (1, 3, 16)), ("logits", (1, 260))):
            item = file["models/lora4"][key]
            assert (item.chunks, item.compression, item.shuffle) == (chunks, "gzip", True)


def test_what_is_not_finite_stops_and_leaves_no_file(world, tmp_path):
    network = load(world.base_folders["tiny"])
    with torch.no_grad():
        network.lm_head.weight[7] = float("inf")
    probe = Probe(world.base_folders["tiny"], world.prompts, network)
    with pytest.raises(AtlasError, match="m: logits has NaN or Inf"):
        on_probes(network, probe, "m")
    continued = Continuations(world.base_folders["tiny"], world.prompts, world.rows, network)
    with pytest.raises(AtlasError, match="m: its log-probabilities have NaN or Inf"):
        continued.meaning(network, "m")
    wrong = [{"name": "g", "base": "tiny", "domain": "a"}]
    with pytest.raises(AtlasError, match=r"g: .* an adapter of another base"):
        compute(world, tmp_path / "f.h5", wrong)
    assert not (tmp_path / "f.h5").exists()


def test_continuations_that_do_not_fit_are_refused(world, tmp_path):
    write_jsonl(tmp_path / "c.jsonl", [{"probe": 3, "index": 0, "text": "x"}])
    with pytest.raises(AtlasError, match="is of probe 3, and there are 3 probes"):
        read_continuations(tmp_path / "c.jsonl", 3)
    rows = [{"probe": 1, "index": 4, "text": ""}]
    network = load(world.base_folders["tiny"])
    with pytest.raises(AtlasError, match="tiny: its tokenizer gives continuation 4 of probe 1 no"):
        Continuations(world.base_folders["tiny"], world.prompts, rows, network)


def sample(world, path, base="tiny", **more):
    settings = {"per_probe": 3, "new_tokens": 5, "seed": 1, **more}
    files = [f for f in world.bases if f.parent.name == base]
    sample_continuations(
        probes=world.probes, base=files, dtype="float32", continuations=path, **settings
    )
    return path


def test_sampling_is_the_same_each_time(world, tmp_path):
    one, two = sample(world, tmp_path / "1"), sample(world, tmp_path / "2")
    assert one.read_bytes() == two.read_bytes()
    rows = read_jsonl(one)
    assert [(r["probe"], r["index"]) for r in rows] == list(itertools.product(range(3), range(3)))
    assert list(rows[0]) == ["probe", "index", "text"]
    assert len({r["text"] for r in rows}) == 9
    assert sample(world, tmp_path / "3", seed=2).read_bytes() != one.read_bytes()
    more = read_jsonl(sample(world, tmp_path / "4", per_probe=4))
    assert [r for r in more if r["index"] < 3] == rows


def test_sampling_is_from_the_distribution_of_the_base(world):
    """Token by token as a plain computation draws them, special tokens left out."""
    for folder in world.base_folders.values():
        network = load(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        text = text_tokens(folder)
        assert text == [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
        prompt = tokenizer(world.prompts[0]).input_ids
        uniform = np.random.default_rng(0).random((4, 6))
        for row, drawn in zip(module._sample(network, text, prompt, uniform), uniform, strict=True):
            ids = list(prompt)
            for u in drawn:
                with torch.inference_mode():
                    logits = network(input_ids=torch.tensor([ids])).logits[0, -1, text]
                below = torch.cumsum(logits.double().softmax(dim=-1), dim=0)
                ids.append(text[int((below <= u).sum())])
            assert row == ids[len(prompt) :]


def test_drawing_gives_each_token_its_share():
    logits = np.log([[0.1, 0.2, 0.3, 0.4]]).repeat(1000, axis=0)
    uniform = (np.arange(1000) + 0.5) / 1000
    drawn = module._draw(logits, np.array([0, 2, 3]), uniform)
    assert np.bincount(drawn, minlength=4).tolist() == [125, 0, 375, 500]
    with pytest.raises(AtlasError, match="NaN or Inf"):
        module._draw(np.array([[np.nan, 0]]), np.array([0, 1]), uniform[:1])


def test_embeddings_are_means_over_probes_of_model_minus_its_own_base(world, tmp_path):
    models = world.models[3::-1]
    base = stored(world.file, "bases/tiny")
    for (space, embed), dimension in zip(EMBEDDINGS.items(), (260, 16, 12), strict=True):
        embed(features=[world.file], models=models, embeddings=tmp_path / "e.npz")
        found = read_embeddings(tmp_path / "e.npz")
        assert (found.space, found.dimension) == (space, dimension)
        assert (found.model_names, found.domains) == (
            ["full", "ia3", "lora8", "lora4"], ["b", "b", "a", "a"],
        )  # fmt: skip
        assert found.embeddings.dtype == np.float32
        key = space.removeprefix("delta_")
        for name, row in zip(found.model_names, found.embeddings, strict=True):
            expected = stored(world.file, f"models/{name}")[key] - base[key]
            expected = expected if key == "meaning" else expected.mean(axis=0)
            np.testing.assert_allclose(row, expected, rtol=0, atol=2e-6)


def test_only_delta_meaning_goes_across_architectures(world, tmp_path):
    reasons = {
        "delta_logits": "logits of 260 and 410",
        "delta_weighted": "activations of 12 and 16",
    }
    for space, embed in EMBEDDINGS.items():
        embed(features=[world.file], models=world.models, embeddings=tmp_path / "e.npz")
        found = read_embeddings(tmp_path / "e.npz")
        if space in reasons:
            assert (found.dimension, found.embeddings) == (0, None)
            assert found.reason == f"the models have {reasons[space]} dimensions"
            continue
        assert found.embeddings.shape == (5, 12)
        assert found.base_model == ["tiny"] * 4 + ["gemma"]
        expected = stored(world.file, "models/g")["meaning"]
        expected = expected - stored(world.file, "bases/gemma")["meaning"]
        np.testing.assert_allclose(found.embeddings[4], expected, atol=1e-6)
        assert np.abs(found.cosine_similarity()).max() == 1


def test_a_model_that_equals_its_base_is_exactly_zero_and_refused(world, tmp_path):
    tiny = world.base_folders["tiny"]
    load(tiny).save_pretrained(tmp_path / "copy")
    pool = {
        "same": zero_lora(tiny, tmp_path / "same"),
        "copy": [tmp_path / "copy" / n for n in ("config.json", "model.safetensors")],
        "other": make_full(tiny, tmp_path / "other", 8),
    }
    models = described(list(pool), domains=["a", "b", "b"])
    path = compute(world, tmp_path / "f.h5", models, pool, world.bases[:5])
    for embed in EMBEDDINGS.values():
        embed(features=[path], models=models, embeddings=tmp_path / "e.npz")
        found = read_embeddings(tmp_path / "e.npz")
        assert not found.embeddings[:2].any()
        assert found.embeddings[2].any()
        with pytest.raises(AtlasError, match="same: its embedding is zero"):
            found.cosine_similarity()
    rows = layer_curves(features=[path], models=models)
    assert {row["reason"] for row in rows} == {"same does not differ from its base here"}


def invented(path, bases, models, seed=0, probes=("p", "q", "r"), texts=("x",)):
    """A shard of random features; `bases` and `models`: name -> shape of layers."""
    rng = np.random.default_rng(seed)
    rows = [{"probe": 0, "text": text} for text in texts]
    with feature_file(path, probes, rows) as write:
        for group, named in (("bases", bases), ("models", models)):
            for name, (layers, d) in named.items():
                shapes = {"layers": (layers, len(probes), d), "weighted": (len(probes), d),
                          "logits": (len(probes), 7), "meaning": (len(texts),)}  # fmt: skip
                write(f"{group}/{name}",
                      {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()})  # fmt: skip
    return path


def test_shards_are_joined_and_must_agree(tmp_path):
    one = invented(tmp_path / "1", {"t": (2, 4)}, {"a": (2, 4)})
    two = invented(tmp_path / "2", {"t": (2, 4)}, {"b": (2, 4)})
    models = described(["b", "a"], "t")
    with FeatureShards([one, two]) as shards:
        expected = (
            stored(two, "models/b")["logits"].astype(float) - stored(two, "bases/t")["logits"]
        )
        np.testing.assert_array_equal(shards.delta(models[0], "logits"), expected)
        np.testing.assert_array_equal(
            shards.delta(models[1], "layers", 1), shards.delta(models[1], "layers")[1]
        )
        with pytest.raises(AtlasError, match="c: its features are missing"):
            shards.delta({"name": "c", "base": "t"}, "logits")
    other = invented(tmp_path / "3", {"t": (2, 4)}, {"b": (2, 4)}, seed=1)
    for embed in EMBEDDINGS.values():
        with pytest.raises(AtlasError, match="3: the base t differs from that of another shard"):
            embed(features=[one, other], models=models, embeddings=tmp_path / "e.npz")
    for more in ({"probes": ("p", "q", "s")}, {"texts": ("y",)}):
        path = invented(tmp_path / "4", {"t": (2, 4)}, {"b": (2, 4)}, **more)
        with pytest.raises(AtlasError, match="are not those of the other shards"):  # noqa: SIM117
            with FeatureShards([one, path]):
                pass
    one.write_bytes(one.read_bytes()[:200])
    with pytest.raises(AtlasError, match="not a whole HDF5 file"):  # noqa: SIM117
        with FeatureShards([one]):
            pass


def plain_silhouette(vectors, domains):
    distances = cosine_distances(vectors)
    np.fill_diagonal(distances, 0)
    return silhouette_score(distances, domains, metric="precomputed")


def test_curves_are_the_silhouettes_of_scikit_learn(tmp_path):
    names = list("abcdef")
    domains = ["x", "x", "y", "y", "z", "z"]
    path = invented(tmp_path / "f", {"t": (4, 5)}, dict.fromkeys(names, (4, 5)))
    models = described(names, "t", domains)
    rows = layer_curves(features=[path], models=models)
    base = stored(path, "bases/t")["layers"].astype(float)
    deltas = np.stack([stored(path, f"models/{n}")["layers"] - base for n in names])
    expected = [
        ("layer", k, plain_silhouette(deltas[:, k].mean(axis=1), domains)) for k in range(4)
    ]
    for count in (1, 2, 3):
        scores = [
            plain_silhouette(deltas[:, -1, list(subset)].mean(axis=1), domains)
            for subset in itertools.combinations(range(3), count)
        ]
        expected.append(("probes", count, np.mean(scores)))
    assert [(r["curve"], r["value"]) for r in rows] == [e[:2] for e in expected]
    np.testing.assert_allclose([r["silhouette"] for r in rows], [e[2] for e in expected], atol=1e-9)
    assert {(r["space"], r["reason"]) for r in rows} == {("delta_activations", "")}
    # The last layer with all probes is the embedding that the pool has.
    assert rows[3]["silhouette"] == rows[6]["silhouette"]
    write_activations(
        tmp_path / "a.h5", list("pqr"), {"t": stored(path, "bases/t")["layers"][-1]},
        {n: stored(path, f"models/{n}")["layers"][-1] for n in names},
    )  # fmt: skip
    embed_delta_activations(
        activations=tmp_path / "a.h5", models=models, embeddings=tmp_path / "e.npz"
    )
    vectors = read_embeddings(tmp_path / "e.npz").embeddings
    assert plain_silhouette(vectors, domains) == pytest.approx(rows[3]["silhouette"], abs=1e-6)

    write_layer_curves(features=[path], models=models, curves=tmp_path / "c.csv")
    written = read_csv(tmp_path / "c.csv")
    assert tuple(written[0]) == CURVE_COLUMNS
    assert [float(r["silhouette"]) for r in written] == [r["silhouette"] for r in rows]


def test_of_many_subsets_the_first_forty_are_taken():
    deltas = np.random.default_rng(0).normal(size=(4, 8, 3))
    domains = ["x", "x", "y", "y"]
    rows = probe_curve(deltas, list("abcd"), domains)
    assert [row["value"] for row in rows] == list(range(1, 9))
    for row in rows:
        subsets = list(itertools.combinations(range(8), row["value"]))
        assert len(subsets) == math.comb(8, row["value"])
        scores = [plain_silhouette(deltas[:, s].mean(axis=1), domains) for s in subsets[:40]]
        assert row["silhouette"] == pytest.approx(np.mean(scores), abs=1e-9)


def test_why_there_is_no_curve(tmp_path, world):
    bases = {"t": (2, 4), "deep": (3, 4), "wide": (2, 5)}
    path = invented(
        tmp_path / "f", bases, {"a": (2, 4), "b": (2, 4), "c": (2, 4), "d": (3, 4), "w": (2, 5)}
    )

    def rows_of(names, domains):
        own = {"d": "deep", "w": "wide"}
        models = [{"name": n, "base": own.get(n, "t"), "domain": x}
                  for n, x in zip(names, domains, strict=True)]  # fmt: skip
        found = layer_curves(features=[path], models=models)
        assert json.loads(json.dumps(found)) == found
        return [(r["curve"], r["value"], r["silhouette"] is None, r["reason"]) for r in found]

    width = "the models have activations of 4 and 5 dimensions"
    assert rows_of("abw", "xxy") == [("layer", None, True, width), ("probes", None, True, width)]
    assert rows_of("abd", "xxy") == [
        ("layer", None, True, "the models have 1 and 2 layers"),
        *(("probes", k, False, "") for k in (1, 2, 3)),
    ]
    assert {row[2:] for row in rows_of("abc", "xxx")} == {
        (True, "a silhouette needs at least two domains")
    }
    # No adapter moves the embeddings; the full model does.
    models = [m for m in world.models if m["base"] == "tiny"]
    curve = layer_curves(features=[world.file], models=models)
    assert curve[0]["reason"] == "lora4 does not differ from its base here"
    assert [r["silhouette"] is None for r in curve] == [True] + [False] * 5
