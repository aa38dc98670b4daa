"""A pool whose adapters are not kept: what is reported, what is gone, what stops the table."""

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from atlas.files import read_csv
from hub_server import Hub
from micro import lineage, micro_config, snakemake, statements, write_config

pytestmark = pytest.mark.workflow
TARGETS = ("results/pools/made/neighbours.csv", "results/pools/made/navigator.html")
NAMES = [f"micro-{d}-{s}" for d in ("alpha", "beta") for s in ("first", "second")]


def configure(folder, **more):
    config = micro_config()
    config["pools"]["made"] = {"sheet": "made.tsv", "spaces": ["delta_activations"], "shards": 2,
                               "keep_weights": False, **more}  # fmt: skip
    write_config(folder, config)


@pytest.fixture
def folder(copy):
    """Adapters of the finished run as somebody else's, one of them damaged."""
    lines = ["model\tsource\tbase\tdomain"]
    for name in NAMES:
        shutil.copytree(copy / f"results/models/{name}", copy / f"elsewhere/{name}")
        source = "lab/one" if name == NAMES[0] else f"./elsewhere/{name}"
        lines.append(f"made-{name}\t{source}\tmicro\t{name.split('-')[1]}")
    broken = copy / "elsewhere/broken"
    shutil.copytree(copy / f"results/models/{NAMES[0]}", broken)
    weights = load_file(broken / "adapter_model.safetensors")
    save_file({key: torch.full_like(value, torch.nan) for key, value in weights.items()},
              broken / "adapter_model.safetensors")  # fmt: skip
    lines.append("made-broken\t./elsewhere/broken\tmicro\talpha")
    (copy / "made.tsv").write_text("\n".join(lines) + "\n")
    configure(copy)
    return copy


@pytest.fixture
def hub(folder):
    """A hub that has the first of the adapters."""
    files = (folder / f"elsewhere/{NAMES[0]}").iterdir()
    with Hub() as found:
        found.commit("lab/one", {file.name: file.read_bytes() for file in files})
        yield found


def test_a_pool_whose_adapters_are_not_kept(folder, hub):
    stopped = snakemake(folder, *TARGETS, "--cores", "1", check=False, **hub.environment())
    assert stopped.returncode != 0
    assert "1 of 5 models of made cannot be used. made-broken: " in stopped.stdout
    assert not (folder / TARGETS[0]).exists()
    report = {row["model"]: row for row in read_csv(folder / "results/pools/made/report.csv")}
    assert {name for name, row in report.items() if row["reason"]} == {"made-broken"}
    assert "NaN" in report["made-broken"]["reason"]
    first = report[f"made-{NAMES[0]}"]
    assert first["source"] == "lab/one at main"
    assert first["commit"] in hub.repositories["models", "lab/one"].files

    # Named as excluded, it stops nothing, and no adapter is fetched again.
    configure(folder, excluded=["made-broken"])
    done = snakemake(folder, *TARGETS, "--cores", "1", "-p")
    assert "(Rule: neighbours)" in done.stdout
    assert "compute_fetched_shard" not in done.stdout
    rows = read_csv(folder / TARGETS[0])
    assert {row["model"] for row in rows} == {f"made-{name}" for name in NAMES}
    report = {row["model"]: row for row in read_csv(folder / "results/pools/made/report.csv")}
    assert report["made-broken"]["excluded"] == "true"

    # The same neighbours as of the pool that keeps its weights.
    kept = {(r["model"], r["rank"]): (r["neighbour"], r["similarity"])
            for r in read_csv(folder / "results/pools/micro/neighbours.csv")
            if r["space"] == "delta_activations"}  # fmt: skip
    for row in rows:
        neighbour, similarity = kept[row["model"].removeprefix("made-"), row["rank"]]
        assert (row["neighbour"], row["similarity"]) == (f"made-{neighbour}", similarity)

    # Nothing is left of them but digests, and that is as it should be.
    assert not list((folder / "results/models").glob("made-*"))
    verified = lineage(folder, "verify")
    assert verified.returncode == 0, verified.stdout
    assert "absent by policy" in verified.stdout
    name = f"results/models/made-{NAMES[0]}/adapter_model.safetensors"
    (statement,) = [s for path, s in statements(folder).items() if f"results/{path}" == name]
    subject = {s["name"]: s for s in statement["subject"]}
    assert subject[name]["annotations"]["temporary"] is True
    assert subject[name]["digest"]["sha256"] == report[f"made-{NAMES[0]}"]["sha256"]
    assert lineage(folder, "trace", TARGETS[0]).returncode == 0


def test_a_large_sheet_is_fetched_shard_by_shard(folder):
    plan = folder / "scripts/atlas/plan/resolved.py"
    assert "FETCHED_ALONE = 500" in plan.read_text()
    plan.write_text(plan.read_text().replace("FETCHED_ALONE = 500", "FETCHED_ALONE = 100"))
    lines = ["model\tsource\tbase\tdomain"]
    for i in range(101):
        lines.append(
            f"many-{i:03}\t./elsewhere/{NAMES[i % 4]}\tmicro\t{NAMES[i % 4].split('-')[1]}"
        )
    lines.append("many-broken\t./elsewhere/broken\tmicro\talpha")
    (folder / "many.tsv").write_text("\n".join(lines) + "\n")

    def run(*targets, **more):
        config = micro_config()
        config["pools"]["many"] = {"sheet": "many.tsv", "spaces": ["delta_activations"],
                                   "shards": 2, **more}  # fmt: skip
        write_config(folder, config)
        return snakemake(folder, *(targets or ["results/pools/many/activations.h5"]), "--cores", "1",
                         "-p", "--keep-going", check=False)  # fmt: skip

    stopped = run()
    assert stopped.returncode != 0
    assert re.search(r"1 of 102 models of many cannot be used\. many-broken: .*NaN", stopped.stdout)
    assert not list((folder / "results/models").glob("many-*"))
    report = {row["model"]: row for row in read_csv(folder / "results/pools/many/report.csv")}
    assert len(report) == 102
    assert [name for name, row in report.items() if row["reason"]] == ["many-broken"]
    assert "NaN" in report["many-broken"]["reason"]
    done = run(excluded=["many-broken"])
    assert done.returncode == 0, done.stdout[-3000:]
    made = list((folder / "results/models").glob("many-*/adapter_model.safetensors"))
    assert len(made) == 101
    jobs = re.findall(r"^Job \d+: fetch \d+ adapters$", done.stdout, re.MULTILINE)
    assert 3 <= len(jobs) <= 4
    assert "Nothing to be done" in run(excluded=["many-broken"]).stdout
    assert lineage(folder, "verify").returncode == 0
