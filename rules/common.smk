# What all rules share. Logic is in scripts/atlas; these functions only look things up.
import functools
import os
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from atlas import (
    batch_system,
    completeness,
    deathwatch,
    device,
    job,
    job_sizes,
    provenance,
)
from atlas.config import SPACES, TABLE_KINDS
from atlas.errors import AtlasError
from atlas.large_pools import ALL_PAIRS
from atlas.names import known
from atlas.plan import build, described, source_params
from atlas.planned import weight_names
from atlas.tables import SPACE_NAMES
from atlas.task_entries import retrieval_pool, selection_model, selection_pool
from atlas.validation import validate

# Files of a sentence encoder, in the order of atlas.encoders.FILES (which imports torch).
ENCODER_FILES = (
    "modules.json",
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)

# Kind of table -> where the report has it, other than among the experiments.
SUBCATEGORIES = {"main": "Main table"}
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# More names than these are not spelt out where they are most of their kind.
MANY_NAMES = 100

# Parts of the navigator's script, in the order in which they stand on its page.
NAVIGATOR_SCRIPTS = ("data", "looks", "map", "list", "details", "page")


def checked_plan():
    """The configuration, each file by itself and then the whole, as a plan."""
    try:
        for file in workflow.configfiles:
            text = Path(file).read_text(encoding="utf-8")
            validate(yaml.safe_load(text) or {}, str(file), fragment=True)
        return build(config)
    except (AtlasError, yaml.YAMLError) as error:
        raise WorkflowError(f"{error}") from None


PLAN = checked_plan()
deathwatch.announce()
completeness.demand_statements()


def start_run():
    """Before the first job: remove what dead runs left half-written, note what was typed."""
    if not workflow.local_exec:
        refuse_gpu_jobs_without_gpu()
        batch_system.refuse_living_jobs(Path.cwd())
    job.start(config, [str(file) for file in workflow.configfiles])


@functools.cache
def code(target):
    """The code behind a rule, as a param: a change in it re-runs the rule."""
    return provenance.closure(target)


def gpu(wildcards=None):
    """1 where the job will use a GPU, else 0."""
    wanted = PLAN.config.device != "cpu"
    return int(wanted and (device.gpu_visible() or not workflow.local_exec))


def clusters_own(name):
    """A default resource as the profile writes it, or None."""
    value = workflow.resource_settings._parsed_default_resources.get(name).raw
    return None if value is None else str(value).strip("'\"")


def on_gpu(resource):
    """A resource that the profile names for rules with a GPU (gpu_partition, …), by its own name."""

    def value(wildcards):
        default = None if resource == "gpu_model" else clusters_own(resource)
        return clusters_own(GPU_RESOURCES[resource]) or default if gpu() else default

    return value


# Resource of sbatch -> default resource of the profile that has it for rules with a GPU.
GPU_RESOURCES = {
    "gpu_model": "gpu_type",
    "slurm_partition": "gpu_partition",
    "constraint": "gpu_constraint",
}
# Resources of every rule that uses a GPU.
ON_GPU = {"gpu": gpu, **{resource: on_gpu(resource) for resource in GPU_RESOURCES}}


def refuse_gpu_jobs_without_gpu():
    """Snakemake would clamp their request to nothing, and a CPU would do the work."""
    limit = workflow.global_resources.get("gpu")
    if gpu() and limit is not None and limit.value == 0:
        raise WorkflowError(
            "--resources gpu=0 takes the GPU from jobs that are sent to a cluster for one; "
            "give gpu=1 (one per job), or device: cpu in the configuration."
        )


def memory(fixed, size=None, copies=0):
    """mem_mb: megabytes, and so many copies of the weights whose size a function tells."""
    return lambda wildcards, attempt: job_sizes.memory_mb(
        attempt, fixed, size(wildcards) if size else 0, copies
    )


def minutes(fixed, size=None, per_gigabyte=0):
    """runtime: minutes, and so many per gigabyte of the size that a function tells."""
    return lambda wildcards, attempt: job_sizes.runtime_minutes(
        attempt, fixed, size(wildcards) if size else 0, per_gigabyte
    )


@functools.cache
def base_bytes(base):
    """Bytes of the weights of a base."""
    entry = PLAN.pretrained(base)
    files = [Path(f) for f in PLAN.base_files(base) if f.endswith(".safetensors")]
    return job_sizes.weight_bytes(entry.billions, entry.dtype, files)


def base_size(wildcards):
    """Bytes of a base."""
    return base_bytes(wildcards.base)


def model_size(wildcards):
    """Bytes of the base of a model."""
    return base_bytes(PLAN.models[wildcards.model].base)


def merged_size(wildcards):
    """Bytes of the base of a merged model."""
    return base_bytes(PLAN.merged[wildcards.merged].base)


def delta_size(wildcards):
    """Bytes of the base of a delta."""
    return base_bytes(PLAN.config.deltas[wildcards.delta].base)


def checkpoint_size(wildcards):
    """Bytes of the base of a checkpoint."""
    return base_bytes(PLAN.checkpoint(wildcards.checkpoint)[0])


def comparison_size(wildcards):
    """Bytes of the base of a comparison."""
    return base_bytes(PLAN.config.comparisons[wildcards.comparison].base)


def writer_size(wildcards):
    """Bytes of the base that writes the continuations of a pool."""
    return base_bytes(PLAN.pools[wildcards.pool].writer)


def shard_size(wildcards):
    """Bytes of the largest base of a shard: one is in memory at a time."""
    return max(map(base_bytes, shard_bases(wildcards)))


def shard_work(wildcards):
    """Bytes of a base for each model of a shard, added up."""
    return sum(base_bytes(model.base) for model in shard_models(wildcards))


def pool_size(wildcards):
    """Bytes of the largest base of a pool."""
    return max(map(base_bytes, PLAN.pools[wildcards.pool].bases))


def pool_work(wildcards):
    """Bytes of a base for each model of a pool, added up."""
    return sum(base_bytes(model.base) for model in PLAN.pools[wildcards.pool].models)


def pool_vectors(wildcards):
    """Bytes of the embeddings of a pool of many models, of 4,096 dimensions."""
    return len(PLAN.pools[wildcards.pool].models) * 4096 * 4


def pool_threads(wildcards):
    """Threads where all pairs of a large pool are compared: they alter no result."""
    return 2 if len(PLAN.pools[wildcards.pool].models) > ALL_PAIRS else 1


def packed(group):
    """On a cluster: the group of a small job, so that several travel as one submission.

    Jobs of a model whose base is a model wait for that one, and have a group of their own.
    """

    def name(wildcards):
        if workflow.local_exec:
            return None
        model = PLAN.models.get(getattr(wildcards, "model", None))
        chained = model is not None and model.base in PLAN.implicit
        return f"{group}-on-{model.base}" if chained else group

    return name


def names(items, among=()):
    """A wildcard constraint for exactly these names.

    Snakemake reads a constraint anew for every job: where thousands of names are most of those
    that there are among some, it is any name but the others.
    """
    import re

    chosen = set(items)
    others = set(among) - chosen
    if len(others) < len(chosen) > MANY_NAMES and among:
        but = rf"(?!(?:{'|'.join(map(re.escape, sorted(others)))})/)" if others else ""
        return but + r"[A-Za-z0-9._+-]+"
    return "|".join(re.escape(item) for item in sorted(chosen)) or "(?!)"


def base_weights(shards):
    """Places of the weights of a base in so many files."""
    return [f"results/sources/bases/{{base}}/{name}" for name in weight_names(shards)]


def local_files(folder, names=("",)):
    """Files of a user's own folder (or one file), so that a change in them is seen."""
    if not folder:
        return []
    files = (Path(os.path.normpath(Path(folder).expanduser())) / n for n in names)
    return [str(file) for file in files if file.is_file()]


def models_where(**wanted):
    """Names of models whose attributes are as wanted."""
    return [
        name
        for name, model in PLAN.models.items()
        if all(getattr(model, key) == value for key, value in wanted.items())
    ]


def model_base_files(wildcards):
    """Files of the base of a model."""
    known(wildcards.model, PLAN.models, "results/models", "model")
    return PLAN.base_files(PLAN.models[wildcards.model].base)


def model_base_weights(wildcards):
    """Of the files of the base of a model, the record of its origin and the weights."""
    known(wildcards.model, PLAN.models, "results/models", "model")
    return base_weights_of(PLAN.models[wildcards.model].base)


def base_weights_of(base):
    """Of the files of a base, the record of its origin and the weights."""
    found = PLAN.base_files(base)
    return [f for f in found if f.endswith(("base.json", ".safetensors"))]


def fetched_together():
    """Names of the adapters that are not fetched by a job of their own."""
    return [model.name for some in PLAN.fetched_together for model in some]


def model_address(wildcards):
    """What a card calls the base of a model."""
    return list(PLAN.base_address(PLAN.models[wildcards.model].base))


def model_dtype(wildcards):
    """Precision of the base of a model."""
    return base_dtype(PLAN.models[wildcards.model].base)


def base_dtype(base):
    """Precision in which a base is used."""
    return PLAN.pretrained(base).dtype


def merged_delta(wildcards):
    """The delta of a merged model, as it is configured."""
    return PLAN.config.deltas[PLAN.merged[wildcards.merged].delta]


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


def full_pool_size(wildcards):
    """Bytes of the largest base of a pool, where all of its models are full ones."""
    return pool_size(wildcards) if full_pool_base_files(wildcards) else 0


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


def table_labels(**others):
    """What the report calls a file of a table."""
    return lambda wildcards: {"table": wildcards.table.replace("_", " "), **others}


def table_file(kind, path="results/tables/{table}.csv", shown="raw CSV"):
    """A table of a kind as the report offers it: its numbers, or its page."""
    return report(
        path,
        caption=f"../resources/captions/{kind}_table.rst",
        category="Tables",
        subcategory=SUBCATEGORIES.get(kind, "Experiments"),
        labels=table_labels(format=shown),
    )


def table_figure(kind):
    """The figure of an experiment as SVG, which the report shows, and as PNG."""
    shown = report(
        "results/figures/{table}.svg",
        caption=f"../resources/captions/{kind}_table.rst",
        category="Figures of experiments",
        subcategory="Summaries of tables",
        labels=table_labels(figure="summary"),
    )
    return [shown, "results/figures/{table}.png"]


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


def push_origins(wildcards):
    """Of the upload of a delta: where base and instruct model are from, with their licences."""
    kind, _, name = PLAN.config.pushes[wildcards.push].path.partition("/")
    if kind != "deltas":
        return {}
    found = {}
    for role in ("base", "instruct"):
        base = getattr(PLAN.config.deltas[name], role)
        address, revision = PLAN.base_address(base)
        licence = PLAN.config.bases[base].licence
        found[role] = {"address": address, "revision": revision, "licence": licence}
    return found


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


DELTA_ACTIVATIONS = "delta_activations/embeddings.npz"
SELECTION_TASKS = {
    task: name
    for name, selection in PLAN.config.selections.items()
    for task in selection.tasks
}


def task_selection(wildcards):
    """The selection that a task belongs to."""
    return PLAN.config.selections[SELECTION_TASKS[wildcards.task]]


def task_base(wildcards):
    """The base of the models that are composed for a task."""
    return PLAN.pools[task_selection(wildcards).pool].bases[0]


def task_base_files(wildcards):
    """Its files."""
    return PLAN.base_files(task_base(wildcards))


def task_size(wildcards):
    """Bytes of that base."""
    return base_bytes(task_base(wildcards))


def selection_runs(wildcards):
    """Task, strategy and seed of each file of answers of a table, and its path."""
    found = []
    for name in PLAN.config.tables[wildcards.table].selections:
        entry = PLAN.config.selections[name]
        runs = [(None, None)]
        runs += [
            (s, seed) for s in entry.strategies for seed in range(1, entry.seeds + 1)
        ]
        found += [
            {
                "selection": name,
                "task": task,
                "strategy": strategy,
                "seed": seed,
                "answers": f"results/selection/{task}/"
                + (f"{strategy}-{seed}/" if strategy else "")
                + "answers.csv",
            }
            for task in entry.tasks
            for strategy, seed in runs
        ]
    return found


def retrieval_figure():
    """The figure of a retrieval as SVG, which the report shows, and as PNG."""
    shown = report(
        "results/retrieval/{retrieval}/models.svg",
        caption="../resources/captions/retrieve_models.rst",
        category="Figures of experiments",
        subcategory="Models for a task",
        labels={"table": "{retrieval}", "figure": "similarity"},
    )
    return [shown, "results/retrieval/{retrieval}/models.png"]


def pool_table(name, subcategory, caption=None):
    """A table of a pool, as the report offers it."""
    return report(
        f"results/pools/{{pool}}/{name}.csv",
        caption=f"../resources/captions/{caption or name}.rst",
        category="Pool {pool}",
        subcategory=subcategory,
        labels={"space": "all spaces", "figure": f"{name}.csv"},
    )


def figure(kind, title, subcategory):
    """A figure as SVG, which the report shows, and as PNG."""
    path = f"results/pools/{{pool}}/figures/{kind}_{{space}}"
    shown = report(
        f"{path}.svg",
        caption=f"../resources/captions/{kind}.rst",
        category="Pool {pool}",
        subcategory=subcategory,
        labels=lambda w: {"space": SPACE_NAMES[w.space], "figure": title},
    )
    return [shown, f"{path}.png"]


def comparison_entries(wildcards):
    """Model ("base" for the base) and task of each file of activations of a comparison."""
    entry = PLAN.config.comparisons[wildcards.comparison]
    return [[model, task] for task in entry.tasks for model in ["base", *entry.models]]


def comparison_files(name, measured=None):
    """One file per model and task of a comparison; none where what it holds is not measured."""

    def files(wildcards):
        entry = PLAN.config.comparisons[wildcards.comparison]
        if measured and not getattr(entry, measured).prompts:
            return []
        return [
            f"results/comparisons/{wildcards.comparison}/{model}/{task}/{name}"
            for model, task in comparison_entries(wildcards)
        ]

    return files


def two_sided_comparisons():
    """Comparisons that have models of both sides: with rewards, and fine-tuned on solutions."""
    return [name for name in PLAN.config.comparisons if all(PLAN.sides(name).values())]


def comparison_table(name):
    """A table of a comparison, as the report offers it."""
    return report(
        f"results/comparisons/{{comparison}}/{name}.csv",
        caption=f"../resources/captions/comparison_{name}.rst",
        category="Comparison {comparison}",
        subcategory="Tables",
        labels={"table": f"{name}.csv"},
    )


def comparison_figure(kind):
    """A figure of a comparison as SVG, which the report shows, and as PNG."""
    path = f"results/comparisons/{{comparison}}/figures/{kind}"
    shown = report(
        f"{path}.svg",
        caption=f"../resources/captions/{kind}.rst",
        category="Comparison {comparison}",
        subcategory="Figures",
        labels={"figure": kind.replace("_", " ")},
    )
    return [shown, f"{path}.png"]


def comparison_figures(table):
    """All figures of the comparisons of a table."""
    entry = PLAN.config.tables[table]
    return [
        f"results/comparisons/{name}/figures/{kind}.svg"
        for name in entry.comparisons
        for kind in ["preservation", "effective_rank", "spectra"]
        + ["reward"] * bool(PLAN.rewarded(name))
    ]


def table_rewarded(wildcards):
    """Models of the comparisons of a table that are trained with rewards here."""
    comparisons = PLAN.config.tables[wildcards.table].comparisons
    return list(dict.fromkeys(m for name in comparisons for m in PLAN.rewarded(name)))


def table_comparisons(wildcards):
    """Comparisons of a table as plain values: models of both sides with their training stages."""
    found = []
    for name in PLAN.config.tables[wildcards.table].comparisons:
        base = PLAN.config.comparisons[name].base
        sides = {
            side: {model: PLAN.model_stages(model) for model in models}
            for side, models in PLAN.sides(name).items()
        }
        found.append(
            {"name": name, "base": base, "stages": PLAN.base_stages(base)}
            | sides
            | {"rewarded": PLAN.rewarded(name)}
        )
    return found


def training_recipe(wildcards):
    """What of a recipe the training reads; rows and lengths are the datasets' business."""
    recipe = PLAN.recipe(wildcards.model).model_dump(exclude={"rows", "length"})
    other = {"lora", "ia3", "grpo"} - {recipe["parameters"], recipe["objective"]}
    return {key: value for key, value in recipe.items() if key not in other}


def training_problems(wildcards):
    """Raw rows that a grader reads, where a model is trained on rewards."""
    if PLAN.recipe(wildcards.model).objective != "grpo":
        return []
    return [
        f"results/sources/datasets/{d.dataset}.jsonl"
        for d in PLAN.models[wildcards.model].data
    ]


def completion_room(wildcards):
    """Tokens that a completion may have, where a model is trained on rewards."""
    recipe = PLAN.recipe(wildcards.model)
    return recipe.grpo.new_tokens if recipe.objective == "grpo" else 0


def training_licences(wildcards):
    """Datasets of a model as its card names them (on a hub: the repository), with licences."""
    entries = {
        d.dataset: PLAN.config.datasets[d.dataset]
        for d in PLAN.models[wildcards.model].data
    }
    return {
        entry.source.hub.repo if entry.source.hub else name: entry.licence
        for name, entry in entries.items()
    }


def training_data(wildcards):
    """Entries of a model's mixture, with the length that each may have."""
    model, length = PLAN.models[wildcards.model], PLAN.recipe(wildcards.model).length
    return [
        {
            **d.model_dump(),
            "max_tokens": length.datasets.get(d.dataset, length.max_tokens),
        }
        for d in model.data
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


wildcard_constraints:
    base=names([*PLAN.config.bases, *PLAN.implicit]),
    dataset=names(PLAN.config.datasets),
    pool=names(PLAN.pools),
    comparison=names(PLAN.config.comparisons),
    encoder=names(PLAN.config.encoders),
    shard=r"\d{4}",
    split=r"[A-Za-z0-9._-]+",
    variant=r"(\+none|\+universal)?",
    space=names(SPACES),
