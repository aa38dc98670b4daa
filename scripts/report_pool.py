"""Report on the adapters of a pool. Run by the rule of the same stage."""

from atlas.job import run

run(snakemake, "atlas.pool_reports:report_pool")
