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
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, shard_size, 2),
        runtime=minutes(30, shard_work, 0.1),
    params:
        code=code("atlas.activations:compute_shard"),
        models=shard_params,
        dtypes=shard_dtypes,
        base_names=shard_base_names,
    message:
        "read the activations of shard {wildcards.shard} of {wildcards.pool}"
    script:
        "../scripts/compute_shard.py"


rule assemble_activations:
    input:
        shards=pool_shards(".h5"),
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
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.activation_files:assemble"),
        models=lambda w: [m.name for m in PLAN.pools[w.pool].models],
    message:
        "assemble the activations of {wildcards.pool}"
    script:
        "../scripts/assemble_activations.py"


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
        code=code("atlas.output_sentences:generate_shard"),
        models=shard_params,
        dtypes=shard_dtypes,
        base_names=shard_base_names,
        new_tokens=lambda w: PLAN.pools[w.pool].settings.new_tokens,
    message:
        "let the models of shard {wildcards.shard} of {wildcards.pool} write"
    script:
        "../scripts/generate_shard.py"
