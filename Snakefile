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
include: "rules/resources.smk"
include: "rules/captions.smk"
include: "rules/job.smk"
include: "rules/sources.smk"
include: "rules/datasets.smk"
include: "rules/training.smk"
include: "rules/activations.smk"
include: "rules/spaces.smk"
include: "rules/clusters.smk"
include: "rules/deltas.smk"
include: "rules/geometry.smk"
include: "rules/figures.smk"
include: "rules/selection.smk"
include: "rules/evaluation.smk"
include: "rules/experiments.smk"
include: "rules/report.smk"
include: "rules/navigator.smk"
include: "rules/publishing.smk"


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
    finish_run()
    tell_outcome()


onerror:
    finish_run()
