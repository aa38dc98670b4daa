# Sources: bases, encoders, raw rows and models made elsewhere, wherever they come from.
for shards in sorted({base.shards for base in PLAN.config.bases.values()}):

    rule:
        name:
            f"fetch_base_{shards}"
        input:
            local=own_base,
        output:
            record="results/sources/bases/{base}/base.json",
            config="results/sources/bases/{base}/config.json",
            tokenizer="results/sources/bases/{base}/tokenizer.json",
            tokenizer_config="results/sources/bases/{base}/tokenizer_config.json",
            weights=[f"results/sources/bases/{{base}}/{name}" for name in weight_names(shards)],
        log:
            "logs/fetch_base/{base}.log",
        benchmark:
            "benchmarks/fetch_base/{base}.tsv"
        wildcard_constraints:
            base=constraint(
                name
                for name, base in PLAN.config.bases.items()
                if base.shards == shards and not base.source.model
            ),
        priority: FIRST
        conda:
            "../envs/atlas.yaml"
        resources:
            **on_cpu(memory(2000, base_size, 2), minutes(30, base_size, 15)),
        params:
            **said_of(lambda w: PLAN.config.bases[w.base], "dtype", "licence", "chat_template"),
            code=code("atlas.sources.bases:fetch_base"),
            network=True,
            name="{base}",
            source=lambda w: source_params(PLAN.config.bases[w.base].source),
            weight_names=weight_names(shards),
            cache=PLAN.config.cache,
        message:
            "fetch the base {wildcards.base}"
        script:
            "../scripts/job.py"


use rule job as base_from_model with:
    input:
        base=lambda w: PLAN.base_files(PLAN.models[PLAN.implicit[w.base]].base),
        model=lambda w: PLAN.models[PLAN.implicit[w.base]].files(),
    output:
        record="results/sources/bases/{base}/base.json",
        config="results/sources/bases/{base}/config.json",
        tokenizer="results/sources/bases/{base}/tokenizer.json",
        tokenizer_config="results/sources/bases/{base}/tokenizer_config.json",
        weights=["results/sources/bases/{base}/model.safetensors"],
    log:
        "logs/base_from_model/{base}.log",
    benchmark:
        "benchmarks/base_from_model/{base}.tsv"
    wildcard_constraints:
        base=constraint(PLAN.implicit),
    resources:
        **on_cpu(memory(2000, base_size, 2), minutes(30, base_size, 10)),
    params:
        code=code("atlas.sources.bases:base_from_model"),
        name="{base}",
        adapter=lambda w: PLAN.models[PLAN.implicit[w.base]].adapter,
        weight_names=weight_names(1),
    message:
        "make a base of the model behind {wildcards.base}"


use rule job as fetch_encoder with:
    input:
        local=local_encoder,
    output:
        record="results/sources/encoders/{encoder}/encoder.json",
        files=[f"results/sources/encoders/{{encoder}}/{file}" for file in ENCODER_FILES],
    log:
        "logs/fetch_encoder/{encoder}.log",
    benchmark:
        "benchmarks/fetch_encoder/{encoder}.tsv"
    params:
        code=code("atlas.sources.encoders:fetch_encoder"),
        network=True,
        name="{encoder}",
        source=lambda w: source_params(PLAN.config.encoders[w.encoder].source),
        licence=lambda w: PLAN.config.encoders[w.encoder].licence,
        cache=PLAN.config.cache,
    message:
        "fetch the encoder {wildcards.encoder}"


use rule job as fetch_rows with:
    input:
        local=own_rows,
    output:
        rows="results/sources/datasets/{dataset}.jsonl",
        record="results/sources/datasets/{dataset}.json",
    log:
        "logs/fetch_rows/{dataset}.log",
    benchmark:
        "benchmarks/fetch_rows/{dataset}.tsv"
    priority: EARLY
    group:
        packed("datasets")
    resources:
        **small(60),
    params:
        **said_of(dataset_of, "where", "between", "unique", "duplicates", "licence"),
        code=code("atlas.sources.raw_rows:fetch_rows"),
        network=True,
        name="{dataset}",
        source=lambda w: source_params(dataset_of(w).source),
        cache=PLAN.config.cache,
    message:
        "fetch the raw rows of {wildcards.dataset}"


use rule job as fetch_adapter with:
    input:
        base=lambda w: settings_of_bases(PLAN, [base_of(w)]),
        local=own_model("adapter_config.json"),
    output:
        weights="results/models/{model}/adapter_model.safetensors",
        config="results/models/{model}/adapter_config.json",
        card="results/models/{model}/README.md",
    log:
        "logs/fetch_adapter/{model}.log",
    benchmark:
        "benchmarks/fetch_adapter/{model}.tsv"
    wildcard_constraints:
        model=constraint(
            set(models_where(trained=False, adapter=True))
            - {model.name for together in PLAN.fetched_together for model in together},
            among=PLAN.models,
        ),
    group:
        packed("adapters")
    params:
        code=code("atlas.sources.fetched_models:fetch_adapter"),
        network=True,
        model="{model}",
        source=lambda w: PLAN.models[w.model].source,
        cache=PLAN.config.cache,
        base_names=base_names,
        address=base_address,
        sentence=lambda w: PLAN.models[w.model].card,
    message:
        "fetch the adapter {wildcards.model}"


# Of large sheets: some at a time, for thousands of jobs take hours to be started.
for number, together in enumerate(PLAN.fetched_together):

    rule:
        name:
            f"fetch_adapters_{number}"
        input:
            base=settings_of_bases(PLAN, {m.base for m in together}),
            local=own_files(local_models(together)),
        output:
            weights=[f"{m.folder}/adapter_model.safetensors" for m in together],
            config=[f"{m.folder}/adapter_config.json" for m in together],
            card=[f"{m.folder}/README.md" for m in together],
        log:
            f"logs/fetch_adapters/{number}.log",
        benchmark:
            f"benchmarks/fetch_adapters/{number}.tsv"
        conda:
            "../envs/atlas.yaml"
        resources:
            **small(120),
        params:
            code=code("atlas.sources.fetched_models:fetch_adapters"),
            network=True,
            models=[
                {"name": m.name, "base": m.base, "source": m.source, "sentence": m.card}
                for m in together
            ],
            cache=PLAN.config.cache,
            base_names={m.base: PLAN.base_names(m.base) for m in together},
            addresses={m.base: list(PLAN.base_address(m.base)) for m in together},
        message:
            f"fetch {len(together)} adapters"
        script:
            "../scripts/job.py"


for shards in sorted({PLAN.models[m].shards for m in models_where(trained=False, adapter=False)}):

    rule:
        name:
            f"fetch_full_{shards}"
        input:
            base=lambda w: settings_of_bases(PLAN, [base_of(w)]),
            local=own_model("config.json"),
        output:
            weights=[f"results/models/{{model}}/{name}" for name in weight_names(shards)],
            config="results/models/{model}/config.json",
            tokenizer=[f"results/models/{{model}}/{name}" for name in TOKENIZER_FILES],
            card="results/models/{model}/README.md",
        log:
            "logs/fetch_full/{model}.log",
        benchmark:
            "benchmarks/fetch_full/{model}.tsv"
        wildcard_constraints:
            model=constraint(
                models_where(trained=False, adapter=False, shards=shards), among=PLAN.models
            ),
        conda:
            "../envs/atlas.yaml"
        resources:
            **on_cpu(memory(2000, base_size, 1), minutes(30, base_size, 15)),
        params:
            code=code("atlas.sources.fetched_models:fetch_full"),
            network=True,
            model="{model}",
            source=lambda w: PLAN.models[w.model].source,
            cache=PLAN.config.cache,
            address=base_address,
            sentence=lambda w: PLAN.models[w.model].card,
            weight_names=weight_names(shards),
        message:
            "fetch the model {wildcards.model}"
        script:
            "../scripts/job.py"


# A checkpoint, for what reads the pool waits until all its models made elsewhere are known to be usable.
checkpoint report_pool:
    input:
        shards=lambda w: [
            f"results/pools/{w.pool}/shards/{s}.report.csv" for s in pool_of(w).reported
        ],
    output:
        report=pool_table("report", "Models made elsewhere"),
    log:
        "logs/report_pool/{pool}.log",
    benchmark:
        "benchmarks/report_pool/{pool}.tsv"
    wildcard_constraints:
        pool=constraint(name for name, pool in PLAN.pools.items() if pool.reported),
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    resources:
        **small(30),
    params:
        code=code("atlas.sources.pool_reports:report_pool"),
        models=lambda w: members.reported_models(PLAN, w.pool),
        excluded=lambda w: pool_of(w).settings.excluded,
    message:
        "report on the models of {wildcards.pool}"
    script:
        "../scripts/job.py"
