"""What the rules of tables read, and are told."""

from itertools import combinations, product
from typing import Any

from atlas.plan.members import told
from atlas.plan.resolved import Plan


def pool_files(plan: Plan, table: str, name: str, *, queries: bool = False) -> list[str]:
    """One file per pool and seed of a table, or per pool of its queries."""
    pools = plan.repeated_pools(table, queries=queries)
    return [f"results/pools/{pool}/{name}" for _, _, pool in pools]


def companions(plan: Plan, table: str) -> list[str]:
    """What is drawn with a table and not read by it: figures, neighbours, navigators of its pools."""
    found = []
    for name in plan.config.tables[table].comparisons_read:
        kinds = ["preservation", "effective_rank", "spectra"]
        if plan.rewarded(name):
            kinds.append("reward")
        found += [f"results/comparisons/{name}/figures/{kind}.svg" for kind in kinds]
    pools, kinds = plan.table_pools(table), ("map", "similarity", "silhouette")
    for pool in pools:
        drawn = product(pool.settings.spaces, kinds)
        found += [f"results/pools/{pool.name}/figures/{kind}_{space}.svg" for space, kind in drawn]
    for pool in pools:
        found += [f"results/pools/{pool.name}/{f}" for f in ("neighbours.csv", "navigator.html")]
    return found


def perplexities(plan: Plan, table: str) -> list[str]:
    """What continued pre-training did to the bases of a table's pools that are models."""
    bases = {base for pool in plan.table_pools(table) for base in pool.bases}
    models = {plan.implicit[base] for base in bases if base in plan.implicit}
    wanted = sorted(models & set(plan.trained_on_text))
    return [f"results/models/{model}/perplexity.csv" for model in wanted]


def evaluations(plan: Plan, table: str) -> list[str]:
    """Evaluations of all checkpoints of a table."""
    checkpoints = dict.fromkeys(entry["checkpoint"] for entry in plan.checkpoints(table))
    return [f"results/evaluations/{table}/{name}.json" for name in checkpoints]


def embeddings(plan: Plan, table: str) -> list[tuple[str, str]]:
    """Pool and embeddings.npz of every space of the pools of a table."""
    return [
        (pool.name, f"results/pools/{pool.name}/{space}/embeddings.npz")
        for pool in plan.table_pools(table)
        for space in pool.settings.spaces
    ]


def pairs(plan: Plan, table: str) -> list[list[str]]:
    """Pairs of the models of a table, without a delta and with each."""
    entry = plan.config.tables[table]
    return [
        [f"{model}+{delta}" if delta else model for model in pair] + [delta]
        for delta in ["", *entry.deltas]
        for pair in combinations(entry.models, 2)
    ]


def published(plan: Plan, table: str) -> dict[str, str]:
    """Pool or comparison -> the published figure that stands beside it, for those of a table."""
    entry = plan.config.tables[table]
    shown = (*entry.pools_read, *entry.comparisons_read)
    return {name: setting for name, setting in entry.published.items() if name in shown}


def sentences(plan: Plan, table: str) -> list[str]:
    """What the models of the pools of a table write, one file per shard."""
    return [
        f"results/pools/{pool.name}/shards/{shard}.sentences.jsonl"
        for pool in plan.table_pools(table)
        for shard in pool.shards
    ]


def models(plan: Plan, table: str) -> list[dict[str, str]]:
    """Models of all pools of a table."""
    return [
        {"pool": pool.name, **row}
        for pool in plan.table_pools(table)
        for row in told(pool.models, "name", "base", "domain")
    ]


def mixtures(plan: Plan, table: str) -> list[dict[str, Any]]:
    """Models of mixtures and of their parts, of all pools of a table and their repetitions."""
    return [
        {"pool": pool, "seed": seed, "folder": name, "base": mixed.base, "mixed": mixed.name,
         "first": first.name, "second": second.name, "first_domain": first.domain,
         "second_domain": second.domain}
        for pool, seed, name in plan.repeated_pools(table)
        for mixed, first, second in plan.pools[name].mixtures
    ]  # fmt: skip


def rewarded(plan: Plan, table: str) -> list[str]:
    """Models of the comparisons of a table that are trained with rewards here."""
    comparisons = plan.config.tables[table].comparisons
    return list(dict.fromkeys(model for name in comparisons for model in plan.rewarded(name)))


def comparisons(plan: Plan, table: str) -> list[dict[str, Any]]:
    """Comparisons of a table: models of both sides with their training stages."""
    found = []
    for name in plan.config.tables[table].comparisons:
        base = plan.config.comparisons[name].base
        sides = {
            side: {model: plan.model_stages(model) for model in models}
            for side, models in plan.sides(name).items()
        }
        about = {"name": name, "base": base, "stages": plan.base_stages(base)}
        found.append(about | sides | {"rewarded": plan.rewarded(name)})
    return found


def selection_runs(plan: Plan, table: str) -> list[dict[str, Any]]:
    """Selection, task, strategy and seed of each file of answers of a table; the base has no strategy."""
    found: list[dict[str, Any]] = []
    for name in plan.config.tables[table].selections:
        entry = plan.config.selections[name]
        runs = [(None, None), *product(entry.strategies, range(1, entry.seeds + 1))]
        found += [
            {"selection": name, "task": task, "strategy": strategy, "seed": seed}
            for task in entry.tasks
            for strategy, seed in runs
        ]
    return found


def answers(plan: Plan, table: str) -> list[str]:
    """Files of answers of a table, in the order of :func:`selection_runs`."""
    return [
        f"results/selection/{run['task']}/"
        + (f"{run['strategy']}-{run['seed']}/" if run["strategy"] else "")
        + "answers.csv"
        for run in selection_runs(plan, table)
    ]


def selection_sizes(plan: Plan, table: str) -> dict[str, dict[str, int]]:
    """Selection -> how many models it composes, by how many examples, for those of a table."""
    entries = {name: plan.config.selections[name] for name in plan.config.tables[table].selections}
    return {n: {"models": e.size, "examples": e.examples} for n, e in entries.items()}
