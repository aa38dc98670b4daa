# Datasets: from raw rows to splits, and to the rows that one model is trained on.
rule make_split:
    input:
        raw="results/sources/datasets/{dataset}.jsonl",
    output:
        rows="results/datasets/{dataset}/{split}{variant}.jsonl",
        counts="results/datasets/{dataset}/{split}{variant}.counts.json",
    log:
        "logs/make_split/{dataset}-{split}{variant}.log",
    benchmark:
        "benchmarks/make_split/{dataset}-{split}{variant}.tsv"
    group:
        packed("datasets")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.datasets.splits:make_split"),
        dataset="{dataset}",
        split="{split}",
        variant=lambda w: w.variant.removeprefix("+") or "own",
        kind=lambda w: PLAN.config.datasets[w.dataset].template.kind(),
        columns=lambda w: PLAN.config.datasets[w.dataset].columns,
        template=lambda w: PLAN.config.datasets[w.dataset].template.model_dump(),
        region=lambda w: PLAN.config.datasets[w.dataset].splits.region,
        parts=lambda w: PLAN.config.datasets[w.dataset].splits.parts,
        most=lambda w: PLAN.config.datasets[w.dataset].splits.most,
        cut=lambda w: PLAN.config.datasets[w.dataset].cut,
    message:
        "cut {wildcards.dataset} into {wildcards.split}{wildcards.variant}"
    script:
        "../scripts/job.py"


rule prepare_rows:
    input:
        splits=lambda w: [
            PLAN.split_file(d, PLAN.models[w.model].variant)
            for d in PLAN.models[w.model].data
        ],
        tokenizer=lambda w: expand(
            "results/sources/bases/{base}/{file}",
            base=PLAN.models[w.model].base,
            file=("tokenizer.json", "tokenizer_config.json", "config.json"),
        ),
        raw=training_problems,
    output:
        rows="results/models/{model}/rows.jsonl",
        counts="results/models/{model}/rows.counts.json",
    log:
        "logs/prepare_rows/{model}.log",
    benchmark:
        "benchmarks/prepare_rows/{model}.tsv"
    wildcard_constraints:
        model=names(models_where(trained=True), among=PLAN.models),
    group:
        packed("rows")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.datasets.training_rows:prepare_rows"),
        model="{model}",
        objective=lambda w: PLAN.recipe(w.model).objective,
        data=training_data,
        total=lambda w: PLAN.recipe(w.model).rows,
        seed=lambda w: PLAN.models[w.model].seed,
        length=lambda w: {"policy": PLAN.recipe(w.model).length.policy},
        room=completion_room,
    message:
        "prepare the rows of {wildcards.model}"
    script:
        "../scripts/job.py"
