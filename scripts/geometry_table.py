"""Write a table of geometry. Run by the rule of the same name."""

from atlas.job import run

run(snakemake, "atlas.geometry_tables:geometry_table")
