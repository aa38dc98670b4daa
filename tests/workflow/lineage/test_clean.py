"""lineage.py clean: what no configuration wants any more."""

import json

import pytest

from micro import lineage, micro_config, planned, small_config, snakemake, write_config

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"


def test_models_that_no_configuration_has(small_copy):
    copy, config = small_copy, small_config()
    config["grids"]["micro"]["lists"]["split"] = ["first", "third"]
    config["pools"]["micro"]["excluded"] = ["micro-alpha-third"]
    old = {"results/models/micro-beta-second"}

    def clean(*more):
        done = lineage(copy, "clean", "--json", *more)
        return done.returncode, json.loads(done.stdout)

    assert clean()[0] == 0  # all is of the configuration of the run
    write_config(copy, config)
    status, found = clean()
    assert (status, found["files"]) == (0, [])
    assert {
        name.rpartition("/")[0] for name in found["behind"]
    } >= old  # the table was made of them
    snakemake(copy, MAIN, "--cores", "2", "--resources", "gpu=1")
    status, found = clean()
    assert status == 1
    assert {name.rpartition("/")[0] for name in found["files"]} >= old
    assert found["bytes"] > 1000
    assert not any("first" in name or "third" in name for name in found["files"])
    status, again = clean("--remove")
    assert (status, again["files"], again["removed"]) == (0, found["files"], True)
    assert not any((copy / folder).exists() for folder in old)
    assert clean()[0] == 0
    assert planned(copy, MAIN) == set()
    done = lineage(copy, "verify")
    assert done.returncode == 0, done.stdout


def test_a_run_says_which_table_it_replaces(copy):
    """In a dry run too."""
    config = micro_config()
    config["pools"]["other"] = config["pools"].pop("micro")
    config["tables"]["main"]["pools"] = ["other"]
    write_config(copy, config, "other.yaml")
    said = snakemake(copy, MAIN, "-n", "--cores", "1", config="other.yaml").stdout
    assert said.count(f"{MAIN} is replaced: it was made with micro.yaml on ") == 1
    assert "its bases and pools were others" in said
    assert "is replaced" not in snakemake(copy, MAIN, "-n", "--cores", "1", "--forceall").stdout
