# Sources: bases, encoders and raw rows, wherever they come from.
for shards in sorted({base.shards for base in PLAN.config.bases.values()}):

    rule:
        name:
            f"fetch_base_{shards}"
        input:
            local=lambda w: local_files(
                PLAN.config.bases[w.base].source.local,
                [
                    "config.json",
                    "tokenizer.json",
                    "tokenizer_config.json",
                    "generation_config.json",
                    *weight_names(PLAN.config.bases[w.base].shards),
                ],
            ),
        output:
            record="results/sources/bases/{base}/base.json",
            config="results/sources/bases/{base}/config.json",
            tokenizer="results/sources/bases/{base}/tokenizer.json",
            tokenizer_config="results/sources/bases/{base}/tokenizer_config.json",
            weights=base_weights(shards),
        log:
            "logs/fetch_base/{base}.log",
        benchmark:
            "benchmarks/fetch_base/{base}.tsv"
        wildcard_constraints:
            base=names(
                b
                for b, entry in PLAN.config.bases.items()
                if entry.shards == shards and not entry.source.model
            ),
        conda:
            "../envs/atlas.yaml"
        threads: 1
        resources:
            mem_mb=memory(2000, base_size, 2),
            runtime=minutes(30, base_size, 15),
            gpu=0,
        params:
            code=code("atlas.sources.bases:fetch_base"),
            network=True,
            name="{base}",
            source=lambda w: source_params(PLAN.config.bases[w.base].source),
            dtype=lambda w: PLAN.config.bases[w.base].dtype,
            licence=lambda w: PLAN.config.bases[w.base].licence,
            chat_template=lambda w: PLAN.config.bases[w.base].chat_template,
            weight_names=weight_names(shards),
            cache=PLAN.config.cache,
        message:
            "fetch the base {wildcards.base}"
        script:
            "../scripts/job.py"


rule base_from_model:
    input:
        base=lambda w: PLAN.base_files(PLAN.models[PLAN.implicit[w.base]].base),
        model=lambda w: PLAN.models[PLAN.implicit[w.base]].files(),
    output:
        record="results/sources/bases/{base}/base.json",
        config="results/sources/bases/{base}/config.json",
        tokenizer="results/sources/bases/{base}/tokenizer.json",
        tokenizer_config="results/sources/bases/{base}/tokenizer_config.json",
        weights=base_weights(1),
    log:
        "logs/base_from_model/{base}.log",
    benchmark:
        "benchmarks/base_from_model/{base}.tsv"
    wildcard_constraints:
        base=names(PLAN.implicit),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, base_size, 2),
        runtime=minutes(30, base_size, 10),
        gpu=0,
    params:
        code=code("atlas.sources.bases:base_from_model"),
        name="{base}",
        adapter=lambda w: PLAN.models[PLAN.implicit[w.base]].adapter,
        weight_names=weight_names(1),
    message:
        "make a base of the model behind {wildcards.base}"
    script:
        "../scripts/job.py"


rule fetch_encoder:
    input:
        local=lambda w: local_files(
            PLAN.config.encoders[w.encoder].source.local, ENCODER_FILES
        ),
    output:
        record="results/sources/encoders/{encoder}/encoder.json",
        files=expand(
            "results/sources/encoders/{{encoder}}/{file}",
            file=ENCODER_FILES,
        ),
    log:
        "logs/fetch_encoder/{encoder}.log",
    benchmark:
        "benchmarks/fetch_encoder/{encoder}.tsv"
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.sources.encoders:fetch_encoder"),
        network=True,
        name="{encoder}",
        source=lambda w: source_params(PLAN.config.encoders[w.encoder].source),
        licence=lambda w: PLAN.config.encoders[w.encoder].licence,
        cache=PLAN.config.cache,
    message:
        "fetch the encoder {wildcards.encoder}"
    script:
        "../scripts/job.py"


rule fetch_rows:
    input:
        local=lambda w: local_files(PLAN.config.datasets[w.dataset].source.local),
    output:
        rows="results/sources/datasets/{dataset}.jsonl",
        record="results/sources/datasets/{dataset}.json",
    log:
        "logs/fetch_rows/{dataset}.log",
    benchmark:
        "benchmarks/fetch_rows/{dataset}.tsv"
    group:
        packed("datasets")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("atlas.sources.raw_rows:fetch_rows"),
        network=True,
        name="{dataset}",
        source=lambda w: source_params(PLAN.config.datasets[w.dataset].source),
        where=lambda w: PLAN.config.datasets[w.dataset].where,
        between=lambda w: PLAN.config.datasets[w.dataset].between,
        unique=lambda w: PLAN.config.datasets[w.dataset].unique,
        licence=lambda w: PLAN.config.datasets[w.dataset].licence,
        cache=PLAN.config.cache,
    message:
        "fetch the raw rows of {wildcards.dataset}"
    script:
        "../scripts/job.py"
