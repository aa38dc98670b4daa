"""`snakemake --touch` takes as made what was made otherwise, and lineage.py says so."""

from __future__ import annotations

import pytest

from micro import lineage, micro_config, snakemake, write_config

pytestmark = pytest.mark.workflow

MODEL = "results/models/micro-alpha-first/adapter_model.safetensors"


def test_a_touched_recipe(copy):
    config = micro_config()
    config["recipes"]["quick"]["learning_rate"] = 0.02
    write_config(copy, config)
    snakemake(copy, MODEL, "--cores", "1", "--touch")
    assert "Nothing to be done" in snakemake(copy, "-n", MODEL).stdout
    explained = lineage(copy, "explain", MODEL)
    assert explained.returncode == 1
    assert (
        f"{MODEL} counts as up to date (as after --touch), and was made otherwise"
        in explained.stdout
    )
    assert "parameter recipe.learning_rate: 0.01 -> 0.02" in explained.stdout
    verified = lineage(copy, "verify")
    assert verified.returncode == 1
    (said,) = (line for line in verified.stdout.splitlines() if line.startswith("touched"))
    assert "results/models/micro-alpha-first/" in said
    assert (
        "(parameter recipe.learning_rate: 0.01 then, 0.02 now), and --touch took it as made" in said
    )
    write_config(copy, micro_config())
    snakemake(copy, MODEL, "--cores", "1", "--touch")
    assert lineage(copy, "explain", MODEL).returncode == 0
    assert lineage(copy, "verify").returncode == 0
