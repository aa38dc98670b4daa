# What the rules of pools and of their shards read.
def pool_models(wildcards):
    """Models of a pool as plain values, in the order of their names."""
    return [
        {"name": m.name, "base": m.base, "domain": m.domain}
        for m in PLAN.pools[wildcards.pool].models
    ]


def pool_files(wildcards):
    """Files of all models of a pool, where the similarities of all pairs are stored."""
    if len(PLAN.pools[wildcards.pool].models) > ALL_PAIRS:
        return []
    return [f for m in PLAN.pools[wildcards.pool].models for f in m.files()]


def pool_base_files(wildcards):
    """Files of all bases of a pool."""
    return [f for b in PLAN.pools[wildcards.pool].bases for f in PLAN.base_files(b)]


def full_pool_base_files(wildcards):
    """Files of all bases of a pool, where all of its models are full ones."""
    adapters = any(model.adapter for model in PLAN.pools[wildcards.pool].models)
    return [] if adapters else pool_base_files(wildcards)


def pools_that_keep(weights):
    """Names of the pools that keep their weights, or of those that do not."""
    return [n for n, p in PLAN.pools.items() if p.settings.keep_weights is weights]


def pool_report(wildcards):
    """report.csv of a pool whose adapters are not kept."""
    kept = PLAN.pools[wildcards.pool].settings.keep_weights
    return [] if kept else [f"results/pools/{wildcards.pool}/report.csv"]


def pool_cards(wildcards):
    """Cards of the models of a pool, where they are kept."""
    pool = PLAN.pools[wildcards.pool]
    kept = pool.models if pool.settings.keep_weights else ()
    return [f"{model.folder}/README.md" for model in kept]


def pools_with_adapters_made_elsewhere():
    """Names of the pools that can have a report."""
    return [name for name, pool in PLAN.pools.items() if pool.reported]


def reports_of_shards(wildcards):
    """What the report of a pool is made of."""
    pool = PLAN.pools[wildcards.pool]
    return [f"results/pools/{pool.name}/shards/{s}.report.csv" for s in pool.reported]


def reported_models(wildcards):
    """Adapters of the report of a pool, with where they are from."""
    pool = PLAN.pools[wildcards.pool]
    return [
        {"name": m.name, "domain": m.domain, "source": described(m.source)}
        for m in sorted(
            (m for shard in pool.reported.values() for m in shard),
            key=lambda m: m.name,
        )
    ]


def reported_in_shard(wildcards):
    """Adapters made elsewhere of one shard, those that are left out among them."""
    return PLAN.pools[wildcards.pool].reported[wildcards.shard]


def reported_sources(wildcards):
    """Name, base and source of the adapters made elsewhere of one shard."""
    return [
        {"name": m.name, "base": m.base, "source": m.source}
        for m in reported_in_shard(wildcards)
    ]


def reported_local_files(wildcards):
    """Files of the adapters of one shard that come from folders of the user's own."""
    found = [m.source.get("local") for m in reported_in_shard(wildcards)]
    return [f for folder in found for f in local_files(folder, ADAPTER_FILES)]


def reported_base_files(wildcards):
    """Records and weights of the bases of the adapters made elsewhere of one shard."""
    bases = sorted({m.base for m in reported_in_shard(wildcards)})
    return [f for base in bases for f in base_weights_of(base)]


def reported_base_names(wildcards):
    """Base -> names under which it may be recorded, of the adapters of one shard."""
    return {m.base: PLAN.base_names(m.base) for m in reported_in_shard(wildcards)}


def shard_models(wildcards):
    """Models of one shard, as PLAN has them."""
    return PLAN.pools[wildcards.pool].shards[wildcards.shard]


def shard_bases(wildcards):
    """Bases of one shard, sorted."""
    return sorted({model.base for model in shard_models(wildcards)})


def shard_base_files(wildcards):
    """Files of the bases of one shard."""
    return [f for base in shard_bases(wildcards) for f in PLAN.base_files(base)]


def shard_model_files(wildcards):
    """Files of the models of one shard."""
    return [f for model in shard_models(wildcards) for f in model.files()]


def shard_params(wildcards):
    """Name and base of the models of one shard."""
    return [{"name": m.name, "base": m.base} for m in shard_models(wildcards)]


def shard_dtypes(wildcards):
    """Base -> precision, for one shard."""
    return {base: base_dtype(base) for base in shard_bases(wildcards)}


def shard_base_names(wildcards):
    """Base -> names under which it may be recorded, for one shard."""
    return {base: PLAN.base_names(base) for base in shard_bases(wildcards)}


def pool_shards(pattern):
    """One file per shard of a pool."""
    return lambda wildcards: [
        f"results/pools/{wildcards.pool}/shards/{shard}{pattern}"
        for shard in PLAN.pools[wildcards.pool].shards
    ]


def pool_embeddings(wildcards):
    """embeddings.npz of all spaces of a pool."""
    return [
        f"results/pools/{wildcards.pool}/{space}/embeddings.npz"
        for space in PLAN.pools[wildcards.pool].settings.spaces
    ]


def pool_maps(wildcards):
    """map.csv of all spaces of a pool."""
    return [
        f"results/pools/{wildcards.pool}/{space}/map.csv"
        for space in PLAN.pools[wildcards.pool].settings.spaces
    ]


def navigator_models(wildcards):
    """Models of a pool with what the navigator says of where they are from."""
    return [
        {
            "name": m.name,
            "base": m.base,
            "domain": m.domain,
            "recipe": m.recipe,
            "seed": m.seed if m.trained else None,
            "variant": m.variant,
            "data": [d.model_dump() for d in m.data],
            "origin": m.origin or described(m.source),
            "delta": m.delta,
            "file": m.files()[0],
        }
        for m in PLAN.pools[wildcards.pool].models
    ]


def navigator_datasets(wildcards):
    """Datasets that models of a pool were trained on: domain, licence, where they are from."""
    used = {d.dataset for m in PLAN.pools[wildcards.pool].models for d in m.data}
    entries = {name: PLAN.config.datasets[name] for name in sorted(used)}
    return {
        name: {
            "domain": entry.domain,
            "licence": entry.licence,
            "source": described(source_params(entry.source)),
        }
        for name, entry in entries.items()
    }


def pool_figures(pools):
    """All figures of pools."""
    return [
        f"results/pools/{pool.name}/figures/{kind}_{space}.svg"
        for pool in pools
        for space in pool.settings.spaces
        for kind in ("tsne", "similarity", "silhouette")
    ]
