"""Three adapters of a newcomer, from the line of the README to the page."""

from __future__ import annotations

import re
import shlex
import shutil
import sys

import pyarrow.parquet as pq
import pytest

import programs
from atlas.files import read_csv
from atlas.own_models.notebook import Pool
from hub_server import Hub
from micro import environment, lineage, snakemake

pytestmark = pytest.mark.workflow
# What someone with three adapters types, on the first page that they read.
LINE = "python scripts/map_models.py ./adapters/maths ./adapters/algebra alice/legal-lora"
MADE = {"maths": "micro-alpha-first", "algebra": "micro-alpha-second"}


@pytest.fixture
def hub(copy):
    """Adapters of the finished run as somebody else's: two in folders, one on a hub."""
    for name, made in MADE.items():
        shutil.copytree(copy / f"results/models/{made}", copy / f"adapters/{name}")
    files = (copy / "results/models/micro-beta-first").iterdir()
    with Hub() as found:
        found.commit("alice/legal-lora", {file.name: file.read_bytes() for file in files})
        yield found


def run(folder, *more, **env):
    command = [sys.executable, str(folder / "scripts/map_models.py"), *shlex.split(LINE)[2:], *more]
    return programs.run(
        [*command, "--configfile", "micro.yaml"], cwd=folder, env=environment(**env), together=True
    )


def test_three_adapters_are_mapped(copy, hub):
    done = run(copy, **hub.environment())
    assert done.returncode == 0, done.stdout[-4000:]
    assert done.stdout.endswith("Open in a browser: results/pools/mine/navigator.html\n")
    assert done.stdout.index("A first map is there") < done.stdout.index("nearest by ")
    assert (
        "mine: 3 models of micro; domains from the data sets that their cards name" in done.stdout
    )
    pool = Pool("mine", copy)
    # alpha and beta are domains of the data sets that the cards name.
    assert pool.models()["domain"].to_dict() == {
        "algebra": "alpha", "alice--legal-lora": "beta", "maths": "alpha",
    }  # fmt: skip
    assert pool.spaces == ["delta_activations", "direct_effects", "weight_deltas"]
    whole = read_csv(copy / "results/pools/micro/neighbours.csv")
    same = next(
        float(row["similarity"]) for row in whole
        if (row["space"], row["model"], row["neighbour"])
        == ("delta_activations", "micro-alpha-first", "micro-alpha-second")
    )  # fmt: skip
    found = pool.neighbours("maths").loc["algebra", "similarity"]
    assert found == pytest.approx(same, abs=1e-6)  # as in the run that trained them
    assert pool.page.is_file()

    table = "results/pools/mine/neighbours.parquet"
    files = ("--configfile", "micro.yaml", "mine.yaml")
    snakemake(copy, table, "--cores", "1", *files, config=None)
    assert pq.read_table(copy / table).num_rows == len(pool.table("neighbours")) > 0
    assert lineage(copy, "verify", table).returncode == 0

    # A domain that is changed in the sheet is kept, and nothing is asked of the hub again.
    sheet = copy / "mine.tsv"
    sheet.write_text(sheet.read_text().replace("\tbeta\t", "\tlaw\t"))
    again = run(copy, "-n", HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stdout[-4000:]
    assert "domains from the sheet" in again.stdout
    assert "\tlaw\t" in sheet.read_text()
    # Nothing that reads a model is planned again.
    assert "write the navigator of mine" in again.stdout
    assert not re.search(r"read (the activations|what the modules)|assemble", again.stdout)


def test_a_hub_that_is_not_reached_is_told_in_one_sentence(copy, hub):
    hub.stop()
    done = run(copy, **hub.environment())
    assert done.returncode == 2
    assert "alice/legal-lora" in done.stdout
    assert "the hub cannot be reached" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (copy / "mine.yaml").exists()
