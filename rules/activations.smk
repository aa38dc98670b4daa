# Activations: each base is loaded once per shard, its models are swapped in place.
KEEPING = {name for name, pool in PLAN.pools.items() if pool.settings.keep_weights}


use rule job as compute_shard with:
    input:
        probes=workflow_file("resources/probes.txt"),
        bases=files_of_bases,
        weights=gated(files_of_models),
    output:
        activations=update("results/pools/{pool}/shards/{shard}.h5"),
    log:
        "logs/compute_shard/{pool}/{shard}.log",
    benchmark:
        "benchmarks/compute_shard/{pool}/{shard}.tsv"
    wildcard_constraints:
        pool=constraint(KEEPING),
    resources:
        **on_gpu(
            memory(2500, largest_base, copies_in_memory(2)), minutes(30, base_of_each_model, 0.1)
        ),
    params:
        code=code("atlas.activations.last_tokens:compute_shard"),
        models=lambda w: members.told(models_of(w), "name", "base"),
        dtypes=dtypes_of_bases,
        base_names=names_of_bases,
    message:
        "read the activations of shard {wildcards.shard} of {wildcards.pool}"


# Of a pool that does not keep its weights: nothing of its adapters stays but this.
use rule job as compute_fetched_shard with:
    input:
        probes=workflow_file("resources/probes.txt"),
        bases=files_of_bases,
        local=lambda w: own_files(local_models(reported_of(w))),
    output:
        activations=update("results/pools/{pool}/shards/{shard}.h5"),
        report=update("results/pools/{pool}/shards/{shard}.report.csv"),
    log:
        "logs/compute_fetched_shard/{pool}/{shard}.log",
    benchmark:
        "benchmarks/compute_fetched_shard/{pool}/{shard}.tsv"
    wildcard_constraints:
        pool=constraint(PLAN.pools.keys() - KEEPING),
    resources:
        **on_gpu(
            memory(2500, largest_base, copies_in_memory(2)), minutes(120, base_of_each_model, 0.1)
        ),
    params:
        code=code("atlas.activations.fetched_shards:compute_fetched_shard"),
        network=True,
        models=lambda w: members.told(reported_of(w), "name", "base", "source"),
        dtypes=dtypes_of_bases,
        base_names=names_of_bases,
        cache=PLAN.config.cache,
    message:
        "fetch and embed shard {wildcards.shard} of {wildcards.pool}"


# Of a pool that keeps its weights: all that is wrong with its models is told before the first is embedded.
use rule job as check_shard with:
    input:
        bases=lambda w: settings_of_bases(PLAN, {m.base for m in reported_of(w)}),
        local=lambda w: own_files(local_models(reported_of(w))),
    output:
        report="results/pools/{pool}/shards/{shard}.report.csv",
    log:
        "logs/check_shard/{pool}/{shard}.log",
    benchmark:
        "benchmarks/check_shard/{pool}/{shard}.tsv"
    wildcard_constraints:
        pool=constraint(KEEPING),
    resources:
        **small(120),
    params:
        code=code("atlas.activations.fetched_shards:check_shard"),
        network=True,
        models=lambda w: members.told(reported_of(w), "name", "base", "source", "adapter"),
        base_names=lambda w: {m.base: PLAN.base_names(m.base) for m in reported_of(w)},
        cache=PLAN.config.cache,
    message:
        "check the models of shard {wildcards.shard} of {wildcards.pool}"


use rule job as assemble_activations with:
    input:
        shards=computed_shards,
    output:
        activations="results/pools/{pool}/activations.h5",
    log:
        "logs/assemble_activations/{pool}.log",
    benchmark:
        "benchmarks/assemble_activations/{pool}.tsv"
    group:
        packed("pool")
    resources:
        **on_cpu(memory(2000), minutes(30, pool_vectors, 10)),
    params:
        code=code("atlas.activations.activation_files:assemble"),
        models=lambda w: [model.name for model in pool_of(w).models],
    message:
        "assemble the activations of {wildcards.pool}"


use rule job as sample_continuations with:
    input:
        probes=workflow_file("resources/probes.txt"),
        base=base_files,
    output:
        continuations="results/pools/{pool}/continuations.jsonl",
    log:
        "logs/sample_continuations/{pool}.log",
    benchmark:
        "benchmarks/sample_continuations/{pool}.tsv"
    resources:
        **on_gpu(memory(2500, base_size, 2), minutes(60, base_size, 5)),
    params:
        **said_of(lambda w: pool_of(w).settings.continuations, "per_probe", "new_tokens"),
        code=code("atlas.activations.continuations:sample_continuations"),
        dtype=base_dtype,
        seed=PLAN.config.seeds[0],
    message:
        "sample continuations of the probes for {wildcards.pool}"


use rule job as compute_features with:
    input:
        probes=workflow_file("resources/probes.txt"),
        continuations="results/pools/{pool}/continuations.jsonl",
        bases=files_of_bases,
        weights=gated(files_of_models),
    output:
        features=update("results/pools/{pool}/shards/{shard}.features.h5"),
    log:
        "logs/compute_features/{pool}/{shard}.log",
    benchmark:
        "benchmarks/compute_features/{pool}/{shard}.tsv"
    resources:
        **on_gpu(
            memory(2500, largest_base, copies_in_memory(2)), minutes(60, base_of_each_model, 1)
        ),
    params:
        code=code("atlas.activations.features:compute_features"),
        models=lambda w: members.told(models_of(w), "name", "base"),
        dtypes=dtypes_of_bases,
        base_names=names_of_bases,
    message:
        "read the features of shard {wildcards.shard} of {wildcards.pool}"


use rule compute_features as generate_shard with:
    input:
        probes=workflow_file("resources/probes.txt"),
        bases=files_of_bases,
        weights=gated(files_of_models),
    output:
        sentences=update("results/pools/{pool}/shards/{shard}.sentences.jsonl"),
    log:
        "logs/generate_shard/{pool}/{shard}.log",
    benchmark:
        "benchmarks/generate_shard/{pool}/{shard}.tsv"
    priority: EARLY
    resources:
        **on_gpu(memory(2500, largest_base, 2), minutes(60, base_of_each_model, 1)),
    params:
        code=code("atlas.activations.generation:generate_shard"),
        new_tokens=lambda w: pool_of(w).settings.new_tokens,
    message:
        "let the models of shard {wildcards.shard} of {wildcards.pool} write"


use rule job as record_inputs with:
    input:
        probes=workflow_file("resources/probes.txt"),
        base=base_files,
    output:
        inputs="results/inputs/{base}/modules.h5",
    log:
        "logs/record_inputs/{base}.log",
    benchmark:
        "benchmarks/record_inputs/{base}.tsv"
    resources:
        **on_gpu(memory(4000, base_size, 2), minutes(30, base_size, 2)),
    params:
        code=code("atlas.activations.module_inputs:record_inputs"),
        dtype=base_dtype,
    message:
        "read what the modules of {wildcards.base} read on the probes"
