# Selection: models of a pool chosen for a task by a few of its examples, composed, and looked up.
COMPOSED = "results/selection/{task}/{strategy}-{seed}/"
STRATEGY = constraint(["random", "similar", "similar+random"])
TASKS = constraint(task for entry in PLAN.config.selections.values() for task in entry.tasks)


use rule job as rank_models with:
    input:
        pool=lambda w: delta_activations(selection_of(w).pool),
        task=lambda w: delta_activations(selection_pool(task_selection(PLAN.config, w.task))),
    output:
        models=other_table(
            "results/selection/{task}/models.csv",
            "rank_models",
            "Models ranked for selection",
            "{task}",
        ),
    log:
        "logs/rank_models/{task}.log",
    benchmark:
        "benchmarks/rank_models/{task}.tsv"
    wildcard_constraints:
        task=TASKS,
    params:
        code=code("atlas.selection.ranking:rank_models"),
        query=lambda w: selection_model(w.task),
    message:
        "rank the models of the pool for {wildcards.task}"


use rule job as retrieve_models with:
    input:
        pool=lambda w: delta_activations(PLAN.config.retrievals[w.retrieval].pool),
        task=lambda w: delta_activations(retrieval_pool(w.retrieval)),
    output:
        models=other_table(
            "results/retrieval/{retrieval}/models.csv",
            "retrieve_models",
            "Models for a task",
            "{retrieval}",
        ),
        page="results/retrieval/{retrieval}/models.md",
        figure=figure(
            "results/retrieval/{retrieval}/models.svg",
            caption="retrieve_models",
            category="Figures of experiments",
            subcategory="Models for a task",
            labels={"table": "{retrieval}", "figure": "similarity"},
        ),
    log:
        "logs/retrieve_models/{retrieval}.log",
    benchmark:
        "benchmarks/retrieve_models/{retrieval}.tsv"
    wildcard_constraints:
        retrieval=constraint(PLAN.config.retrievals),
    params:
        code=code("atlas.selection.ranking:find_models"),
        queries=lambda w: [model.name for model in PLAN.pools[retrieval_pool(w.retrieval)].models],
        name="{retrieval}",
    message:
        "look up the models for {wildcards.retrieval}"


use rule job as answer_task with:
    input:
        base=base_files,
        model=lambda w: PLAN.models[selection_model(w.task)].files(),
        tests="results/datasets/{task}/rest.jsonl",
    output:
        answered="results/selection/{task}/answers.csv",
    log:
        "logs/answer_task/{task}.log",
    benchmark:
        "benchmarks/answer_task/{task}.tsv"
    wildcard_constraints:
        task=TASKS,
    resources:
        **on_gpu(memory(2500, base_size, 2), minutes(30, base_size, 20)),
    params:
        **said_of(selection_of, "rows", "new_tokens"),
        code=code("atlas.selection.composed_models:answer_task"),
        base_names=base_names,
        dtype=base_dtype,
    message:
        "let the base answer {wildcards.task}"


use rule job as compose_models with:
    input:
        base=base_files,
        pool=gated(
            lambda w: [f for m in PLAN.pools[selection_of(w).pool].models for f in m.files()],
            lambda w: PLAN.pools[selection_of(w).pool],
            shown=True,
        ),
        ranking="results/selection/{task}/models.csv",
        examples=lambda w: f"results/models/{selection_model(w.task)}/rows.jsonl",
        tests="results/datasets/{task}/rest.jsonl",
    output:
        weights="results/selection/{task}/{strategy}-{seed}/adapter_model.safetensors",
        config="results/selection/{task}/{strategy}-{seed}/adapter_config.json",
        card="results/selection/{task}/{strategy}-{seed}/README.md",
        steps="results/selection/{task}/{strategy}-{seed}/search.csv",
        chosen="results/selection/{task}/{strategy}-{seed}/models.csv",
        answered="results/selection/{task}/{strategy}-{seed}/answers.csv",
    log:
        "logs/compose_models/{task}/{strategy}-{seed}.log",
    benchmark:
        "benchmarks/compose_models/{task}/{strategy}-{seed}.tsv"
    wildcard_constraints:
        task=TASKS,
        strategy=STRATEGY,
        seed=r"\d+",
    resources:
        **on_gpu(memory(4000, base_size, 2), minutes(60, base_size, 60)),
    params:
        **said_of(selection_of, "merges", "density", "rows", "new_tokens"),
        code=code("atlas.selection.composed_models:compose"),
        name="{task}/{strategy}-{seed}",
        address=base_address,
        base_names=base_names,
        dtype=base_dtype,
        strategy="{strategy}",
        size=lambda w: selection_of(w).size,
        seed=lambda w: int(w.seed),
        search_settings=lambda w: selection_of(w).model_dump(include={"budget", "bound", "penalty"}),
    message:
        "compose models for {wildcards.task} ({wildcards.strategy}, {wildcards.seed})"
