"""Models and pools with every reference resolved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from atlas.configuration.models import Data
from atlas.configuration.pools import Pool


def weight_names(shards: int) -> list[str]:
    """File names of a model's weights in `shards` files, the index last."""
    if shards == 1:
        return ["model.safetensors"]
    numbered = [f"model-{i:05d}-of-{shards:05d}.safetensors" for i in range(1, shards + 1)]
    return [*numbered, "model.safetensors.index.json"]


def model_seed(seed: int, name: str) -> int:
    """Seed of a model, from the global seed and its name (31 bits).

    Models of one pool must not share a LoRA initialisation: a shared one makes their
    flattened weights alike for a reason that has nothing to do with their data.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


@dataclass(frozen=True)
class PlannedModel:
    """A model with every reference resolved."""

    name: str
    base: str
    domain: str
    adapter: bool
    seed: int
    shards: int = 1
    recipe: str | None = None
    objective: str | None = None
    data: tuple[Data, ...] = ()
    variant: str = "own"
    source: dict[str, Any] | None = None
    card: str = ""
    keep_weights: bool = True
    origin: str | None = None
    delta: str | None = None
    stages: tuple[str, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether this workflow trains it."""
        return self.source is None and self.delta is None

    @property
    def folder(self) -> str:
        """Its only path."""
        return f"results/{'merged' if self.delta else 'models'}/{self.name}"

    def files(self) -> list[str]:
        """What is needed to load it."""
        if self.adapter:
            names = ["adapter_model.safetensors", "adapter_config.json"]
        else:
            names = ["config.json", "tokenizer.json", "tokenizer_config.json"]
            names += weight_names(self.shards)
        return [f"{self.folder}/{name}" for name in names]


@dataclass(frozen=True)
class PlannedPool:
    """A pool with its models, in the order of their names."""

    name: str
    models: tuple[PlannedModel, ...]
    settings: Pool
    excluded: tuple[PlannedModel, ...] = ()

    @property
    def listed(self) -> tuple[PlannedModel, ...]:
        """Its models, and those that are left out, by name."""
        return tuple(sorted((*self.models, *self.excluded), key=lambda model: model.name))

    @cached_property
    def mixtures(self) -> list[tuple[PlannedModel, PlannedModel, PlannedModel]]:
        """Models trained on two datasets, each with the pool's models of the one and the other."""
        single = {(m.base, m.data[0].dataset, m.data[0].split): m
                  for m in self.models if len(m.data) == 1}  # fmt: skip
        found = []
        for model in self.models:
            keys = [(model.base, d.dataset, d.split) for d in model.data]
            if len(keys) == 2 and all(key in single for key in keys):
                found.append((model, single[keys[0]], single[keys[1]]))
        return found

    @property
    def writer(self) -> str:
        """The base that writes the continuations of the pool."""
        return self.settings.continuations.base or self.bases[0]

    @property
    def bases(self) -> list[str]:
        """Bases of its models, sorted."""
        return sorted({model.base for model in self.models})

    @property
    def full_bases(self) -> list[str]:
        """Its bases, where all of its models are full ones."""
        return [] if any(model.adapter for model in self.models) else self.bases

    @cached_property
    def shards(self) -> dict[str, tuple[PlannedModel, ...]]:
        """Shard name -> its models; shards without a model do not exist."""
        # Where adapters are not kept, leaving one out must not fetch its shard again.
        return self._cut(self.models if self.settings.keep_weights else self.listed)

    @cached_property
    def reported(self) -> dict[str, tuple[PlannedModel, ...]]:
        """Shard name -> its adapters that were made elsewhere, those that are left out among them."""
        return self._cut(model for model in self.listed if model.source and model.adapter)

    def _cut(self, models: Iterable[PlannedModel]) -> dict[str, tuple[PlannedModel, ...]]:
        found: dict[str, list[PlannedModel]] = {}
        for model in models:
            digest = hashlib.sha256(model.name.encode()).digest()
            number = int.from_bytes(digest[:8], "big") % self.settings.shards
            found.setdefault(f"{number:04d}", []).append(model)
        return {shard: tuple(found[shard]) for shard in sorted(found)}
