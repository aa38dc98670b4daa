"""Write a table of selection. Run by the rule of the same name."""

from atlas.job import run

run(snakemake, "atlas.selection_tables:selection_table")
