"""Place the models of a pool on a map. Run by the rule of the same stage."""

from atlas.job import run

run(snakemake, "atlas.maps:map_models")
