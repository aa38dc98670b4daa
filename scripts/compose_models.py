"""Choose models for a task and compose them. Run by the rule of the same name."""

from atlas.job import run

run(snakemake, "atlas.composed_models:compose")
