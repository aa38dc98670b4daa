# Evaluations: held-out texts, conversations and questions, for one checkpoint of a table.
rule evaluate:
    input:
        base=lambda w: PLAN.base_files(PLAN.checkpoint(w.checkpoint)[0]),
        model=lambda w: (
            PLAN.checkpoint(w.checkpoint)[1].files()
            if PLAN.checkpoint(w.checkpoint)[1]
            else []
        ),
        texts=held_out("texts"),
        chats=held_out("chats"),
        questions=lambda w: PLAN.config.tables[w.table].questions,
    output:
        evaluation="results/evaluations/{table}/{checkpoint}.json",
    log:
        "logs/evaluate/{table}/{checkpoint}.log",
    benchmark:
        "benchmarks/evaluate/{table}/{checkpoint}.tsv"
    wildcard_constraints:
        table=names(table for table in PLAN.config.tables if PLAN.checkpoints(table)),
        checkpoint=names(PLAN.evaluated),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, checkpoint_size, 2),
        runtime=minutes(60, checkpoint_size, 20),
    params:
        code=code("atlas.evaluation.checkpoints:evaluate"),
        name="{checkpoint}",
        base_names=lambda w: PLAN.base_names(PLAN.checkpoint(w.checkpoint)[0]),
        dtype=lambda w: base_dtype(PLAN.checkpoint(w.checkpoint)[0]),
        documents=PLAN.config.perplexity.documents,
        max_tokens=PLAN.config.perplexity.max_tokens,
        new_tokens=lambda w: PLAN.config.tables[w.table].new_tokens,
    message:
        "evaluate {wildcards.checkpoint} for {wildcards.table}"
    script:
        "../scripts/job.py"
