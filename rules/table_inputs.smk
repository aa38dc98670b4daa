# What the rules of tables, of the summary and of crates read.
def summary_pools():
    """Pools of the tables that the summary tells of, as plain values."""
    pools = {
        pool.name: pool for table in PLAN.summary for pool in PLAN.table_pools(table)
    }
    return [
        {
            "name": pool.name,
            "models": len(pool.models),
            "domains": sorted({model.domain for model in pool.models}),
            "bases": pool.bases,
            "recipes": sorted({model.recipe for model in pool.models if model.recipe}),
        }
        for pool in pools.values()
    ]


def table_pool_files(pattern, queries=False):
    """One file per pool and seed of a table, or per pool of its queries."""

    def files(wildcards):
        pools = PLAN.repeated_pools(wildcards.table, queries=queries)
        return [f"results/pools/{name}/{pattern}" for _, _, name in pools]

    return files


def table_names(wildcards):
    """Pool, seed and folder of each pool of a table."""
    return [list(entry) for entry in PLAN.repeated_pools(wildcards.table)]


def table_perplexities(wildcards):
    """What continued pre-training did to the bases of a table's pools that are models."""
    bases = {b for pool in PLAN.table_pools(wildcards.table) for b in pool.bases}
    models = {PLAN.implicit[b] for b in bases if b in PLAN.implicit}
    wanted = sorted(models & set(PLAN.trained_on_text))
    return [f"results/models/{model}/perplexity.csv" for model in wanted]


def table_evaluations(wildcards):
    """Evaluations of all checkpoints of a table."""
    entries = PLAN.checkpoints(wildcards.table)
    return [
        f"results/evaluations/{wildcards.table}/{name}.json"
        for name in dict.fromkeys(entry["checkpoint"] for entry in entries)
    ]


def held_out(key):
    """Rows after the region of the datasets that a table names under a key."""
    return lambda wildcards: [
        f"results/datasets/{name}/rest.jsonl"
        for name in getattr(PLAN.config.tables[wildcards.table], key)
    ]


def table_pairs(wildcards):
    """Pairs of the models of a table, without a delta and with each."""
    import itertools

    table = PLAN.config.tables[wildcards.table]
    return [
        [f"{m}+{delta}" if delta else m for m in pair] + [delta]
        for delta in ["", *table.deltas]
        for pair in itertools.combinations(table.models, 2)
    ]


def table_embeddings(wildcards):
    """Pool and embeddings.npz of every space of the pools of a table."""
    return [
        (pool.name, f"results/pools/{pool.name}/{space}/embeddings.npz")
        for pool in PLAN.table_pools(wildcards.table)
        for space in pool.settings.spaces
    ]


def table_settings(wildcards):
    """Pool -> setting of the published figures, for the pools of a table."""
    table = PLAN.config.tables[wildcards.table]
    return {p: setting for p, setting in table.published.items() if p in table.pools}


def table_mixtures(wildcards):
    """Models of mixtures and of their parts, as plain values."""
    return [
        {
            "pool": pool,
            "seed": seed,
            "folder": name,
            "base": mixed.base,
            "mixed": mixed.name,
            "first": first.name,
            "second": second.name,
            "first_domain": first.domain,
            "second_domain": second.domain,
        }
        for pool, seed, name in PLAN.repeated_pools(wildcards.table)
        for mixed, first, second in PLAN.pools[name].mixtures
    ]


def table_models(wildcards):
    """Models of all pools of a table, as plain values."""
    return [
        {"pool": pool.name, "name": m.name, "base": m.base, "domain": m.domain}
        for pool in PLAN.table_pools(wildcards.table)
        for m in pool.models
    ]


# Folders of results/: a table that has the name of one is asked for by its path when a crate of it
# is wanted (results/crates/tables/{table}.csv/).
FOLDERS = (
    "sources",
    "datasets",
    "models",
    "merged",
    "pools",
    "deltas",
    "pushed",
    "comparisons",
    "evaluations",
    "retrieval",
    "selection",
    "tables",
    "figures",
)
CRATE_TABLES = {
    table: f"results/tables/{table}.csv"
    for table in PLAN.config.tables
    if table not in FOLDERS
}


def crate_artefact(wildcards):
    """The artefact that a crate is about: a table by its name, or a path below results/."""
    return CRATE_TABLES.get(wildcards.target, f"results/{wildcards.target}")


def crate_companions(wildcards):
    """What belongs to a table without being behind it: figures, neighbours, navigators of its pools."""
    tables = {
        f"results/tables/{table}.csv": PLAN.table_pools(table)
        for table in PLAN.config.tables
    }
    pools = tables.get(crate_artefact(wildcards), [])
    geometry = PLAN.tables_of("geometry")
    drawn = comparison_figures(wildcards.target) if wildcards.target in geometry else []
    return (
        drawn
        + pool_figures(pools)
        + [
            f"results/pools/{pool.name}/{name}"
            for pool in pools
            for name in ("neighbours.csv", "navigator.html")
        ]
    )
