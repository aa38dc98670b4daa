# What all rules share: the plan, and what several of them look up in it. Logic is in scripts/atlas.
import functools
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

# The folder of the Snakefile; not workflow.basedir, which is that of another workflow in a module of it.
FOLDER = Path(str(workflow.current_basedir)).parent
sys.path.insert(0, str(FOLDER / "scripts"))

from atlas.configuration.files import DEFAULT_FILE, given, layers, own_default, read
from atlas.configuration.sources import source_params
from atlas.configuration.tables import TABLE_KINDS, table_kinds
from atlas.configuration.validation import typed
from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.job import completeness, deathwatch, deployed, entry as job
from atlas.job import file_names, forked, usage
from atlas.job.machine import batch_system
from atlas.job.closures import Library, Store
from atlas.job.messages import forecast, outcome, run_line
from atlas.job.records import Records
from atlas.job.replaced import leave_locks_of_others
from atlas.job.withdrawn import notices
from atlas.lineage.forward import index as statements_at_hand
from atlas.lineage.touched import touched
from atlas.plan import jobs, members, publishing, summary, tables, training
from atlas.plan.inputs import constraint, local_files, local_models, settings_of_bases
from atlas.plan.local_sources import local_folder, local_rows
from atlas.plan.building import build
from atlas.plan.resolved import weight_names
from atlas.plan.tasks import retrieval_pool, selection_model, selection_pool, task_selection
from atlas.sources.encoder_files import ENCODER_FILES
from atlas.navigator.blocks import ALL_SIMILAR
from atlas.sources.pool_reports import refuse_unusable
from atlas.spaces.large_pools import ALL_PAIRS
from atlas.spaces.names import space_names, space_title

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def checked_plan():
    """The configuration, each file by itself and then the whole, as a plan.

    :returns: how the working folder has the workflow, the configuration, its plan and its files.
    """
    settings = workflow.config_settings
    try:
        deployment = deployed.of_workflow(workflow, FOLDER)
        default = [] if settings.replace_workflow_config else [FOLDER / DEFAULT_FILE]
        # A module is given its configuration, or has that of the command.
        own = [] if deployed.is_module(workflow) or not default else own_default(FOLDER)
        files = [*own, *map(Path, settings.configfiles)]
        passed = workflow.modifier.skip_configfile
        whole, beneath = layers(default, typed(config) if passed else given(files, settings.config))
        for file in [] if passed else files:
            read(file, table_kinds(whole))
        return deployment, whole, build(whole, default=beneath), [*default, *files]
    except (AtlasError, yaml.YAMLError) as error:
        raise WorkflowError(f"{error}") from None


# With a limit of jobs per second (which there is unless taken away), Snakemake goes through all ready
# jobs once a second for each job that has ended: most of a core after some hundred jobs.
if workflow.scheduling_settings and workflow.local_exec:
    workflow.scheduling_settings.max_jobs_per_timespan = None

DEPLOYMENT, CONFIGURATION, PLAN, CONFIGURATION_FILES = checked_plan()
# What jobs and captions see of it.
config = CONFIGURATION | DEPLOYMENT.told()
LINE = None
if workflow.is_main_process and not deployed.is_module(workflow):
    LINE = run_line.attach(logger, workflow.output_settings)
    logger.addHandler(forecast.Forecast(lambda jobs: foretold(jobs), dry=workflow.dryrun))
deathwatch.announce()
completeness.demand_statements()
completeness.plan_behind_ancient()
completeness.leave_clocks_to_content()
completeness.leave_code_to_params()
file_names.tell_nearest()
leave_locks_of_others()


def start_run():
    """Before the first job: remove what dead runs left half-written, note what was typed."""
    if not workflow.local_exec:
        refuse_gpu_jobs_without_gpu()
        batch_system.refuse_living_jobs(Path.cwd())
    elif PLAN.config.fork_jobs and not own_environments():
        forked.start()
        ours = {job.rule for job in jobs_to_run() if deployed.of_rule(job.rule)}
        forked.look_ahead(rule.params for rule in ours)
        usage.reach_benchmarks()
    read = (file for one in jobs_to_run() for file in one.input)
    completeness.settle_clock(read, Path(DEPLOYMENT.root))
    noted = deployed.reading(workflow)
    if workflow.touch:
        noted["touched"] = touched(workflow, Records(Path(DEPLOYMENT.root)))
    job.start(DEPLOYMENT, noted, CONFIGURATION, CONFIGURATION_FILES, Path(PLAN.config.cache))


def foretold(jobs):
    """How long the jobs of a run may take on this machine, and which tables of others they replace."""
    if workflow.local_exec and (sentence := forecast.duration(jobs, workflow.cores or 1)):
        yield sentence
    yield from forecast.replaced_tables(jobs_to_run())


def jobs_to_run():
    """The jobs that a run has to do, as far as it is known."""
    return [job for job in workflow.dag.jobs if workflow.dag.needrun(job)]


def own_environments():
    """Whether jobs have environments of their own, or a debugger: then each is a process of its own."""
    environments = workflow.deployment_settings.deployment_method
    return bool(environments) or workflow.execution_settings.debug


def finish_run():
    """After the last job, however it ended."""
    if LINE:
        LINE.finish()
    job.finish(DEPLOYMENT)
    statements_at_hand.refresh(Path(DEPLOYMENT.root))


def end_run():
    """After the last job of a run that ended well: say what was found, and where to read on."""
    finish_run()
    made = deployed.made_by(DEPLOYMENT, workflow.dag.jobs)
    targets = {str(file) for file in workflow.dag.derived_targetfiles} & made.keys()
    if missing := completeness.missing(targets):
        raise WorkflowError(f"The run has ended, and {', '.join(missing)} is not there: a fault.")
    names = {made[target] for target in targets}
    for sentence in outcome.told(PLAN, names, set(made.values()), DEPLOYMENT):
        logger.info(sentence)


HOOKS = {"onstart": start_run, "onsuccess": end_run, "onerror": finish_run}
deployed.join_hooks(workflow, DEPLOYMENT.root, **HOOKS)

# A file of the workflow, and files of the user's own: where these are, no prefix of a module counts.
workflow_file = functools.partial(deployed.workflow_file, DEPLOYMENT, FOLDER)
own_files = lambda files: [local(file) for file in files]
question_file = lambda path: workflow_file(path) if (FOLDER / path).is_file() else local(path)


# The code behind a rule, as a param: a change in it re-runs the rule.
code = functools.cache(Library(store=Store()).closure)


def models_where(**wanted):
    """Names of models whose attributes are as wanted."""
    return [
        name
        for name, model in PLAN.models.items()
        if all(getattr(model, key) == value for key, value in wanted.items())
    ]


# Of a job, by its wildcards (w): its base, and what rules ask of it.
base_of = lambda w: jobs.base_of(PLAN, dict(w))
base_files = lambda w: PLAN.base_files(base_of(w))
base_names = lambda w: PLAN.base_names(base_of(w))
base_address = lambda w: list(PLAN.base_address(base_of(w)))
base_dtype = lambda w: PLAN.pretrained(base_of(w)).dtype


def model_files(wildcards):
    """Files of the model that a job puts into its base."""
    model = jobs.model_of(PLAN, dict(wildcards))
    return model.files() if model else []


# Models of a shard, or of a pool where no shard is named, and their bases.
models_of = lambda w: jobs.models_of(PLAN, dict(w))
bases_of = lambda w: sorted({model.base for model in models_of(w)})
files_of_bases = lambda w: [file for base in bases_of(w) for file in PLAN.base_files(base)]
names_of_bases = lambda w: {base: PLAN.base_names(base) for base in bases_of(w)}
dtypes_of_bases = lambda w: {base: PLAN.pretrained(base).dtype for base in bases_of(w)}
files_of_models = lambda w: [file for model in models_of(w) for file in model.files()]

# Entries of the configuration; the delta of a merged model, too.
dataset_of = lambda w: PLAN.config.datasets[w.dataset]
comparison_of = lambda w: PLAN.config.comparisons[w.comparison]
delta_of = lambda w: PLAN.config.deltas[w.get("delta") or PLAN.merged[w.merged].delta]
selection_of = lambda w: PLAN.config.selections[task_selection(PLAN.config, w.task)]
table_of = lambda w: PLAN.config.tables[w.table]

pool_of = lambda w: PLAN.pools[w.pool]
pool_models = lambda w: members.told(pool_of(w).models, "name", "base", "domain")
# Adapters made elsewhere of a shard, those that are left out among them.
reported_of = lambda w: pool_of(w).reported[w.shard]


def pool_files(wildcards):
    """Files of all models of a pool, where the similarities of all pairs are stored."""
    return files_of_models(wildcards) if len(pool_of(wildcards).models) <= ALL_PAIRS else []


def gated(files, pool_of=pool_of, shown=False):
    """Files of a pool that jobs read, once all of its models that were made elsewhere can be used.

    That is found out first, of all of them: a checkpoint leaves no input that would start the jobs again.
    Where they are to be shown, a dry run does not wait for that.
    """

    def passed(wildcards):
        pool = pool_of(wildcards)
        if pool.reported and not (shown and workflow.dryrun):
            told = checkpoints.report_pool.get(pool=pool.name).output.report
            try:
                refuse_unusable(read_csv(Path(told)), pool.name)
            except AtlasError as error:
                raise WorkflowError(str(error)) from None
        return files(wildcards)

    return passed


def computed_shards(wildcards):
    """Shards of activations: of a pool that keeps its weights, those who compute them wait themselves."""
    files = of_shards(".h5")
    kept = pool_of(wildcards).settings.keep_weights
    return (files if kept else gated(files))(wildcards)


def pool_report(wildcards):
    """report.csv of a pool whose adapters are not kept."""
    kept = pool_of(wildcards).settings.keep_weights
    return [] if kept else [f"results/pools/{wildcards.pool}/report.csv"]


def said_of(entry, *keys):
    """Params that are keys of what the configuration says of a thing.

    :param entry: wildcards -> the entry of the configuration.
    """
    return {key: lambda w, key=key: getattr(entry(w), key) for key in keys}


def delta_activations(pool):
    return f"results/pools/{pool}/delta_activations/embeddings.npz"


def of_spaces(name):
    """One file per space of a pool."""
    return lambda w: [f"results/pools/{w.pool}/{s}/{name}" for s in pool_of(w).settings.spaces]


def of_shards(suffix):
    """One file per shard of a pool."""
    return lambda w: [f"results/pools/{w.pool}/shards/{s}{suffix}" for s in pool_of(w).shards]


def of_pools(name, **queries):
    """One file per pool and seed of a table, or per pool of its queries."""
    return lambda w: tables.pool_files(PLAN, w.table, name, **queries)


# Pool, seed and folder of each pool of a table.
repeated_pools = lambda w: [list(entry) for entry in PLAN.repeated_pools(w.table)]


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


# How the report shows tables and figures: captions, categories, labels.


def shown(path, caption, category, subcategory, labels):
    """A file as the report shows it."""
    return report(
        path,
        caption=f"../resources/captions/{caption}.rst",
        category=category,
        subcategory=subcategory,
        labels=labels,
    )


def figure(path, caption, category, subcategory, labels):
    """A figure as SVG, which the report shows, as PNG and PDF, and as SVG and PDF at the width of a column."""
    others = (".png", ".pdf", "_column.svg", "_column.pdf")
    name = path.removesuffix(".svg")
    shown_one = shown(path, caption, category, subcategory, labels)
    return [shown_one, *(name + other for other in others)]


def table_labels(**others):
    """What the report calls a file of a table."""
    return lambda wildcards: {"table": wildcards.table.replace("_", " "), **others}


def table_file(kind, path="results/tables/{table}.csv", form="raw CSV"):
    """A table of a kind: its numbers, or its page."""
    subcategory = "Main table" if kind == "main" else "Experiments"
    return shown(path, f"{kind}_table", "Tables", subcategory, table_labels(format=form))


def table_files(kind):
    """A table of a kind and its page, and its figure if it has one."""
    found = {"table": table_file(kind), "page": "results/tables/{table}.md"}
    return found | ({"figure": table_figure(kind)} if TABLE_KINDS[kind].drawn else {})


def other_table(path, caption, subcategory, table, form="raw CSV"):
    """A table of another place than results/tables."""
    return shown(path, caption, "Tables", subcategory, {"table": table, "format": form})


def summary_file(path, form):
    """The summary, to be read one way or another."""
    labels = {"what": "Summary", "format": form}
    return shown(path, caption="summary", category="Findings", subcategory="Summary", labels=labels)


def table_figure(kind):
    """The figure of an experiment."""
    category, labels = "Figures of experiments", table_labels(figure="summary")
    path = "results/figures/{table}.svg"
    return figure(path, f"{kind}_table", category, "Summaries of tables", labels)


def pool_table(name, subcategory, caption=None):
    """A table of a pool."""
    path = f"results/pools/{{pool}}/{name}.csv"
    labels = {"space": "all spaces", "figure": f"{name}.csv"}
    return shown(path, caption or name, "Pool {pool}", subcategory, labels)


def pool_figure(kind, title, subcategory):
    """A figure of a pool in one space."""
    path = f"results/pools/{{pool}}/figures/{kind}_{{space}}.svg"
    labels = lambda wildcards: {"space": space_title(wildcards.space), "figure": title}
    return figure(path, kind, "Pool {pool}", subcategory, labels)


def comparison_table(name):
    """A table of a comparison."""
    path = f"results/comparisons/{{comparison}}/{name}.csv"
    labels = {"table": f"{name}.csv"}
    return shown(path, f"comparison_{name}", "Comparison {comparison}", "Tables", labels)


def comparison_figure(kind):
    """A figure of a comparison."""
    path = f"results/comparisons/{{comparison}}/figures/{kind}.svg"
    labels = {"figure": kind.replace("_", " ")}
    return figure(path, kind, "Comparison {comparison}", "Figures", labels)
