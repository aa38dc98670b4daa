"""Measure the trajectories of model on task. Run by the rule of the same name."""

from atlas.job import run

run(snakemake, "atlas.trajectories:measure_trajectories")
