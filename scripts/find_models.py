"""Find the models of a pool that suit a task, from a handful of its examples.

    python scripts/find_models.py examples.jsonl --pool smollm2

Each line of the file is an object with `prompt` and `completion`, or with `messages`. A model is
trained on them, and the models of the pool are ranked by the cosine of their delta activations to
its own: results/retrieval/NAME/models.csv, models.md and models.svg.

The command writes a small configuration, retrieval-NAME.yaml, and hands it to Snakemake.
"""

import sys

from atlas.selection.command import main

if __name__ == "__main__":
    sys.exit(main())
