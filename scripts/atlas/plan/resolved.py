"""What is planned, with every reference resolved: models, pools, and the whole that rules ask."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from atlas.configuration.bases import Base
from atlas.configuration.config import Config
from atlas.configuration.models import Data
from atlas.configuration.pools import Pool
from atlas.configuration.recipes import Recipe
from atlas.errors import AtlasError
from atlas.figures.style import looks

FETCHED_ALONE = 500  # models of a pool up to which each adapter is fetched by a job of its own
# Adapters that a job fetches otherwise: Snakemake holds its records of 128 files in memory, and asks
# for those of a job's outputs, three for each adapter, several times.
TOGETHER = 40


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
    more: dict[str, str] = field(default_factory=dict, compare=False)  # other columns of its sheet

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

    @cached_property
    def domains(self) -> list[str]:
        """Domains of its models, sorted."""
        return sorted({model.domain for model in self.models})

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
        """Shard name -> its models that were made elsewhere, those that are left out among them."""
        return self._cut(model for model in self.listed if model.source)

    def _cut(self, models: Iterable[PlannedModel]) -> dict[str, tuple[PlannedModel, ...]]:
        found: dict[str, list[PlannedModel]] = {}
        for model in models:
            digest = hashlib.sha256(model.name.encode()).digest()
            number = int.from_bytes(digest[:8], "big") % self.settings.shards
            found.setdefault(f"{number:04d}", []).append(model)
        return {shard: tuple(found[shard]) for shard in sorted(found)}


def merged_models(
    config: Config, models: Mapping[str, PlannedModel], implicit: Mapping[str, str]
) -> dict[str, PlannedModel]:
    """model+delta -> merged model, for all models that are trained from the base of a delta."""
    found = {}
    for (name, model), (delta, entry) in product(models.items(), config.deltas.items()):
        if model.base == entry.base:
            base = config.bases.get(entry.base)
            shards = base.shards if base and entry.base not in implicit else 1
            merged = replace(model, name=f"{name}+{delta}", adapter=False, shards=shards,
                             source=None, keep_weights=True, origin=name, delta=delta)  # fmt: skip
            found[merged.name] = merged
    return found


@dataclass(frozen=True)
class Plan:
    """All that rules ask about a configuration."""

    config: Config
    models: Mapping[str, PlannedModel]
    pools: Mapping[str, PlannedPool]
    implicit: Mapping[str, str] = field(default_factory=dict)
    repeats: Mapping[str, dict[int, str]] = field(default_factory=dict)

    @cached_property
    def looks(self) -> dict[str, tuple[str, str]]:
        """Colour and marker of each domain, the same in all pools.

        Domains stand in the order of the pools that first have them: a pool more alters none.
        """
        domains = [domain for pool in self.pools.values() for domain in pool.domains]
        return looks(domains, self.config.figures.palette, self.config.figures.markers)

    def looks_of(self, pool: str) -> dict[str, list[str]]:
        """Colour and marker of the domains of a pool, sorted by domain."""
        return {domain: list(self.looks[domain]) for domain in self.pools[pool].domains}

    @cached_property
    def merged(self) -> dict[str, PlannedModel]:
        """Every merged model that can be asked for: a model plus a delta of the same base."""
        return merged_models(self.config, self.models, self.implicit)

    @cached_property
    def fetched_together(self) -> list[tuple[PlannedModel, ...]]:
        """Adapters of large sheets, some of one shard of their pool at a time: one job fetches them."""
        found: list[tuple[PlannedModel, ...]] = []
        seen: set[str] = set()
        for pool in self.pools.values():
            if pool.settings.keep_weights and len(pool.models) > FETCHED_ALONE:
                for shard in pool.shards.values():
                    some = [m for m in shard if m.source and m.adapter and m.name not in seen]
                    seen |= {model.name for model in some}
                    found += [tuple(some[i : i + TOGETHER]) for i in range(0, len(some), TOGETHER)]
        return found

    def pool_repeats(self, pool: str) -> dict[int, str]:
        """Seed -> name of the pool with its models trained anew with that seed, the pool first."""
        return {self.config.seeds[0]: pool, **self.repeats.get(pool, {})}

    def base_shards(self, base: str) -> int:
        """Number of weight files of a base."""
        if base in self.implicit:
            return self.models[self.implicit[base]].shards
        return self.config.bases[base].shards

    def pretrained(self, base: str) -> Base:
        """The entry of a base; of one that is a model, that of the base behind it."""
        while base in self.implicit:
            base = self.models[self.implicit[base]].base
        return self.config.bases[base]

    def base_files(self, base: str) -> list[str]:
        """All files of a base, the record of its origin first."""
        names = ["base.json", "config.json", "tokenizer.json", "tokenizer_config.json"]
        names += weight_names(self.base_shards(base))
        return [f"results/sources/bases/{base}/{name}" for name in names]

    def base_names(self, base: str) -> list[str]:
        """Names under which adapters may record this base: its own, its repository, aliases."""
        names = [base, f"results/sources/bases/{base}"]
        if base in self.config.bases:
            entry = self.config.bases[base]
            names += entry.aliases
            if entry.source.hub:
                names.append(entry.source.hub.repo)
        return names

    def base_address(self, base: str) -> tuple[str, str | None]:
        """What a model card and an adapter's configuration call the base: (address, revision)."""
        entry = self.config.bases.get(base)
        if entry is not None and entry.source.hub:
            return entry.source.hub.repo, entry.source.hub.revision
        return f"results/sources/bases/{base}", None

    def recipe(self, model: str) -> Recipe:
        """The recipe of a trained model."""
        name = self.models[model].recipe
        if name is None:
            raise AtlasError(f"{model} is fetched and has no recipe.")
        return self.config.recipes[name]

    def base_stages(self, base: str) -> list[str]:
        """What a base was trained by, first to last."""
        if base in self.implicit:
            return self.model_stages(self.implicit[base])
        return self.config.bases[base].stages

    def model_stages(self, model: str) -> list[str]:
        """What a model was trained by, first to last, its base first."""
        found = self.models[model]
        return [*self.base_stages(found.base), *found.stages]

    @property
    def trained_on_text(self) -> list[str]:
        """Models whose perplexity on held-out text says what their training did."""
        return [name for name, model in self.models.items() if model.objective == "cpt"]

    def checkpoints(self, table: str) -> list[dict[str, str]]:
        """What is evaluated for a table: delta, model, role and checkpoint of each."""
        return self.config.tables[table].checkpoints(self.config.deltas)

    @property
    def evaluated(self) -> set[str]:
        """Checkpoints of all tables."""
        tables = self.config.tables
        return {entry["checkpoint"] for table in tables for entry in self.checkpoints(table)}

    @property
    def compared(self) -> set[str]:
        """Models of all comparisons."""
        return {model for entry in self.config.comparisons.values() for model in entry.models}

    def checkpoint(self, name: str) -> tuple[str, PlannedModel | None]:
        """Base of a checkpoint, and the model that is put into it (None: the base itself)."""
        model = self.models.get(name) or self.merged.get(name)
        return (model.base, model) if model else (name, None)

    def split_file(self, data: Data, variant: str) -> str:
        """The split that an entry of `data` reads, in the frame of the model."""
        framed = self.config.datasets[data.dataset].template.framed
        suffix = f"+{variant}" if framed and variant != "own" else ""
        return f"results/datasets/{data.dataset}/{data.split}{suffix}.jsonl"

    def pushed(self, push: str) -> PlannedModel | None:
        """The model of an upload; None for a delta."""
        kind, _, name = self.config.pushes[push].path.partition("/")
        return (
            None if kind == "deltas" else (self.merged if kind == "merged" else self.models)[name]
        )

    def push_files(self, push: str) -> list[str]:
        """Files of an upload, but its card, which is written for it."""
        model = self.pushed(push)
        folder = f"results/{self.config.pushes[push].path}"
        if model is None:
            return [
                f"{folder}/{x}" for x in ("delta.safetensors", "delta_meta.json", "bom.cdx.json")
            ]
        others = ["bom.cdx.json", *(["generation_config.json"] if model.delta else []),
                  *(["model.sig"] if self.config.signing_key else [])]  # fmt: skip
        return [*model.files(), *(f"{folder}/{other}" for other in others)]

    def sides(self, comparison: str) -> dict[str, list[str]]:
        """Models of a comparison: those fine-tuned on solutions (sft), and with rewards (rl)."""
        entry = self.config.comparisons[comparison]
        sft = [name for name in entry.models if name not in entry.rl]
        return {"sft": sft, "rl": [name for name in entry.models if name in entry.rl]}

    def rewarded(self, comparison: str) -> list[str]:
        """Models of a comparison that are trained with rewards here, and so have a curve."""
        return [name for name in self.sides(comparison)["rl"] if self.models[name].trained]

    def tables_of(self, kind: str) -> list[str]:
        """Names of the tables of a kind."""
        return [name for name, table in self.config.tables.items() if table.kind == kind]

    @property
    def summary(self) -> list[str]:
        """Names of the tables whose findings the summary tells, in its order."""
        return self.config.summary or list(self.config.tables)

    def table_pools(self, table: str) -> list[PlannedPool]:
        """Pools of a table, without their repetitions with other seeds."""
        return [self.pools[name] for name in self.config.tables[table].pools_read]

    def repeated_pools(self, table: str, *, queries: bool = False) -> list[tuple[str, int, str]]:
        """Pools of a table (or those of its queries) with their repetitions: pool, seed, name."""
        entry = self.config.tables[table]
        return [
            (pool, seed, name)
            for pool in entry.pools_read
            for seed, name in self.pool_repeats(entry.queries[pool] if queries else pool).items()
        ]
