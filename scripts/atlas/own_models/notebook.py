"""Pools in Python, for notebooks: what a run has made, as pandas has tables.

    import sys
    sys.path.append("scripts")          # of the workflow
    from atlas.own_models.notebook import Pool, map_models

    pool = map_models(["./adapters/maths", "./adapters/law", "org/name"])   # as the command does
    pool = Pool("smollm2")              # of a run that is there

A file that was altered since its job made it is refused, as jobs refuse it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from atlas.clusters.map_files import read_map
from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.job.records import Records
from atlas.own_models.command import run
from atlas.own_models.plans import current_plan, own_pools
from atlas.references import known
from atlas.spaces.embeddings import Embeddings, read_embeddings


class Pool:
    """A pool of models of a finished run.

    :param root: the folder that holds results/.
    :raises AtlasError: where there is no such pool.
    """

    def __init__(self, name: str, root: str | Path = ".") -> None:
        self.name, self._root = name, Path(root)
        self.folder = self._root / "results/pools" / name
        self.page = self.folder / "navigator.html"
        pools = [place.name for place in self.folder.parent.glob("*") if place.is_dir()]
        known(name, sorted(pools), str(self.folder.parent), "pool")

    def __repr__(self) -> str:
        return f"Pool({self.name!r}): {', '.join(self.spaces) or 'no space yet'}; page: {self.page}"

    @property
    def spaces(self) -> list[str]:
        """Spaces in which the pool is embedded, sorted."""
        return sorted(file.parent.name for file in self.folder.glob("*/embeddings.npz"))

    def models(self) -> pd.DataFrame:
        """Domain and base of each model; the index is their names."""
        found = self._embedded(self.spaces[0]) if self.spaces else None
        if found is None:
            raise AtlasError(f"{self.folder}: has no embeddings; make {self.page} first.")
        columns = {"domain": found.domains, "base": found.base_model}
        return pd.DataFrame(columns, _index(found.model_names))

    def embeddings(self, space: str = "delta_activations") -> pd.DataFrame:
        """Vectors (n, dim) float32, a row for each model.

        :raises AtlasError: where the space stores similarities (:meth:`similarities`), or has nothing.
        """
        found = self._embedded(space)
        if found.embeddings is None:
            why = found.reason or "its vectors are huge, and similarities are stored in their place"
            raise AtlasError(f"{self.name}: {space} has no vectors: {why}.")
        return pd.DataFrame(found.embeddings, _index(found.model_names))

    def similarities(self, space: str = "delta_activations") -> pd.DataFrame:
        """Cosine similarities (n, n) float64.

        :raises AtlasError: where the space has no embedding of this pool.
        """
        found = self._embedded(space)
        if found.reason:
            raise AtlasError(f"{self.name}: {space} is empty: {found.reason}.")
        names = _index(found.model_names)
        return pd.DataFrame(found.cosine_similarity(), names, names)

    def neighbours(self, model: str, space: str = "delta_activations") -> pd.DataFrame:
        """The ten nearest models of a model, nearest first: domain and similarity.

        :raises AtlasError: where the pool has no such model or space.
        """
        rows = [row for row in read_csv(self._file("neighbours.csv")) if row["space"] == space]
        known(model, sorted({row["model"] for row in rows}), f"{self.name}, {space}", "model")
        own = sorted((row for row in rows if row["model"] == model), key=lambda r: int(r["rank"]))
        columns = {"domain": [row["neighbour_domain"] for row in own],
                   "similarity": [float(row["similarity"]) for row in own]}  # fmt: skip
        index = pd.Index([row["neighbour"] for row in own], name="neighbour")
        return pd.DataFrame(columns, index)

    def map(self, space: str = "delta_activations") -> pd.DataFrame:
        """Place of each model on the map, as figures and navigator show it: x, y and domain."""
        known(space, self.spaces, self.name, "space")
        names, places, *_ = read_map(self._file(f"{space}/map.csv"))
        found = pd.DataFrame(np.asarray(places), _index(names), ["x", "y"])
        return found.join(self.models()["domain"])

    def table(self, name: str) -> pd.DataFrame:
        """A table of the pool: silhouette, neighbours, report."""
        return pd.read_csv(self._file(f"{name}.csv"))

    def _embedded(self, space: str) -> Embeddings:
        known(space, self.spaces, self.name, "space")
        return read_embeddings(self._file(f"{space}/embeddings.npz"))

    def _file(self, name: str) -> Path:
        """A file of the pool, as its job made it."""
        file = self.folder / name
        if not file.is_file():
            raise AtlasError(f"{file}: is not there; make it: snakemake {file} --cores 1.")
        path = f"results/pools/{self.name}/{name}"
        made = Records(self._root).statement(path)
        if made is None or made.outputs[path] != sha256_file(file):
            raise AtlasError(
                f"{file}: is not what a job made; `python scripts/lineage.py verify` says what has changed."
            )
        return file


def map_models(
    models: Sequence[str], name: str = "mine", *, base: str | None = None,
    domains: Sequence[str] = (), cores: int = 1, configfiles: Sequence[Path] = (),
) -> Pool:  # fmt: skip
    """Map models, as scripts/map_models.py does: nothing is asked.

    :param domains: one for each model; empty: they are guessed.
    :returns: the pool (of several bases, that of the first).
    :raises AtlasError: where they cannot be mapped, or the run fails.
    """
    found = own_pools(models, name, current_plan(configfiles), base=base, domains=domains)
    if status := run(found, [*configfiles, found.write()], cores):
        raise AtlasError(f"the run of {name} ended with the status {status}: Snakemake said why.")
    return Pool(next(iter(found.pools)))


def _index(names: Sequence[str]) -> Any:
    return pd.Index(names, name="model")
