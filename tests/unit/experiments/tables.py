"""Embeddings and checkpoints small enough to check by hand."""

from __future__ import annotations

import numpy as np

from atlas.experiments.checkpoint_rows import ROLES
from atlas.spaces.embeddings import Embeddings, write_embeddings

CHECKPOINTS = {"base": "b", "instruct": "i", "model": "m", "merged": "m+d"}
ENTRIES = [
    {"delta": "d", "model": "m", "role": role, "checkpoint": CHECKPOINTS[role]} for role in ROLES
]


def store(folder, names, domains, rows, bases=None, space="delta_activations"):
    file = folder / space / "embeddings.npz"
    file.parent.mkdir(parents=True)
    rows = np.array(rows, dtype=np.float32)
    write_embeddings(file, Embeddings(space, names, domains, bases or ["b"] * len(names),
                                      rows.shape[1], embeddings=rows))  # fmt: skip
    return file
