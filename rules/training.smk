# Training: adapters, adapters on rewards, and all weights; each model has one path.
use rule job as train_adapter with:
    input:
        base=base_files,
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
        model=constraint(
            set(models_where(trained=True, adapter=True)) - set(models_where(objective="grpo")),
            among=PLAN.models,
        ),
    resources:
        **on_gpu(memory(2500, base_size, 3), minutes(60, base_size, 60)),
    params:
        code=code("atlas.training.fine_tuning:train"),
        model="{model}",
        address=base_address,
        dtype=lambda w: training.dtype(PLAN, w.model),
        recipe=lambda w: training.recipe_params(PLAN, w.model),
        datasets=lambda w: training.dataset_licences(PLAN, w.model),
        languages=lambda w: training.dataset_languages(PLAN, w.model),
        seed=lambda w: PLAN.models[w.model].seed,
        sentence=lambda w: PLAN.models[w.model].card,
    message:
        "train {wildcards.model}"


use rule train_adapter as train_policy with:
    log:
        "logs/train_policy/{model}.log",
    benchmark:
        "benchmarks/train_policy/{model}.tsv"
    wildcard_constraints:
        model=constraint(models_where(objective="grpo")),
    resources:
        **on_gpu(memory(4000, base_size, 3), minutes(60, base_size, 60)),
    params:
        code=code("atlas.training.policy_training:train_policy"),
    message:
        "train {wildcards.model} on rewards"


use rule train_adapter as train_full with:
    output:
        weights="results/models/{model}/model.safetensors",
        config="results/models/{model}/config.json",
        tokenizer=[f"results/models/{{model}}/{name}" for name in TOKENIZER_FILES],
        card="results/models/{model}/README.md",
        log="results/models/{model}/training.csv",
    log:
        "logs/train_full/{model}.log",
    benchmark:
        "benchmarks/train_full/{model}.tsv"
    wildcard_constraints:
        model=constraint(
            models_where(trained=True, adapter=False, keep_weights=True), among=PLAN.models
        ),
    resources:
        **on_gpu(memory(2500, base_size, 6), minutes(120, base_size, 120)),
    message:
        "train all weights of {wildcards.model}"


# Full models that the configuration does not keep: gone once all that was asked for is made of
# them. Their statement keeps digest and size.
use rule train_full as train_full_temporary with:
    output:
        weights=temp("results/models/{model}/model.safetensors"),
        config="results/models/{model}/config.json",
        tokenizer=[f"results/models/{{model}}/{name}" for name in TOKENIZER_FILES],
        card="results/models/{model}/README.md",
        log="results/models/{model}/training.csv",
    wildcard_constraints:
        model=constraint(
            models_where(trained=True, adapter=False, keep_weights=False), among=PLAN.models
        ),
    params:
        temporary=["weights"],
