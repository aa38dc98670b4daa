# Activations: each base is loaded once per shard, its models are swapped in place.
rule compute_shard:
    input:
        probes="resources/probes.txt",
        bases=shard_base_files,
        weights=shard_model_files,
    output:
        activations="results/pools/{pool}/shards/{shard}.h5",
    log:
        "logs/compute_shard/{pool}-{shard}.log",
    benchmark:
        "benchmarks/compute_shard/{pool}-{shard}.tsv"
    wildcard_constraints:
        pool=names(pools_that_keep(True)),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, shard_size, 2),
        runtime=minutes(30, shard_work, 0.1),
    params:
        code=code("atlas.activations.last_tokens:compute_shard"),
        models=shard_params,
        dtypes=shard_dtypes,
        base_names=shard_base_names,
    message:
        "read the activations of shard {wildcards.shard} of {wildcards.pool}"
    script:
        "../scripts/job.py"


# Of a pool that does not keep its weights: nothing of its adapters stays but this.
rule compute_fetched_shard:
    input:
        probes="resources/probes.txt",
        bases=shard_base_files,
        local=reported_local_files,
    output:
        activations="results/pools/{pool}/shards/{shard}.h5",
        report="results/pools/{pool}/shards/{shard}.report.csv",
    log:
        "logs/compute_fetched_shard/{pool}-{shard}.log",
    benchmark:
        "benchmarks/compute_fetched_shard/{pool}-{shard}.tsv"
    wildcard_constraints:
        pool=names(pools_that_keep(False)),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, shard_size, 2),
        runtime=minutes(120, shard_work, 0.1),
    params:
        code=code("atlas.activations.fetched_shards:compute_fetched_shard"),
        network=True,
        models=reported_sources,
        dtypes=shard_dtypes,
        base_names=shard_base_names,
        cache=PLAN.config.cache,
    message:
        "fetch and embed shard {wildcards.shard} of {wildcards.pool}"
    script:
        "../scripts/job.py"


# Of a pool that keeps its weights, where its report is asked for.
rule check_shard:
    input:
        bases=reported_base_files,
        local=reported_local_files,
    output:
        report="results/pools/{pool}/shards/{shard}.report.csv",
    log:
        "logs/check_shard/{pool}-{shard}.log",
    benchmark:
        "benchmarks/check_shard/{pool}-{shard}.tsv"
    wildcard_constraints:
        pool=names(pools_that_keep(True)),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(120),
        gpu=0,
    params:
        code=code("atlas.activations.fetched_shards:check_shard"),
        network=True,
        models=reported_sources,
        base_names=reported_base_names,
        cache=PLAN.config.cache,
    message:
        "check the adapters of shard {wildcards.shard} of {wildcards.pool}"
    script:
        "../scripts/job.py"


rule report_pool:
    input:
        shards=reports_of_shards,
    output:
        report=pool_table("report", "Adapters"),
    log:
        "logs/report_pool/{pool}.log",
    benchmark:
        "benchmarks/report_pool/{pool}.tsv"
    wildcard_constraints:
        pool=names(pools_with_adapters_made_elsewhere()),
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.sources.pool_reports:report_pool"),
        models=reported_models,
        excluded=lambda w: PLAN.pools[w.pool].settings.excluded,
    message:
        "report on the adapters of {wildcards.pool}"
    script:
        "../scripts/job.py"


rule assemble_activations:
    input:
        shards=pool_shards(".h5"),
        report=pool_report,
    output:
        activations="results/pools/{pool}/activations.h5",
    log:
        "logs/assemble_activations/{pool}.log",
    benchmark:
        "benchmarks/assemble_activations/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, pool_vectors, 10),
        gpu=0,
    params:
        code=code("atlas.activations.activation_files:assemble"),
        models=lambda w: [m.name for m in PLAN.pools[w.pool].models],
        pool="{pool}",
    message:
        "assemble the activations of {wildcards.pool}"
    script:
        "../scripts/job.py"


rule generate_shard:
    input:
        probes="resources/probes.txt",
        bases=shard_base_files,
        weights=shard_model_files,
    output:
        sentences="results/pools/{pool}/shards/{shard}.sentences.jsonl",
    log:
        "logs/generate_shard/{pool}-{shard}.log",
    benchmark:
        "benchmarks/generate_shard/{pool}-{shard}.tsv"
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, shard_size, 2),
        runtime=minutes(60, shard_work, 1),
    params:
        code=code("atlas.activations.generation:generate_shard"),
        models=shard_params,
        dtypes=shard_dtypes,
        base_names=shard_base_names,
        new_tokens=lambda w: PLAN.pools[w.pool].settings.new_tokens,
    message:
        "let the models of shard {wildcards.shard} of {wildcards.pool} write"
    script:
        "../scripts/job.py"
