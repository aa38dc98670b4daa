"""Let the base and the few-shot model answer a task. Run by the rule of the same name."""

from atlas.job import run

run(snakemake, "atlas.composed_models:answer_task")
