"""The configuration can state every table of the paper; each is tried as a dry run."""

import re

import pytest
import yaml

from atlas.plan.building import build
from micro import LLAMA, dataset, lay_down, micro, micro_config, snakemake, write_config

pytestmark = pytest.mark.workflow
SPLITS = ("first", "second")
DOMAINS = ("alpha", "beta")


def data(name: str, split: str, **more) -> dict:
    return {"dataset": name, "split": split, **more}


def model(*entries: dict, recipe: str = "quick", **more) -> dict:
    return {"base": "micro", "recipe": recipe, "data": list(entries), **more}


def variant_of(config: dict, name: str, **changes) -> None:
    config["recipes"][name] = config["recipes"]["quick"] | changes


def mixtures(config: dict) -> None:
    halves = [data("alpha", "first", share=0.5), data("beta", "first", share=0.5)]
    config["models"] = {"mixed": model(*halves)}
    config["pools"]["micro"]["models"].append("mixed")


def fewshot(config: dict) -> None:
    config["models"] = {f"few-{d}": model(data(d, "rest", rows=4), recipe="few") for d in DOMAINS}
    variant_of(config, "few", rows=None, epochs=4)
    config["pools"]["micro"]["models"].append("few-*")


def settings(config: dict) -> None:
    variant_of(config, "fast", learning_rate=0.05)
    variant_of(config, "long", epochs=3)
    variant_of(config, "few-rows", rows=4)
    config["grids"]["settings"] = {
        "name": "{dataset}-{recipe}",
        "lists": {"dataset": list(DOMAINS), "recipe": ["fast", "long", "few-rows"]},
        "model": model(data("{dataset}", "first"), recipe="{recipe}"),
    }
    config["pools"]["settings"] = pool(["*-fast", "*-long", "*-few-rows"])
    config["tables"]["main"]["pools"] = ["micro", "settings"]


def pool(models: list[str], **more) -> dict:
    return {"models": models, "encoder": "tiny", "new_tokens": 4, **more}


def variants(config: dict) -> None:
    config["grids"]["variants"] = {
        "name": "{dataset}-{variant}",
        "lists": {"dataset": list(DOMAINS), "variant": ["none", "universal"]},
        "model": model(data("{dataset}", "first"), variant="{variant}"),
    }
    config["pools"]["micro"]["models"] += ["*-none", "*-universal"]


def kinds(config: dict) -> None:
    variant_of(config, "scaled", parameters="ia3")
    variant_of(config, "whole", parameters="full")
    for kind in ("scaled", "whole"):
        config["models"] = config.get("models", {}) | {
            f"{kind}-{d}": model(data(d, "first"), recipe=kind) for d in DOMAINS
        }
    config["pools"]["micro"]["models"] += ["scaled-*", "whole-*"]


def preferences(config: dict) -> None:
    for name in DOMAINS:
        entry = dataset(name) | {"domain": f"likes-{name}"}
        entry["template"] = {"input": "{{ question }}", "chosen": " {{ answer }}",
                             "rejected": " no"}  # fmt: skip
        config["datasets"][f"likes-{name}"] = entry
    variant_of(config, "dpo", objective="dpo", lora={"r": 16, "alpha": 32, "dropout": 0.05},
               scheduler="cosine", warmup_ratio=0.1)  # fmt: skip
    config["models"] = {f"dpo-{d}-{s}": model(data(f"likes-{d}", s), recipe="dpo")
                        for d in DOMAINS for s in SPLITS}  # fmt: skip
    config["pools"]["preferences"] = pool(["dpo-*"])
    config["tables"]["main"]["pools"] = ["preferences"]


def checkpoints(config: dict) -> None:
    """A continued pre-training, and models trained on it: two bases in one pool."""
    config["datasets"]["plain"] = dataset("alpha") | {
        "domain": "plain",
        "template": {"text": "{{ answer }}"},
    }
    variant_of(config, "cpt", objective="cpt", parameters="full", rows=None)
    config["models"] = {"later": model(data("plain", "region"), recipe="cpt")} | {
        f"later-{d}": model(data(d, "first")) | {"base": {"model": "later"}} for d in DOMAINS
    }
    config["pools"]["micro"]["models"].append("later-*")


def architectures(config: dict) -> None:
    config["bases"]["other"] = {"source": {"random": {"architecture": "qwen2", "config": LLAMA}}}
    config["models"] = {f"other-{d}": model(data(d, "first")) | {"base": "other"} for d in DOMAINS}
    config["pools"]["micro"]["models"].append("other-*")


def mixed_sources(config: dict) -> None:
    """Trained and fetched models in one pool, from a folder, a hub and a sheet."""
    config["models"] = {
        "found": {"base": "micro", "domain": "alpha", "source": {"local": "elsewhere/found"}},
        "org--whole": {"base": "micro", "domain": "beta", "kind": "full",
                       "source": {"hub": {"repo": "org/whole"}}},
    }  # fmt: skip
    config["pools"]["micro"] |= {"models": ["micro-*", "found", "org--whole"],
                                 "sheet": "sheet.tsv"}  # fmt: skip


def seeds(config: dict) -> None:
    config["seeds"] = [7, 8]
    config["models"] = {
        f"again-{d}-{n}": model(data(d, "first"), seed=n) for d in DOMAINS for n in (1, 2)
    }
    config["pools"]["micro"]["models"].append("again-*")


TABLES = [mixtures, fewshot, settings, variants, kinds, preferences, checkpoints, architectures,
          mixed_sources, seeds]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = micro(tmp_path_factory.mktemp("grammar") / "checkout")
    sheet = "model\tsource\tbase\tdomain\norg/adapter\torg/adapter@v1\tmicro\talpha\n"
    (folder / "sheet.tsv").write_text(sheet)
    lay_down(folder / "elsewhere/found")
    return folder


@pytest.mark.parametrize("state", TABLES, ids=lambda f: f.__name__)
def test_a_table_of_the_paper_is_a_small_configuration(folder, state):
    config = micro_config()
    state(config)
    write_config(folder, config)
    done = snakemake(folder, "-n", "results/tables/main.csv", "--cores", "1")
    jobs = re.findall(r"^Job \d+: (.*)$", done.stdout, flags=re.MULTILINE)
    plan = build(config, root=folder)
    wanted = {m.name for name in config["tables"]["main"]["pools"] for m in plan.pools[name].models}
    for name in list(wanted):
        while plan.models[name].base in plan.implicit:
            name = plan.implicit[plan.models[name].base]
            wanted.add(name)
    made = [re.sub(r".* ", "", job) for job in jobs
            if re.match(r"train |fetch the (adapter|model) ", job)]  # fmt: skip
    assert sorted(made) == sorted(wanted), "each model is made exactly once"


def test_a_mixture_takes_half_from_each(folder):
    """Run for real: the rows say what they are."""
    import json

    config = micro_config()
    mixtures(config)
    write_config(folder, config)
    snakemake(folder, "results/models/mixed/rows.jsonl", "--cores", "1")
    lines = (folder / "results/models/mixed/rows.jsonl").read_text().splitlines()
    origin = [json.loads(line)["dataset"] for line in lines]
    assert origin.count("alpha") == origin.count("beta") == 3


def test_few_shot_rows_are_in_no_split(folder):
    import json

    config = micro_config()
    fewshot(config)
    write_config(folder, config)
    targets = ["results/models/few-alpha/rows.jsonl", "results/datasets/alpha/region.jsonl"]
    snakemake(folder, *targets, "--cores", "1")
    few, region = (
        {json.loads(line)["row"] for line in (folder / t).read_text().splitlines()} for t in targets
    )
    assert len(few) == 4
    assert not few & region


def test_files_are_validated_by_themselves_and_as_a_whole(folder):
    """Named definitions accumulate, lists replace, and a part need not be whole."""
    write_config(folder, micro_config())
    part = {
        "recipes": {"quick": {"learning_rate": 0.5}},
        "pools": {"micro": {"models": ["*-first"]}},
    }
    (folder / "part.yaml").write_text(yaml.safe_dump(part))
    done = snakemake(
        folder, "-n", "results/tables/main.csv", "--cores", "1", "--configfile", "micro.yaml",
        "part.yaml", config=None,
    )  # fmt: skip
    assert "train micro-alpha-first" in done.stdout
    assert "train micro-alpha-second" not in done.stdout
