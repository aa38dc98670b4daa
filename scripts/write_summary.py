"""Write what the tables say in sentences. Run by the rule of the same stage."""

from atlas.job import run

run(snakemake, "atlas.summary:write_summary")
