"""The notebook that analyses a pool, run by its rule."""

import json
import shutil

import nbformat
import pytest
import yaml

from atlas.files import read_csv
from micro import ROOT, snakemake
from unit.clusters.test_analysis import NAMES, pool
from unit.job.runs import Run

pytestmark = pytest.mark.workflow


def run(folder, target: str) -> str:
    return snakemake(folder, target, "--cores", "1", config=None).stdout


def test_the_rule_runs_the_notebook(tmp_path):
    """The rule alone, on the files of a pool, in a folder whose name has a space."""
    folder = tmp_path / "häuser und höfe"
    for part in ("rules", "scripts", "resources", "profiles", "envs", "notebooks"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "Snakefile").write_text(
        "".join(
            f'include: "rules/{part}.smk"\n' for part in ("common", "resources", "job", "clusters")
        )
    )
    model = {"base": "base", "source": {"local": "nowhere"}}
    config = {
        "bases": {"base": {"source": {"local": "nowhere"}}},
        "models": {name: {**model, "domain": name[0]} for name in NAMES},
        "pools": {"fake": {"models": NAMES, "spaces": ["delta_activations", "flattened_weights"]}},
    }
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    place = folder / "results/pools/fake"
    pool(place)
    made = [f for f in place.rglob("*") if f.is_file()]
    Run(folder).job({f.relative_to(folder).as_posix(): f.read_bytes() for f in made})
    target = "results/pools/fake/analysis.csv"
    run(folder, target)
    assert read_csv(folder / target)[6]["measure"] == "neighbour_accuracy"
    record = json.loads(
        (folder / "results/provenance/attestations/pools/fake/analysis.csv.json").read_text()
    )
    assert record["subject"][0]["name"] == target
    page = nbformat.read(folder / "logs/analyse/fake.ipynb", as_version=4)
    shown = [o.data for c in page.cells if c.cell_type == "code" for o in c.outputs if "data" in o]
    assert sum("image/png" in data for data in shown) == 2
    assert any("mixed kinds" in str(data.get("text/markdown")) for data in shown)
    assert (folder / "logs/analyse/fake.log").is_file()
    assert "Nothing to be done" in run(folder, target)
    before = (folder / target).read_bytes()
    changed = folder / "notebooks/analysis.ipynb"
    changed.write_text(changed.read_text().replace("# A pool of models, analysed", "# Analysed"))
    run(folder, target)
    assert (folder / target).read_bytes() == before
    assert "# Analysed" in (folder / "logs/analyse/fake.ipynb").read_text()
