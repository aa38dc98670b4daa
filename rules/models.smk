# Models: trained here, or fetched; each has one path.
rule train_adapter:
    input:
        base=model_base_files,
        rows="results/models/{model}/rows.jsonl",
    output:
        weights="results/models/{model}/adapter_model.safetensors",
        config="results/models/{model}/adapter_config.json",
        card="results/models/{model}/README.md",
        log="results/models/{model}/training.csv",
    log:
        "logs/train_adapter/{model}.log",
    benchmark:
        "benchmarks/train_adapter/{model}.tsv"
    wildcard_constraints:
        model=names(
            set(models_where(trained=True, adapter=True))
            - set(models_where(objective="grpo")),
            among=PLAN.models,
        ),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, model_size, 3),
        runtime=minutes(60, model_size, 60),
    params:
        code=code("atlas.training.fine_tuning:train"),
        model="{model}",
        address=model_address,
        dtype=model_dtype,
        recipe=training_recipe,
        datasets=training_licences,
        seed=lambda w: PLAN.models[w.model].seed,
        sentence=lambda w: PLAN.models[w.model].card,
    message:
        "train {wildcards.model}"
    script:
        "../scripts/job.py"


rule train_policy:
    input:
        base=model_base_files,
        rows="results/models/{model}/rows.jsonl",
    output:
        weights="results/models/{model}/adapter_model.safetensors",
        config="results/models/{model}/adapter_config.json",
        card="results/models/{model}/README.md",
        log="results/models/{model}/training.csv",
    log:
        "logs/train_policy/{model}.log",
    benchmark:
        "benchmarks/train_policy/{model}.tsv"
    wildcard_constraints:
        model=names(models_where(objective="grpo")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(4000, model_size, 3),
        runtime=minutes(60, model_size, 60),
    params:
        code=code("atlas.training.policy_training:train_policy"),
        model="{model}",
        address=model_address,
        dtype=model_dtype,
        recipe=training_recipe,
        datasets=training_licences,
        seed=lambda w: PLAN.models[w.model].seed,
        sentence=lambda w: PLAN.models[w.model].card,
    message:
        "train {wildcards.model} on rewards"
    script:
        "../scripts/job.py"


rule train_full:
    input:
        base=model_base_files,
        rows="results/models/{model}/rows.jsonl",
    output:
        weights="results/models/{model}/model.safetensors",
        config="results/models/{model}/config.json",
        tokenizer=[
            "results/models/{model}/tokenizer.json",
            "results/models/{model}/tokenizer_config.json",
        ],
        card="results/models/{model}/README.md",
        log="results/models/{model}/training.csv",
    log:
        "logs/train_full/{model}.log",
    benchmark:
        "benchmarks/train_full/{model}.tsv"
    wildcard_constraints:
        model=names(
            models_where(trained=True, adapter=False, keep_weights=True),
            among=PLAN.models,
        ),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, model_size, 6),
        runtime=minutes(120, model_size, 120),
    params:
        code=code("atlas.training.fine_tuning:train"),
        model="{model}",
        address=model_address,
        dtype=model_dtype,
        recipe=training_recipe,
        datasets=training_licences,
        seed=lambda w: PLAN.models[w.model].seed,
        sentence=lambda w: PLAN.models[w.model].card,
    message:
        "train all weights of {wildcards.model}"
    script:
        "../scripts/job.py"


# Full models that the configuration does not keep: gone once all that was asked for is made of
# them. Their statement keeps digest and size.
use rule train_full as train_full_temporary with:
    output:
        weights=temp("results/models/{model}/model.safetensors"),
        config="results/models/{model}/config.json",
        tokenizer=[
            "results/models/{model}/tokenizer.json",
            "results/models/{model}/tokenizer_config.json",
        ],
        card="results/models/{model}/README.md",
        log="results/models/{model}/training.csv",
    wildcard_constraints:
        model=names(
            models_where(trained=True, adapter=False, keep_weights=False),
            among=PLAN.models,
        ),
    params:
        temporary=["weights"],


rule fetch_adapter:
    input:
        base=model_base_weights,
        local=lambda w: local_files(
            PLAN.models[w.model].source.get("local"), ADAPTER_FILES
        ),
    output:
        weights="results/models/{model}/adapter_model.safetensors",
        config="results/models/{model}/adapter_config.json",
        card="results/models/{model}/README.md",
    log:
        "logs/fetch_adapter/{model}.log",
    benchmark:
        "benchmarks/fetch_adapter/{model}.tsv"
    wildcard_constraints:
        model=names(
            set(models_where(trained=False, adapter=True)) - set(fetched_together()),
            among=PLAN.models,
        ),
    group:
        packed("adapters")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.sources.fetched_models:fetch_adapter"),
        network=True,
        model="{model}",
        source=lambda w: PLAN.models[w.model].source,
        cache=PLAN.config.cache,
        base_names=lambda w: PLAN.base_names(PLAN.models[w.model].base),
        address=model_address,
        sentence=lambda w: PLAN.models[w.model].card,
    message:
        "fetch the adapter {wildcards.model}"
    script:
        "../scripts/job.py"


# Of large sheets: some at a time, for thousands of jobs take hours to be started.
for number, together in enumerate(PLAN.fetched_together):

    rule:
        name:
            f"fetch_adapters_{number}"
        input:
            base=[
                f
                for base in sorted({m.base for m in together})
                for f in base_weights_of(base)
            ],
            local=[
                f
                for m in together
                for f in local_files(m.source.get("local"), ADAPTER_FILES)
            ],
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
        threads: 1
        resources:
            mem_mb=memory(2000),
            runtime=minutes(120),
            gpu=0,
        params:
            code=code("atlas.sources.fetched_models:fetch_adapters"),
            network=True,
            models=[
                {
                    "name": m.name,
                    "base": m.base,
                    "source": m.source,
                    "sentence": m.card,
                }
                for m in together
            ],
            cache=PLAN.config.cache,
            base_names={m.base: PLAN.base_names(m.base) for m in together},
            addresses={m.base: list(PLAN.base_address(m.base)) for m in together},
        message:
            f"fetch {len(together)} adapters"
        script:
            "../scripts/job.py"


for shards in sorted(
    {PLAN.models[m].shards for m in models_where(trained=False, adapter=False)}
):

    rule:
        name:
            f"fetch_full_{shards}"
        input:
            base=model_base_files,
            local=lambda w: local_files(
                PLAN.models[w.model].source.get("local"),
                [
                    "config.json",
                    "tokenizer.json",
                    "tokenizer_config.json",
                    *weight_names(PLAN.models[w.model].shards),
                ],
            ),
        output:
            weights=[
                f"results/models/{{model}}/{name}" for name in weight_names(shards)
            ],
            config="results/models/{model}/config.json",
            tokenizer=[
                "results/models/{model}/tokenizer.json",
                "results/models/{model}/tokenizer_config.json",
            ],
            card="results/models/{model}/README.md",
        log:
            "logs/fetch_full/{model}.log",
        benchmark:
            "benchmarks/fetch_full/{model}.tsv"
        wildcard_constraints:
            model=names(
                models_where(trained=False, adapter=False, shards=shards),
                among=PLAN.models,
            ),
        conda:
            "../envs/atlas.yaml"
        threads: 1
        resources:
            mem_mb=memory(2000, model_size, 1),
            runtime=minutes(30, model_size, 15),
            gpu=0,
        params:
            code=code("atlas.sources.fetched_models:fetch_full"),
            network=True,
            model="{model}",
            source=lambda w: PLAN.models[w.model].source,
            cache=PLAN.config.cache,
            address=model_address,
            sentence=lambda w: PLAN.models[w.model].card,
            weight_names=weight_names(shards),
        message:
            "fetch the model {wildcards.model}"
        script:
            "../scripts/job.py"
