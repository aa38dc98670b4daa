# Datasets: from raw rows to splits, and to the rows that one model is trained on.
use rule job as make_split with:
    input:
        raw="results/sources/datasets/{dataset}.jsonl",
    output:
        rows="results/datasets/{dataset}/{split}{variant}.jsonl",
        counts="results/datasets/{dataset}/{split}{variant}.counts.json",
    log:
        "logs/make_split/{dataset}/{split}{variant}.log",
    benchmark:
        "benchmarks/make_split/{dataset}/{split}{variant}.tsv"
    priority: EARLY
    group:
        packed("datasets")
    params:
        **said_of(lambda w: dataset_of(w).splits, "region", "parts", "most"),
        code=code("atlas.datasets.splits:make_split"),
        dataset="{dataset}",
        split="{split}",
        variant=lambda w: w.variant.removeprefix("+") or "own",
        kind=lambda w: dataset_of(w).template.kind(),
        columns=lambda w: dataset_of(w).columns,
        template=lambda w: dataset_of(w).template.model_dump(),
        cut=lambda w: dataset_of(w).cut,
    message:
        "cut {wildcards.dataset} into {wildcards.split}{wildcards.variant}"


use rule job as prepare_rows with:
    input:
        splits=lambda w: [
            PLAN.split_file(d, PLAN.models[w.model].variant) for d in PLAN.models[w.model].data
        ],
        tokenizer=lambda w: [
            f"results/sources/bases/{base_of(w)}/{name}"
            for name in (*TOKENIZER_FILES, "config.json")
        ],
        raw=lambda w: training.graded_rows(PLAN, w.model),
    output:
        rows="results/models/{model}/rows.jsonl",
        counts="results/models/{model}/rows.counts.json",
    log:
        "logs/prepare_rows/{model}.log",
    benchmark:
        "benchmarks/prepare_rows/{model}.tsv"
    wildcard_constraints:
        model=constraint(models_where(trained=True), among=PLAN.models),
    priority: EARLY
    group:
        packed("rows")
    params:
        code=code("atlas.datasets.training_rows:prepare_rows"),
        model="{model}",
        objective=lambda w: PLAN.recipe(w.model).objective,
        data=lambda w: training.row_params(PLAN, w.model),
        total=lambda w: PLAN.recipe(w.model).rows,
        seed=lambda w: PLAN.models[w.model].seed,
        length=lambda w: training.length_params(PLAN, w.model),
        room=lambda w: training.completion_room(PLAN, w.model),
    message:
        "prepare the rows of {wildcards.model}"
