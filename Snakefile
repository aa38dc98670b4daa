# Delta Atlas: from raw rows and pretrained bases to tables whose every number can be traced.
#   snakemake results/tables/main.csv --cores 1 --resources gpu=1
import os

from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

min_version("9.17")


# What a report begins with.
report: "resources/captions/workflow.rst"


include: "rules/checkout.smk"
include: "rules/common.smk"


# For --sdm apptainer; built from envs/atlas.def. Snakemake refuses an image in a folder whose name has
# a space, and need not where no container is asked for.
IMAGE = os.path.relpath(FOLDER / "envs/atlas.sif")
if " " not in IMAGE or DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:

    container: IMAGE


include: "rules/resources.smk"
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
include: "rules/bills.smk"
include: "rules/publishing.smk"


rule all:
    input:
        expand("results/tables/{table}.csv", table=PLAN.config.tables),
        "results/summary.html",
    message:
        "everything that the configuration asks for is there"
