"""Train a model. Run by the rule of the same stage."""

from atlas.job import run

run(snakemake, "atlas.policy_training:train_policy")
