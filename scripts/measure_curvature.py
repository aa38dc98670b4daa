"""Measure the local curvature of model on task. Run by the rule of the same name."""

from atlas.job import run

run(snakemake, "atlas.local_curvature:measure_curvature")
