"""Write the navigator of a pool. Run by the rule of the same stage."""

from atlas.job import run

run(snakemake, "atlas.navigator:write_navigator")
