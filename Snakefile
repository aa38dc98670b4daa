# Delta Atlas: from raw rows and pretrained bases to tables whose every number can be traced.
#   snakemake results/tables/main.csv --cores 1 --resources gpu=1
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


# For --sdm apptainer; built from envs/atlas.def.
container: "envs/atlas.sif"


# What a report begins with.
report: "resources/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/sources.smk"
include: "rules/datasets.smk"
include: "rules/models.smk"
include: "rules/perplexity.smk"
include: "rules/deltas.smk"
include: "rules/evaluations.smk"
include: "rules/activations.smk"
include: "rules/features.smk"
include: "rules/embeddings.smk"
include: "rules/clusters.smk"
include: "rules/figures.smk"
include: "rules/navigator.smk"
include: "rules/tables.smk"
include: "rules/experiments.smk"
include: "rules/selection.smk"
include: "rules/comparisons.smk"
include: "rules/summary.smk"
include: "rules/notebooks.smk"
include: "rules/crates.smk"
include: "rules/push.smk"


rule all:
    default_target: True
    input:
        expand("results/tables/{table}.csv", table=PLAN.config.tables),
        "results/summary.html",
    message:
        "everything that the configuration asks for is there"


onstart:
    start_run()


onsuccess:
    job.finish()


onerror:
    job.finish()
