"""Map your own models: what they are, which base they have and how they are grouped is found out.

    python scripts/map_models.py ./adapters/maths ./adapters/law org/name

A folder may hold a model, or folders of models. The command writes a configuration (mine.yaml) and a
sheet (mine.tsv), hands them to Snakemake and says which page to open.
"""

import sys

from atlas.own_models.command import main

if __name__ == "__main__":
    sys.exit(main())
