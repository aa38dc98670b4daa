"""Check a shard of adapters made elsewhere. Run by the rule of the same stage."""

from atlas.job import run

run(snakemake, "atlas.fetched_shards:check_shard", network=True)
