# Evaluation: what models do with text, conversations and questions that they were not trained on.
use rule job as perplexity with:
    input:
        rows="results/models/{model}/rows.jsonl",
        base=base_files,
        model=model_files,
        texts=lambda w: [
            f"results/datasets/{d.dataset}/rest.jsonl" for d in PLAN.models[w.model].data
        ],
    output:
        table=other_table(
            "results/models/{model}/perplexity.csv",
            "perplexity",
            "Perplexity on held-out text",
            "{model}",
        ),
    log:
        "logs/perplexity/{model}.log",
    benchmark:
        "benchmarks/perplexity/{model}.tsv"
    wildcard_constraints:
        model=constraint(PLAN.trained_on_text),
    resources:
        **on_gpu(memory(2500, base_size, 2), minutes(60, base_size, 10)),
    params:
        code=code("atlas.evaluation.perplexity:held_out_perplexity"),
        name="{model}",
        base_names=base_names,
        dtype=base_dtype,
        documents=PLAN.config.perplexity.documents,
        max_tokens=PLAN.config.perplexity.max_tokens,
    message:
        "measure the perplexity of {wildcards.model} on held-out text"


use rule perplexity as evaluate with:
    input:
        base=base_files,
        model=model_files,
        texts=lambda w: [f"results/datasets/{d}/rest.jsonl" for d in table_of(w).texts],
        chats=lambda w: [f"results/datasets/{d}/rest.jsonl" for d in table_of(w).chats],
        questions=lambda w: question_file(table_of(w).questions),
    output:
        evaluation="results/evaluations/{table}/{checkpoint}.json",
    log:
        "logs/evaluate/{table}/{checkpoint}.log",
    benchmark:
        "benchmarks/evaluate/{table}/{checkpoint}.tsv"
    wildcard_constraints:
        table=constraint(table for table in PLAN.config.tables if PLAN.checkpoints(table)),
        checkpoint=constraint(PLAN.evaluated),
    resources:
        **on_gpu(memory(2500, base_size, 2), minutes(60, base_size, 20)),
    params:
        code=code("atlas.evaluation.checkpoints:evaluate"),
        name="{checkpoint}",
        new_tokens=lambda w: table_of(w).new_tokens,
    message:
        "evaluate {wildcards.checkpoint} for {wildcards.table}"
