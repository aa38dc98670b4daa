# Selection: models of a pool chosen for a task by a few of its examples, composed, and looked up.
rule rank_models:
    input:
        pool=lambda w: f"results/pools/{task_selection(w).pool}/{DELTA_ACTIVATIONS}",
        task=lambda w: f"results/pools/{selection_pool(SELECTION_TASKS[w.task])}/{DELTA_ACTIVATIONS}",
    output:
        models=report(
            "results/selection/{task}/models.csv",
            caption="../resources/captions/rank_models.rst",
            category="Tables",
            subcategory="Models ranked for selection",
            labels={"table": "{task}", "format": "raw CSV"},
        ),
    log:
        "logs/rank_models/{task}.log",
    benchmark:
        "benchmarks/rank_models/{task}.tsv"
    wildcard_constraints:
        task=names(SELECTION_TASKS),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.selection.ranking:rank_models"),
        query=lambda w: selection_model(w.task),
    message:
        "rank the models of the pool for {wildcards.task}"
    script:
        "../scripts/job.py"


rule retrieve_models:
    input:
        pool=lambda w: f"results/pools/{PLAN.config.retrievals[w.retrieval].pool}/{DELTA_ACTIVATIONS}",
        task=lambda w: f"results/pools/{retrieval_pool(w.retrieval)}/{DELTA_ACTIVATIONS}",
    output:
        models=report(
            "results/retrieval/{retrieval}/models.csv",
            caption="../resources/captions/retrieve_models.rst",
            category="Tables",
            subcategory="Models for a task",
            labels={"table": "{retrieval}", "format": "raw CSV"},
        ),
        page="results/retrieval/{retrieval}/models.md",
        figure=retrieval_figure(),
    log:
        "logs/retrieve_models/{retrieval}.log",
    benchmark:
        "benchmarks/retrieve_models/{retrieval}.tsv"
    wildcard_constraints:
        retrieval=names(PLAN.config.retrievals),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.selection.ranking:find_models"),
        queries=lambda w: [
            m.name for m in PLAN.pools[retrieval_pool(w.retrieval)].models
        ],
        name="{retrieval}",
    message:
        "look up the models for {wildcards.retrieval}"
    script:
        "../scripts/job.py"


rule answer_task:
    input:
        base=task_base_files,
        model=lambda w: PLAN.models[selection_model(w.task)].files(),
        tests="results/datasets/{task}/rest.jsonl",
    output:
        answered="results/selection/{task}/answers.csv",
    log:
        "logs/answer_task/{task}.log",
    benchmark:
        "benchmarks/answer_task/{task}.tsv"
    wildcard_constraints:
        task=names(SELECTION_TASKS),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, task_size, 2),
        runtime=minutes(30, task_size, 20),
    params:
        code=code("atlas.selection.composed_models:answer_task"),
        base_names=lambda w: PLAN.base_names(task_base(w)),
        dtype=lambda w: base_dtype(task_base(w)),
        rows=lambda w: task_selection(w).rows,
        new_tokens=lambda w: task_selection(w).new_tokens,
    message:
        "let the base answer {wildcards.task}"
    script:
        "../scripts/job.py"


rule compose_models:
    input:
        base=task_base_files,
        pool=lambda w: [
            file
            for m in PLAN.pools[task_selection(w).pool].models
            for file in m.files()
        ],
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
        "logs/compose_models/{task}-{strategy}-{seed}.log",
    benchmark:
        "benchmarks/compose_models/{task}-{strategy}-{seed}.tsv"
    wildcard_constraints:
        task=names(SELECTION_TASKS),
        strategy=names(["random", "similar", "similar+random"]),
        seed=r"\d+",
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(4000, task_size, 2),
        runtime=minutes(60, task_size, 60),
    params:
        code=code("atlas.selection.composed_models:compose"),
        name="{task}/{strategy}-{seed}",
        address=lambda w: list(PLAN.base_address(task_base(w))),
        base_names=lambda w: PLAN.base_names(task_base(w)),
        dtype=lambda w: base_dtype(task_base(w)),
        strategy="{strategy}",
        size=lambda w: task_selection(w).size,
        seed=lambda w: int(w.seed),
        search_settings=lambda w: task_selection(w).model_dump(
            include={"budget", "bound", "penalty"}
        ),
        merges=lambda w: task_selection(w).merges,
        density=lambda w: task_selection(w).density,
        rows=lambda w: task_selection(w).rows,
        new_tokens=lambda w: task_selection(w).new_tokens,
    message:
        "compose models for {wildcards.task} ({wildcards.strategy}, {wildcards.seed})"
    script:
        "../scripts/job.py"


rule selection_table:
    input:
        answers=lambda w: [entry["answers"] for entry in selection_runs(w)],
        published="resources/published_experiments.csv",
    output:
        table=table_file("selection"),
        page="results/tables/{table}.md",
        figure=table_figure("selection"),
    log:
        "logs/selection_table/{table}.log",
    benchmark:
        "benchmarks/selection_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("selection")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.selection.table:selection_table"),
        name="{table}",
        entries=lambda w: [
            {key: value for key, value in entry.items() if key != "answers"}
            for entry in selection_runs(w)
        ],
        sizes=lambda w: {
            name: {
                "models": PLAN.config.selections[name].size,
                "examples": PLAN.config.selections[name].examples,
            }
            for name in PLAN.config.tables[w.table].selections
        },
        settings=lambda w: PLAN.config.tables[w.table].published,
    message:
        "write the table {wildcards.table}"
    script:
        "../scripts/job.py"
