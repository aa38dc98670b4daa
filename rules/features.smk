# Features: layers, logits and the probability of continuations, for the family of delta activations.
rule sample_continuations:
    input:
        probes="resources/probes.txt",
        base=lambda w: PLAN.base_files(PLAN.pools[w.pool].writer),
    output:
        continuations="results/pools/{pool}/continuations.jsonl",
    log:
        "logs/sample_continuations/{pool}.log",
    benchmark:
        "benchmarks/sample_continuations/{pool}.tsv"
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, writer_size, 2),
        runtime=minutes(60, writer_size, 5),
    params:
        code=code("atlas.activations.continuations:sample_continuations"),
        dtype=lambda w: base_dtype(PLAN.pools[w.pool].writer),
        per_probe=lambda w: PLAN.pools[w.pool].settings.continuations.per_probe,
        new_tokens=lambda w: PLAN.pools[w.pool].settings.continuations.new_tokens,
        seed=PLAN.config.seeds[0],
    message:
        "sample continuations of the probes for {wildcards.pool}"
    script:
        "../scripts/job.py"


rule compute_features:
    input:
        probes="resources/probes.txt",
        continuations="results/pools/{pool}/continuations.jsonl",
        bases=shard_base_files,
        weights=shard_model_files,
    output:
        features="results/pools/{pool}/shards/{shard}.features.h5",
    log:
        "logs/compute_features/{pool}-{shard}.log",
    benchmark:
        "benchmarks/compute_features/{pool}-{shard}.tsv"
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, shard_size, 2),
        runtime=minutes(60, shard_work, 1),
    params:
        code=code("atlas.activations.features:compute_features"),
        models=shard_params,
        dtypes=shard_dtypes,
        base_names=shard_base_names,
    message:
        "read the features of shard {wildcards.shard} of {wildcards.pool}"
    script:
        "../scripts/job.py"


rule embed_delta_logits:
    input:
        features=pool_shards(".features.h5"),
    output:
        embeddings="results/pools/{pool}/delta_logits/embeddings.npz",
    log:
        "logs/embed_delta_logits/{pool}.log",
    benchmark:
        "benchmarks/embed_delta_logits/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.spaces.delta_logits:embed"),
        models=pool_models,
    message:
        "embed {wildcards.pool} by delta logits"
    script:
        "../scripts/job.py"


rule embed_delta_weighted:
    input:
        features=pool_shards(".features.h5"),
    output:
        embeddings="results/pools/{pool}/delta_weighted/embeddings.npz",
    log:
        "logs/embed_delta_weighted/{pool}.log",
    benchmark:
        "benchmarks/embed_delta_weighted/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.spaces.delta_weighted:embed"),
        models=pool_models,
    message:
        "embed {wildcards.pool} by delta weighted"
    script:
        "../scripts/job.py"


rule embed_delta_meaning:
    input:
        features=pool_shards(".features.h5"),
    output:
        embeddings="results/pools/{pool}/delta_meaning/embeddings.npz",
    log:
        "logs/embed_delta_meaning/{pool}.log",
    benchmark:
        "benchmarks/embed_delta_meaning/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.spaces.delta_meaning:embed"),
        models=pool_models,
    message:
        "embed {wildcards.pool} by delta meaning"
    script:
        "../scripts/job.py"


rule layer_curves:
    input:
        features=pool_shards(".features.h5"),
    output:
        curves=pool_table("curves", "Layers and probes"),
    log:
        "logs/layer_curves/{pool}.log",
    benchmark:
        "benchmarks/layer_curves/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.clusters.layer_curves:write_layer_curves"),
        models=pool_models,
    message:
        "measure layers and numbers of probes in {wildcards.pool}"
    script:
        "../scripts/job.py"
