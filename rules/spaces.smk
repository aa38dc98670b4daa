# Spaces: one rule per space, all ending in the same kind of file.
use rule job as embed_delta_activations with:
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
    resources:
        **on_cpu(memory(2000, pool_vectors, 2), minutes(30, pool_vectors, 10)),
    params:
        code=code("atlas.spaces.delta_activations:embed"),
        models=pool_models,
    message:
        "embed {wildcards.pool} by delta activations"


use rule embed_delta_activations as embed_direct_effects with:
    input:
        bases=files_of_bases,
        weights=gated(files_of_models),
        inputs=lambda w: [f"results/inputs/{base}/modules.h5" for base in bases_of(w)],
    output:
        embeddings=update("results/pools/{pool}/direct_effects/embeddings.npz"),
    log:
        "logs/embed_direct_effects/{pool}.log",
    benchmark:
        "benchmarks/embed_direct_effects/{pool}.tsv"
    resources:
        **on_cpu(memory(4000, largest_base, 1), minutes(30, pool_vectors, 300)),
    params:
        code=code("atlas.spaces.direct_effects:embed"),
    message:
        "embed {wildcards.pool} by direct effects"


use rule embed_delta_activations as embed_weight_deltas with:
    input:
        bases=files_of_bases,
        weights=gated(files_of_models),
    output:
        embeddings=update("results/pools/{pool}/weight_deltas/embeddings.npz"),
    log:
        "logs/embed_weight_deltas/{pool}.log",
    benchmark:
        "benchmarks/embed_weight_deltas/{pool}.tsv"
    resources:
        **on_cpu(memory(4000, largest_base, 1), minutes(60, pool_vectors, 300)),
    params:
        code=code("atlas.spaces.weight_deltas:embed"),
    message:
        "embed {wildcards.pool} by weight deltas"


use rule embed_delta_activations as embed_flattened_weights with:
    input:
        bases=lambda w: [f for base in pool_of(w).full_bases for f in PLAN.base_files(base)],
        weights=gated(pool_files),
    output:
        embeddings="results/pools/{pool}/flattened_weights/embeddings.npz",
    log:
        "logs/embed_flattened_weights/{pool}.log",
    benchmark:
        "benchmarks/embed_flattened_weights/{pool}.tsv"
    resources:
        **on_cpu(memory(4000, largest_full_base, 2), minutes(60)),
    params:
        code=code("atlas.spaces.flattened_weights:embed"),
    message:
        "embed {wildcards.pool} by flattened weights"


use rule embed_delta_activations as embed_salient_mask with:
    input:
        bases=files_of_bases,
        weights=gated(pool_files),
    output:
        embeddings="results/pools/{pool}/salient_mask/embeddings.npz",
    log:
        "logs/embed_salient_mask/{pool}.log",
    benchmark:
        "benchmarks/embed_salient_mask/{pool}.tsv"
    resources:
        **on_cpu(memory(2500, largest_base, 1), minutes(30, base_of_each_model, 0.2)),
    params:
        code=code("atlas.spaces.salient_mask:embed"),
        share=lambda w: pool_of(w).settings.salient_share,
    message:
        "embed {wildcards.pool} by salient masks"


use rule job as embed_output_sentences with:
    input:
        sentences=of_shards(".sentences.jsonl"),
        encoder=lambda w: [
            f"results/sources/encoders/{pool_of(w).settings.encoder}/{name}"
            for name in ENCODER_FILES
        ],
    output:
        embeddings="results/pools/{pool}/output_sentences/embeddings.npz",
    log:
        "logs/embed_output_sentences/{pool}.log",
    benchmark:
        "benchmarks/embed_output_sentences/{pool}.tsv"
    resources:
        **on_gpu(memory(2000), minutes(60)),
    params:
        code=code("atlas.spaces.output_sentences:embed"),
        models=pool_models,
    message:
        "embed {wildcards.pool} by output sentences"


use rule embed_delta_activations as embed_delta_logits with:
    input:
        features=of_shards(".features.h5"),
    output:
        embeddings="results/pools/{pool}/delta_logits/embeddings.npz",
    log:
        "logs/embed_delta_logits/{pool}.log",
    benchmark:
        "benchmarks/embed_delta_logits/{pool}.tsv"
    resources:
        **on_cpu(memory(4000), minutes(30)),
    params:
        code=code("atlas.spaces.delta_logits:embed"),
    message:
        "embed {wildcards.pool} by delta logits"


use rule embed_delta_logits as embed_delta_weighted with:
    output:
        embeddings="results/pools/{pool}/delta_weighted/embeddings.npz",
    log:
        "logs/embed_delta_weighted/{pool}.log",
    benchmark:
        "benchmarks/embed_delta_weighted/{pool}.tsv"
    params:
        code=code("atlas.spaces.delta_weighted:embed"),
    message:
        "embed {wildcards.pool} by delta weighted"


use rule embed_delta_logits as embed_delta_meaning with:
    output:
        embeddings="results/pools/{pool}/delta_meaning/embeddings.npz",
    log:
        "logs/embed_delta_meaning/{pool}.log",
    benchmark:
        "benchmarks/embed_delta_meaning/{pool}.tsv"
    params:
        code=code("atlas.spaces.delta_meaning:embed"),
    message:
        "embed {wildcards.pool} by delta meaning"
