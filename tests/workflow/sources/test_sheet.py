"""A pool of models made elsewhere: a TSV and a few lines."""

import csv
import shutil

import numpy as np
import pytest

from micro import micro, micro_config, snakemake, write_config

pytestmark = pytest.mark.workflow


def test_a_sheet_of_adapters_from_folders(finished, tmp_path):
    folder = micro(tmp_path / "checkout")
    lines = ["model\tsource\tbase\tdomain"]
    for domain in ("alpha", "beta"):
        for split in ("first", "second"):
            source = finished / f"results/models/micro-{domain}-{split}"
            shutil.copytree(source, folder / f"found/{domain} {split}")
            lines.append(f"org/{domain}-{split}\t./found/{domain} {split}\tmicro\t{domain}")
    (folder / "mine.tsv").write_text("\n".join(lines) + "\n")
    config = micro_config()
    config["pools"]["mine"] = {"sheet": "mine.tsv", "spaces": ["delta_activations"], "shards": 2}
    write_config(folder, config)
    snakemake(folder, "results/pools/mine/neighbours.csv", "--cores", "2")
    with (folder / "results/pools/mine/neighbours.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {row["model"] for row in rows} == {
        f"org--{d}-{s}" for d in ("alpha", "beta") for s in ("first", "second")
    }
    # The same adapters give the same embeddings, whatever they are called and however sharded.
    one = np.load(finished / "results/pools/micro/delta_activations/embeddings.npz")
    two = np.load(folder / "results/pools/mine/delta_activations/embeddings.npz")
    assert np.array_equal(one["embeddings"], two["embeddings"])
    assert [n.replace("micro-", "org--") for n in one["model_names"]] == list(two["model_names"])
