# What all rules share. Logic is in scripts/atlas; these functions only look things up.
import functools
import os
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from atlas import device
from atlas.job import batch_system, completeness, deathwatch, entry as job, closures
from atlas.plan import job_sizes
from atlas.configuration.files import layers, read
from atlas.configuration.sources import described, source_params
from atlas.configuration.tables import TABLE_KINDS, table_kinds
from atlas.errors import AtlasError
from atlas.spaces.large_pools import ALL_PAIRS
from atlas.spaces.names import space_names, space_title
from atlas.references import known
from atlas.plan.building import build
from atlas.plan.resolved import weight_names
from atlas.plan.tasks import retrieval_pool, selection_model, selection_pool

# Files of a sentence encoder, in the order of atlas.sources.encoders.FILES (which imports torch).
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

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# More names than these are not spelt out where they are most of their kind.
MANY_NAMES = 100

# Parts of the navigator's script, in the order in which they stand on its page.
NAVIGATOR_SCRIPTS = ("data", "looks", "map", "list", "details", "page")


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


@functools.cache
def code(target):
    """The code behind a rule, as a param: a change in it re-runs the rule."""
    return closures.closure(target)


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


include: "resources.smk"
include: "model_inputs.smk"
include: "pool_inputs.smk"
include: "table_inputs.smk"
include: "selection_inputs.smk"
include: "comparison_inputs.smk"
include: "report_entries.smk"


wildcard_constraints:
    base=names([*PLAN.config.bases, *PLAN.implicit]),
    dataset=names(PLAN.config.datasets),
    pool=names(PLAN.pools),
    comparison=names(PLAN.config.comparisons),
    encoder=names(PLAN.config.encoders),
    shard=r"\d{4}",
    split=r"[A-Za-z0-9._-]+",
    variant=r"(\+none|\+universal)?",
    space=names(space_names()),
