# Embeddings: one rule per space, all ending in the same kind of file.
rule embed_delta_activations:
    input:
        activations="results/pools/{pool}/activations.h5",
    output:
        embeddings="results/pools/{pool}/delta_activations/embeddings.npz",
    log:
        "logs/embed_delta_activations/{pool}.log",
    benchmark:
        "benchmarks/embed_delta_activations/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, pool_vectors, 2),
        runtime=minutes(30, pool_vectors, 10),
        gpu=0,
    params:
        code=code("atlas.spaces.delta_activations:embed"),
        models=pool_models,
    message:
        "embed {wildcards.pool} by delta activations"
    script:
        "../scripts/job.py"


rule embed_flattened_weights:
    input:
        bases=full_pool_base_files,
        weights=pool_files,
    output:
        embeddings="results/pools/{pool}/flattened_weights/embeddings.npz",
    log:
        "logs/embed_flattened_weights/{pool}.log",
    benchmark:
        "benchmarks/embed_flattened_weights/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000, full_pool_size, 2),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("atlas.spaces.flattened_weights:embed"),
        models=pool_models,
    message:
        "embed {wildcards.pool} by flattened weights"
    script:
        "../scripts/job.py"


rule embed_salient_mask:
    input:
        bases=pool_base_files,
        weights=pool_files,
    output:
        embeddings="results/pools/{pool}/salient_mask/embeddings.npz",
    log:
        "logs/embed_salient_mask/{pool}.log",
    benchmark:
        "benchmarks/embed_salient_mask/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2500, pool_size, 1),
        runtime=minutes(30, pool_work, 0.2),
        gpu=0,
    params:
        code=code("atlas.spaces.salient_mask:embed"),
        models=pool_models,
        share=lambda w: PLAN.pools[w.pool].settings.salient_share,
    message:
        "embed {wildcards.pool} by salient masks"
    script:
        "../scripts/job.py"


rule embed_output_sentences:
    input:
        sentences=pool_shards(".sentences.jsonl"),
        encoder=lambda w: expand(
            "results/sources/encoders/{encoder}/{file}",
            encoder=PLAN.pools[w.pool].settings.encoder,
            file=ENCODER_FILES,
        ),
    output:
        embeddings="results/pools/{pool}/output_sentences/embeddings.npz",
    log:
        "logs/embed_output_sentences/{pool}.log",
    benchmark:
        "benchmarks/embed_output_sentences/{pool}.tsv"
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2000),
        runtime=minutes(60),
    params:
        code=code("atlas.spaces.output_sentences:embed"),
        models=pool_models,
    message:
        "embed {wildcards.pool} by output sentences"
    script:
        "../scripts/job.py"
