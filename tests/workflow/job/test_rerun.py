"""What changes runs again, and nothing else."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from atlas.plan.building import build
from micro import micro_config, planned, snakemake, write_config

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"
NOTHING: set[str] = set()
AFTER_MODELS = {
    "read the activations of shard 0000 of micro", "assemble the activations of micro",
    "let the models of shard 0000 of micro write", "embed micro by delta activations",
    "embed micro by flattened weights", "embed micro by salient masks",
    "embed micro by output sentences", "embed micro by direct effects",
    "embed micro by weight deltas", "measure how micro clusters",
    "find the neighbours in micro", "draw micro by delta_activations",
    "draw micro by flattened_weights", "draw micro by salient_mask",
    "draw micro by output_sentences", "map micro by delta_activations",
    "map micro by flattened_weights", "map micro by salient_mask", "map micro by output_sentences",
    *(f"{do} micro by {space}" for do in ("draw", "map")
      for space in ("direct_effects", "weight_deltas")),
    "write the navigator of micro", "write the main table",
}  # fmt: skip


def change(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_nothing_to_do(copy):
    assert planned(copy, MAIN) == NOTHING


def test_keys_in_another_order(copy):
    def backwards(entry):
        if isinstance(entry, list):
            return [backwards(value) for value in entry]
        if isinstance(entry, dict):
            return {key: backwards(value) for key, value in reversed(entry.items())}
        return entry

    write_config(copy, backwards(yaml.safe_load((copy / "micro.yaml").read_text())))
    assert planned(copy, MAIN) == NOTHING


def test_numbers_on_the_command_line(copy):
    set_there = "recipes={quick: {learning_rate: 0.02}}"
    assert "train micro-alpha-first" in planned(copy, MAIN, "--config", set_there)
    done = snakemake(copy, "-n", MAIN, "--config", "seeds=[x]", check=False)
    assert "seeds.0: input should be a valid integer, not 'x'" in done.stdout


def test_a_mistyped_source_is_refused_where_all_is_made(copy):
    """Snakemake takes what is there for a source of its own where its job cannot be planned."""
    there = "datasets={alpha: {source: {local: data/alpa.jsonl}}}"
    done = snakemake(copy, "-n", MAIN, "--config", there, check=False)
    assert done.returncode
    assert "datasets.alpha.source.local: there is no file data/alpa.jsonl" in done.stdout
    (copy / "data").rename(copy / "away")  # what was made of it stays
    assert planned(copy, MAIN) == NOTHING


def test_touched_inputs_of_any_size_run_nothing(copy):
    for file in (copy / "results").rglob("*"):
        if file.is_file() and "provenance" not in file.parts:
            os.utime(file)
    assert planned(copy, MAIN) == NOTHING


def test_a_template_runs_its_dataset_again(copy):
    config = micro_config()
    config["datasets"]["alpha"]["template"]["task"] = "Please add the numbers."
    write_config(copy, config)
    expected = {
        text.format(s=s)
        for s in ("first", "second")
        for text in ("cut alpha into {s}", "prepare the rows of micro-alpha-{s}",
                     "train micro-alpha-{s}")
    }  # fmt: skip
    assert planned(copy, MAIN) == expected | AFTER_MODELS


def test_a_learning_rate_runs_its_models_again(copy):
    config = micro_config()
    config["recipes"]["quick"]["learning_rate"] = 0.02
    write_config(copy, config)
    trained = {f"train micro-{d}-{s}" for d in ("alpha", "beta") for s in ("first", "second")}
    assert planned(copy, MAIN) == trained | AFTER_MODELS


def execution_of(folder: Path, file: str) -> dict[str, Any]:
    statement = json.loads((folder / f"results/provenance/attestations/{file}.json").read_text())
    return statement["predicate"]["runDetails"]["delta_atlas_execution"]


def attention_of(folder: Path, file: str) -> str:
    return execution_of(folder, file)["attention"]


def test_a_model_that_leaves_or_comes_leaves_the_others_as_they_are(copy):
    shards = [f"pools/micro/shards/0000{end}" for end in (".h5", ".sentences.jsonl")]
    targets = [f"results/{shard}" for shard in shards]
    before = [(copy / target).read_bytes() for target in targets]
    names = {f"micro-{d}-{s}" for d in ("alpha", "beta") for s in ("first", "second")}
    for excluded, kept in (["micro-beta-first"], "micro-beta-first"), ([], "micro-beta-first"):
        config = micro_config()
        config["pools"]["micro"]["excluded"] = excluded
        write_config(copy, config)
        snakemake(copy, *targets, "--cores", "1", "--resources", "gpu=1")
        for shard in shards:
            assert set(execution_of(copy, shard)["kept"]["models"]) == names - {kept}
        now = [(copy / target).read_bytes() for target in targets]
        assert (now == before) == (not excluded)


def test_attention_runs_nothing_again_and_what_runs_uses_it(copy):
    adapter = "models/micro-alpha-first/adapter_model.safetensors"
    assert attention_of(copy, adapter) == "sdpa"
    again = (f"results/{adapter}", "--force", "--cores", "1", "--resources", "gpu=1")
    write_config(copy, {**micro_config(), "attention": "eager"})
    assert planned(copy, MAIN) == NOTHING
    snakemake(copy, *again)
    assert attention_of(copy, adapter) == "eager"
    write_config(copy, {**micro_config(), "attention": "flash_attention_2", "device": "cpu"})
    done = snakemake(copy, *again, check=False)
    assert "attention is flash_attention_2, and the job runs on a CPU" in done.stdout
    assert done.returncode != 0


def test_a_colour_runs_figures_and_navigator_again_and_not_the_table(copy):
    config = micro_config()
    config["figures"] = {"palette": ["#123456", "#654321"]}
    write_config(copy, config)
    assert planned(copy, MAIN) == {
        m for m in AFTER_MODELS if m.startswith(("draw", "write the navigator"))
    }


@pytest.mark.parametrize(
    ("module", "old", "new", "expected"),
    [
        ("figures/canvas", "POINTS = 8", "POINTS = 9", "draw|write the main table"),
        ("clusters/silhouettes", '"domain") -> str', '"label") -> str', "draw|measure|find|map"),
        ("activations/probes", 'INPUT = "Input."', 'INPUT = "Input!"', "read|let"),
        ("spaces/salient_mask", "4 * self.count", "5 * self.count", "embed micro by salient masks"),
    ],
)
def test_a_module_runs_the_rules_that_import_it(copy, module, old, new, expected):
    change(copy, f"scripts/atlas/{module}.py", old, new)
    jobs = planned(copy, MAIN)
    # What runs by itself is what the module is behind; the rest follows from its outputs.
    done = snakemake(copy, "-n", MAIN, "--cores", "1")
    own = set()
    for block in done.stdout.split("\nJob ")[1:]:
        message, _, rest = block.partition("\n")
        if "Params have changed" in rest.split("\n[", 1)[0]:
            own.add(re.sub(r"^\d+: ", "", message))
    assert own
    assert own <= jobs
    assert all(re.match(expected, message) for message in own), own


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("scripts/atlas/job/closures.py", "[:16]", "[:16][:16]"),
        ("scripts/atlas/progress.py", "every_s: float = 30.0", "every_s: float = 4.0"),
        ("scripts/atlas/configuration/bases.py", "Precision", "The precision"),
        ("scripts/atlas/plan/resolved.py", "return int.from_bytes(digest[:4], \"big\") >> 1",
         "return (int.from_bytes(digest[:4], \"big\") >> 1) + 0"),
        ("scripts/atlas/clusters/silhouettes.py", '"""How well', '"""Docstrings do not count. How well'),
        ("scripts/atlas/experiments/main/table.py", "MAIN_COLUMNS = ", "# A comment.\nMAIN_COLUMNS = "),
        ("scripts/job.py", "from atlas.job.entry", "# A comment.\nfrom atlas.job.entry"),
    ],
)  # fmt: skip
def test_code_that_cannot_alter_a_byte_runs_nothing(copy, file, old, new):
    change(copy, file, old, new)
    assert planned(copy, MAIN) == NOTHING


def test_a_new_model_runs_itself_and_what_hangs_on_its_pool(copy):
    config = micro_config()
    config["grids"]["micro"]["lists"]["split"].append("third")
    config["grids"]["micro"]["lists"]["dataset"] = ["alpha"]
    config["models"] = {
        f"micro-beta-{s}": {"base": "micro", "recipe": "quick",
                            "data": [{"dataset": "beta", "split": s}]}
        for s in ("first", "second")
    }  # fmt: skip
    write_config(copy, config)
    new = {"cut alpha into third", "prepare the rows of micro-alpha-third",
           "train micro-alpha-third"}  # fmt: skip
    assert planned(copy, MAIN) == new | AFTER_MODELS


def test_a_new_model_changes_only_its_shard():
    config = micro_config()
    config["pools"]["micro"]["shards"] = 4
    before = build(config).pools["micro"].shards
    config["grids"]["micro"]["lists"]["split"].append("third")
    after = build(config).pools["micro"].shards
    new = {m.name for s in after.values() for m in s} - {m.name for s in before.values() for m in s}
    assert new == {"micro-alpha-third", "micro-beta-third"}
    for name, models in after.items():
        if not new & {m.name for m in models}:
            assert models == before[name]
    assert any(not new & {m.name for m in models} for models in after.values())


def test_another_configuration_and_back_trains_nothing(copy):
    other = micro_config()
    other["pools"]["pair"] = {"models": ["micro-*-first"], "encoder": "tiny", "new_tokens": 4,
                              "spaces": ["delta_activations"]}  # fmt: skip
    other["tables"]["main"]["pools"] = ["micro", "pair"]
    write_config(copy, other, "other.yaml")
    assert not {m for m in planned(copy, MAIN, config="other.yaml") if m.startswith("train")}
    snakemake(copy, MAIN, "--cores", "2", config="other.yaml")
    assert "pair" in (copy / MAIN).read_text()
    back = planned(copy, MAIN)
    assert back == {"write the main table"}
    snakemake(copy, MAIN, "--cores", "2")
    assert "pair" not in (copy / MAIN).read_text()
    assert yaml.safe_load((copy / "micro.yaml").read_text()) == micro_config()


def test_a_deleted_output_is_made_again_when_it_is_asked_for(copy):
    silhouette = "results/pools/micro/silhouette.csv"
    (copy / silhouette).unlink()
    assert planned(copy, silhouette) == {"measure how micro clusters"}
