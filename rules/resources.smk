# What jobs take: GPU, memory and minutes by the size of what they read (how small ones travel together), and
# files of a user's own.
from atlas import device
from atlas.plan import job_sizes

# Priorities: what most jobs wait for comes first, then what is done soon and lets the longest jobs begin
# in the order of their size (the profile's scheduler goes by that of their inputs).
FIRST, EARLY = 2, 1


def gpu(wildcards=None):
    """1 where the job will use a GPU, else 0."""
    wanted = PLAN.config.device != "cpu"
    return int(wanted and (device.gpu_visible() or not workflow.local_exec))


def clusters_own(name):
    """A default resource as the profile writes it, or None."""
    value = workflow.resource_settings._parsed_default_resources.get(name).raw
    return None if value is None else str(value).strip("'\"")


def gpu_resource(name):
    """A resource that the profile names for rules with a GPU (gpu_partition, …), by its own name."""

    def value(wildcards):
        default = None if name == "gpu_model" else clusters_own(name)
        return clusters_own(GPU_RESOURCES[name]) or default if gpu() else default

    return value


# Resource of sbatch -> default resource of the profile that has it for rules with a GPU.
GPU_RESOURCES = {
    "gpu_model": "gpu_type",
    "slurm_partition": "gpu_partition",
    "constraint": "gpu_constraint",
}


def on_gpu(memory, runtime):
    """Resources of a job that uses a GPU."""
    own = {name: gpu_resource(name) for name in GPU_RESOURCES}
    return {"gpu": gpu, **own, "mem_mb": memory, "runtime": runtime}


def on_cpu(memory, runtime):
    """Resources of a job that uses none."""
    return {"mem_mb": memory, "runtime": runtime, "gpu": 0}


def refuse_gpu_jobs_without_gpu():
    """Snakemake would clamp their request to nothing, and a CPU would do the work."""
    limit = workflow.global_resources.get("gpu")
    if gpu() and limit is not None and limit.value == 0:
        raise WorkflowError(
            "--resources gpu=0 takes the GPU from jobs that are sent to a cluster for one; "
            "give gpu=1 (one per job), or device: cpu in the configuration."
        )


def memory(fixed, size=None, copies=0):
    """mem_mb: megabytes, and so many copies of what a function tells the size of."""
    return lambda wildcards, attempt: job_sizes.memory_mb(
        attempt, fixed, size(wildcards) if size else 0, copies
    )


def copies_in_memory(copies):
    """Copies of a base in the memory of a job that can read it layer by layer, a layer at most at a time."""
    return 0.1 if PLAN.config.stream == "always" else copies


def minutes(fixed, size=None, per_gigabyte=0):
    """runtime: minutes, and so many per gigabyte of the size that a function tells."""
    return lambda wildcards, attempt: job_sizes.runtime_minutes(
        attempt, fixed, size(wildcards) if size else 0, per_gigabyte
    )


def small(limit):
    """Resources of a small job that may take so many minutes."""
    return on_cpu(memory(2000), minutes(limit))


@functools.cache
def base_bytes(base):
    """Bytes of the weights of a base."""
    entry = PLAN.pretrained(base)
    files = [Path(f) for f in PLAN.base_files(base) if f.endswith(".safetensors")]
    return job_sizes.weight_bytes(entry.billions, entry.dtype, files)


base_size = lambda w: base_bytes(base_of(w))
# Of a shard or pool: of its bases one is in memory at a time, or each model has one.
largest_base = lambda w: max(map(base_bytes, bases_of(w)))
largest_full_base = lambda w: max(map(base_bytes, pool_of(w).full_bases), default=0)
base_of_each_model = lambda w: sum(base_bytes(model.base) for model in models_of(w))
# The embeddings of a pool of many models, of 4,096 dimensions.
pool_vectors = lambda w: len(pool_of(w).models) * 4096 * 4
# Threads where all pairs of a large pool are compared: they alter no result.
pool_threads = lambda w: 2 if len(pool_of(w).models) > ALL_PAIRS else 1


def packed(group):
    """On a cluster: the group of a small job, so that several travel as one submission.

    Jobs of a model whose base is a model wait for that one, and have a group of their own.
    """

    def name(wildcards):
        if workflow.local_exec:
            return None
        model = PLAN.models.get(wildcards.get("model"))
        chained = model is not None and model.base in PLAN.implicit
        return f"{group}-on-{model.base}" if chained else group

    return name


def own_source(name, source, look):
    """Files of a user's own that an artefact is made of; a refusal counts, though the artefact is there.

    :param look: gives the files, or refuses them.
    """
    try:
        return own_files(look())
    except AtlasError as error:
        completeness.count_refusal(name, source, str(error), Path(DEPLOYMENT.root))
        raise


def local_encoder(wildcards):
    """Files of an encoder in a folder of the user's own."""
    source = PLAN.config.encoders[wildcards.encoder].source

    def look():
        local_folder(f"encoders.{wildcards.encoder}", source.local, ["modules.json"])
        return local_files(source.local, ENCODER_FILES)

    name = f"results/sources/encoders/{wildcards.encoder}/encoder.json"
    return own_source(name, source_params(source), look)


def own_base(wildcards):
    """Files of a base in a folder of the user's own."""
    source, where = PLAN.config.bases[wildcards.base].source, f"bases.{wildcards.base}"
    name = f"results/sources/{where.replace('.', '/', 1)}/base.json"
    look = lambda: local_folder(where, source.local, ["config.json"])
    return own_source(name, source_params(source), look)


def own_rows(wildcards):
    """The file of rows of a dataset, where it is the user's own."""
    source = dataset_of(wildcards).source
    name = f"results/sources/datasets/{wildcards.dataset}.jsonl"
    look = lambda: local_rows(wildcards.dataset, source.local)
    return own_source(name, source_params(source), look)


def own_model(*wanted):
    """Files of a model in a folder of the user's own."""

    def found(wildcards):
        model = PLAN.models[wildcards.model]
        source = model.source or {}
        look = lambda: local_folder(f"models.{model.name}", source.get("local"), wanted)
        return own_source(f"{model.folder}/README.md", source, look)

    return found
