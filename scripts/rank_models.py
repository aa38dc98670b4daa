"""Rank the models of a pool by their similarity to a task. Run by the rule of the same name."""

from atlas.job import run

run(snakemake, "atlas.ranking:rank_models")
