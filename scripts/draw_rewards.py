"""Draw the reward curves of comparison. Run by the rule of the same name."""

from atlas.job import run

run(snakemake, "atlas.comparison_figures:draw_rewards")
