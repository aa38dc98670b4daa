"""Bring several adapters made elsewhere into results/. Run by the rule of the same stage."""

from atlas.job import run

run(snakemake, "atlas.fetched_models:fetch_adapters", network=True)
