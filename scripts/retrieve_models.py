"""Look models up by a few examples of a task. Run by the rule of the same name."""

from atlas.job import run

run(snakemake, "atlas.ranking:find_models")
