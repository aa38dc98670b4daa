"""Run the function that a rule's param `code` names: the script of every rule."""

from atlas.job.entry import run

run(snakemake)
