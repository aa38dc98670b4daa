"""Fetch and embed a shard of adapters that are not kept. Run by the rule of the same stage."""

from atlas.job import run

run(snakemake, "atlas.fetched_shards:compute_fetched_shard", network=True)
