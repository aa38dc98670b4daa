# What all rules share: the plan, and what several of them look up in it. Logic is in scripts/atlas.
import functools
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from atlas.configuration.files import layers, read
from atlas.configuration.sources import source_params
from atlas.configuration.tables import TABLE_KINDS, table_kinds
from atlas.errors import AtlasError
from atlas.job import batch_system, closures, completeness, deathwatch, entry as job
from atlas.plan import jobs, members, publishing, summary, tables, training
from atlas.plan.inputs import constraint, local_adapters, local_files, records_and_weights
from atlas.plan.building import build
from atlas.plan.resolved import weight_names
from atlas.plan.tasks import retrieval_pool, selection_model, selection_pool, task_selection
from atlas.sources.encoder_files import ENCODER_FILES
from atlas.spaces.large_pools import ALL_PAIRS
from atlas.spaces.names import space_names, space_title

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def checked_plan():
    """The configuration, each file by itself and then the whole, as a plan."""
    settings = workflow.config_settings
    own = len(settings.configfiles)
    default = [] if settings.replace_workflow_config else workflow.configfiles[own:]
    try:
        whole, beneath = layers(map(Path, default), settings.overwrite_config)
        for file in settings.configfiles:
            read(Path(file), table_kinds(whole))
        config.clear()
        config.update(whole)
        return build(config, default=beneath)
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


# The code behind a rule, as a param: a change in it re-runs the rule.
code = functools.cache(closures.closure)


def models_where(**wanted):
    """Names of models whose attributes are as wanted."""
    return [
        name
        for name, model in PLAN.models.items()
        if all(getattr(model, key) == value for key, value in wanted.items())
    ]


# Of a job, by its wildcards: its base and model, or the models of its shard or pool, and what rules
# ask of them.
def base_of(wildcards):
    return jobs.base_of(PLAN, dict(wildcards))


def base_files(wildcards):
    return PLAN.base_files(base_of(wildcards))


def base_names(wildcards):
    return PLAN.base_names(base_of(wildcards))


def base_address(wildcards):
    return list(PLAN.base_address(base_of(wildcards)))


def base_dtype(wildcards):
    return PLAN.pretrained(base_of(wildcards)).dtype


def model_files(wildcards):
    """Files of the model that a job puts into its base."""
    model = jobs.model_of(PLAN, dict(wildcards))
    return model.files() if model else []


def models_of(wildcards):
    """Models of a shard, or of a pool where no shard is named."""
    return jobs.models_of(PLAN, dict(wildcards))


def bases_of(wildcards):
    return sorted({model.base for model in models_of(wildcards)})


def files_of_bases(wildcards):
    return [file for base in bases_of(wildcards) for file in PLAN.base_files(base)]


def names_of_bases(wildcards):
    return {base: PLAN.base_names(base) for base in bases_of(wildcards)}


def dtypes_of_bases(wildcards):
    return {base: PLAN.pretrained(base).dtype for base in bases_of(wildcards)}


def files_of_models(wildcards):
    return [file for model in models_of(wildcards) for file in model.files()]


def dataset_of(wildcards):
    return PLAN.config.datasets[wildcards.dataset]


def comparison_of(wildcards):
    return PLAN.config.comparisons[wildcards.comparison]


def delta_of(wildcards):
    """A delta, or that of a merged model."""
    return PLAN.config.deltas[wildcards.get("delta") or PLAN.merged[wildcards.merged].delta]


def selection_of(wildcards):
    return PLAN.config.selections[task_selection(PLAN.config, wildcards.task)]


def pool_of(wildcards):
    return PLAN.pools[wildcards.pool]


def reported_of(wildcards):
    """Adapters made elsewhere of a shard, those that are left out among them."""
    return pool_of(wildcards).reported[wildcards.shard]


def pool_models(wildcards):
    return members.told(pool_of(wildcards).models, "name", "base", "domain")


def pool_files(wildcards):
    """Files of all models of a pool, where the similarities of all pairs are stored."""
    return files_of_models(wildcards) if len(pool_of(wildcards).models) <= ALL_PAIRS else []


def pool_report(wildcards):
    """report.csv of a pool whose adapters are not kept."""
    kept = pool_of(wildcards).settings.keep_weights
    return [] if kept else [f"results/pools/{wildcards.pool}/report.csv"]


def delta_activations(pool):
    return f"results/pools/{pool}/delta_activations/embeddings.npz"


def of_spaces(name):
    """One file per space of a pool."""
    return lambda w: [f"results/pools/{w.pool}/{s}/{name}" for s in pool_of(w).settings.spaces]


def of_shards(suffix):
    """One file per shard of a pool."""
    return lambda w: [f"results/pools/{w.pool}/shards/{s}{suffix}" for s in pool_of(w).shards]


def table_of(wildcards):
    return PLAN.config.tables[wildcards.table]


def repeated_pools(wildcards):
    """Pool, seed and folder of each pool of a table."""
    return [list(entry) for entry in PLAN.repeated_pools(wildcards.table)]


def of_pools(name, **queries):
    """One file per pool and seed of a table, or per pool of its queries."""
    return lambda w: tables.pool_files(PLAN, w.table, name, **queries)


def of_comparison(name, measured=None):
    """One file per model and task of a comparison; none where what it holds is not measured."""
    return lambda w: [
        f"results/comparisons/{w.comparison}/{model}/{task}/{name}"
        for model, task in jobs.compared(PLAN, w.comparison)
        if not measured or getattr(comparison_of(w), measured).prompts
    ]


wildcard_constraints:
    base=constraint([*PLAN.config.bases, *PLAN.implicit]),
    dataset=constraint(PLAN.config.datasets),
    pool=constraint(PLAN.pools),
    comparison=constraint(PLAN.config.comparisons),
    encoder=constraint(PLAN.config.encoders),
    shard=r"\d{4}",
    split=r"[A-Za-z0-9._-]+",
    variant=r"(\+none|\+universal)?",
    space=constraint(space_names()),
