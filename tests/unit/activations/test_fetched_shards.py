from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from atlas.activations.fetched_shards import check_shard, compute_fetched_shard
from atlas.activations.last_tokens import compute_shard
from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.kept import NOTHING
from atlas.sources import hub
from atlas.sources.fetched_models import fetch_adapters
from unit.conftest import make_base, make_lora, read_activations


def run(folder, probes, base, sources, kept=NOTHING):
    """Report, what is gone, and the file of activations."""
    folder.mkdir()
    gone = {}
    compute_fetched_shard(
        probes=probes, bases=base, models=[
            {"name": name, "base": "tiny", "source": {"local": str(place)}}
            for name, place in sources.items()
        ],
        dtypes={"tiny": "float32"}, base_names={"tiny": ["tiny"]}, cache=str(folder / "cache"),
        gone=gone, activations=folder / "a.h5", report=folder / "r.csv", kept=kept,
    )  # fmt: skip
    assert list((folder / "cache").iterdir()) == []
    return {row["model"]: row for row in read_csv(folder / "r.csv")}, gone, folder / "a.h5"


def test_the_same_activations_and_nothing_kept(tmp_path, probes, tiny_base, lora_pool):
    sources = {name: files[0].parent for name, files in lora_pool.items()}
    found, gone, activations = run(tmp_path / "one", probes, tiny_base, sources)
    compute_shard(
        probes=probes, bases=tiny_base, weights=[f for files in lora_pool.values() for f in files],
        models=[{"name": name, "base": "tiny"} for name in lora_pool], dtypes={"tiny": "float32"},
        base_names={"tiny": ["tiny"]}, activations=tmp_path / "kept.h5",
    )  # fmt: skip
    assert activations.read_bytes() == (tmp_path / "kept.h5").read_bytes()
    for name, files in lora_pool.items():
        weights = sources[name] / "adapter_model.safetensors"
        assert found[name]["reason"] == ""
        assert found[name]["sha256"] == sha256_file(weights)
        assert found[name]["bytes"] == str(weights.stat().st_size)
        for file in files:
            told = (sha256_file(file), file.stat().st_size)
            assert gone[f"results/models/{name}/{file.name}"] == told
    assert len(gone) == 2 * len(lora_pool)


@pytest.fixture
def damaged(tmp_path, lora_pool, probes):
    """Adapters that cannot be used, each for another reason, among one that can."""
    good = lora_pool["m0"][0].parent
    folders = {"good": good}
    for name in ("nan", "no-rank", "no-weights", "cut"):
        folders[name] = tmp_path / name
        shutil.copytree(good, folders[name])
    weights = load_file(good / "adapter_model.safetensors")
    first = sorted(weights)[0]
    save_file({**weights, first: torch.full_like(weights[first], torch.nan)},
              folders["nan"] / "adapter_model.safetensors")  # fmt: skip
    config = json.loads((good / "adapter_config.json").read_text())
    del config["r"]
    (folders["no-rank"] / "adapter_config.json").write_text(json.dumps(config))
    (folders["no-weights"] / "adapter_model.safetensors").unlink()
    cut = folders["cut"] / "adapter_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-20])
    source = {"random": {"architecture": "llama", "seed": 3, "config": {
        "hidden_size": 8, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 512,
    }}}  # fmt: skip
    other = make_base(tmp_path / "other", source)[0].parent
    folders["other-base"] = make_lora(other, tmp_path / "x", 4, ["q_proj"], 9)[0].parent
    return folders


def test_adapters_that_cannot_be_used_are_rows_with_a_reason(tmp_path, probes, tiny_base, damaged):
    found, gone, activations = run(tmp_path / "one", probes, tiny_base, damaged)
    assert list(found) == sorted(damaged)
    assert found["good"]["reason"] == ""
    for name, reason in {"nan": "NaN", "no-rank": "says 8", "no-weights": "has no adapter_model",
                         "cut": "adapter_model", "other-base": "shape"}.items():  # fmt: skip
        assert reason in found[name]["reason"], found[name]
    assert set(read_activations(activations)[2]) == {"good"}
    assert {path.split("/")[2] for path in gone} == {"good"}
    # No word of where adapters stood for a moment: the report is the same each time.
    again, _, _ = run(tmp_path / "two", probes, tiny_base, damaged)
    assert again == found


def test_the_report_of_adapters_that_are_kept_is_the_same(tmp_path, probes, tiny_base, damaged):
    found, _, _ = run(tmp_path / "one", probes, tiny_base, damaged)
    check_shard(
        bases=tiny_base, base_names={"tiny": ["tiny"]}, cache=str(tmp_path / "cache"),
        models=[{"name": name, "base": "tiny", "adapter": True, "source": {"local": str(place)}}
                for name, place in damaged.items()],
        report=tmp_path / "kept.csv",
    )  # fmt: skip
    kept = {row["model"]: row for row in read_csv(tmp_path / "kept.csv")}
    assert kept == found
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_hub_that_is_away_is_no_fault_of_an_adapter(
    tmp_path, probes, tiny_base, lora_pool, monkeypatch
):
    def away(*_):
        raise hub.UnreachableError("org/a at main: the hub cannot be reached.")

    monkeypatch.setattr("atlas.activations.fetched_shards.bring_adapter", away)
    with pytest.raises(hub.UnreachableError):
        run(tmp_path / "one", probes, tiny_base, {"m0": lora_pool["m0"][0].parent})


def test_adapters_that_are_fetched_together_tell_all_their_faults(tmp_path, tiny_base, damaged):
    def fetch(names):
        folders = [tmp_path / "out" / name for name in names]
        for folder in folders:
            folder.mkdir(parents=True)
        fetch_adapters(
            models=[{"name": n, "base": "tiny", "source": {"local": str(damaged[n])}, "sentence": ""}
                    for n in names],
            cache=str(tmp_path / "cache"), base=tiny_base, base_names={"tiny": ["tiny"]},
            addresses={"tiny": ["tiny", None]}, card=[f / "README.md" for f in folders],
            weights=[f / "adapter_model.safetensors" for f in folders],
            config=[f / "adapter_config.json" for f in folders],
        )  # fmt: skip
        return folders

    with pytest.raises(AtlasError, match=r"^3 of 4 adapters .*cut: .*nan: .*NaN.*other-base: "):
        fetch(["cut", "good", "nan", "other-base"])
    shutil.rmtree(tmp_path / "out")
    (good,) = fetch(["good"])
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (good / file).read_bytes() == (damaged["good"] / file).read_bytes()
    assert "tiny" in (good / "README.md").read_text()
