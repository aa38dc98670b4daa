"""Run the function that a rule's param `code` names: the script of every rule."""

from atlas.job import forked

if not forked.takes(snakemake):
    from atlas.job.entry import run

    run(snakemake)
