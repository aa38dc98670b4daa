"""Output sentences: what a model writes to the probes, embedded by a sentence encoder."""

from pathlib import Path
from typing import Any

import numpy as np

from atlas import device as devices
from atlas.errors import AtlasError
from atlas.files import read_jsonl
from atlas.spaces.space import Found, Nothing, space, stacked


@space
def embed(*, sentences: list[Path], encoder: list[Path], models: list[dict[str, Any]]) -> Found:
    """The mean over probes of the encoded sentences, (n, dim) float32.

    Where every model ends each answer at once there is nothing to compare.

    :param sentences: what the shards wrote. :param encoder: files of the encoder.
    :raises AtlasError: where no sentence of a model was generated.
    """
    from sentence_transformers import SentenceTransformer

    device = devices.prepare()
    network = SentenceTransformer(str(encoder[0].parent), device=str(device))
    texts: dict[str, list[str]] = {model["name"]: [] for model in models}
    for file in sentences:
        for row in read_jsonl(file):
            texts[row["model"]].append(row["text"])
    for name, written in texts.items():
        if not written:
            raise AtlasError(f"{name}: no output sentences were generated.")
    if not any(text.strip() for written in texts.values() for text in written):
        return Nothing("no model of the pool writes anything to the probes")
    how = {"show_progress_bar": False, "convert_to_numpy": True, "normalize_embeddings": False}
    encoded = (network.encode(some, batch_size=len(some), **how) for some in texts.values())
    means = (np.asarray(found, dtype=np.float64).mean(axis=0) for found in encoded)
    return stacked(means, len(models), "sentences")
