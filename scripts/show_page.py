"""Show a text as a page. Run by the rule of the same stage."""

from atlas.job import run

run(snakemake, "atlas.pages:write_page")
