# Perplexity: what continued pre-training did to text that it was not trained on.
rule perplexity:
    input:
        rows="results/models/{model}/rows.jsonl",
        base=model_base_files,
        model=lambda w: PLAN.models[w.model].files(),
        texts=lambda w: [
            f"results/datasets/{d.dataset}/rest.jsonl"
            for d in PLAN.models[w.model].data
        ],
    output:
        table=report(
            "results/models/{model}/perplexity.csv",
            caption="../resources/captions/perplexity.rst",
            category="Tables",
            subcategory="Perplexity on held-out text",
            labels={"table": "{model}", "format": "raw CSV"},
        ),
    log:
        "logs/perplexity/{model}.log",
    benchmark:
        "benchmarks/perplexity/{model}.tsv"
    wildcard_constraints:
        model=names(PLAN.trained_on_text),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, model_size, 2),
        runtime=minutes(60, model_size, 10),
    params:
        code=code("atlas.evaluation.perplexity:held_out_perplexity"),
        name="{model}",
        base_names=lambda w: PLAN.base_names(PLAN.models[w.model].base),
        dtype=model_dtype,
        documents=PLAN.config.perplexity.documents,
        max_tokens=PLAN.config.perplexity.max_tokens,
    message:
        "measure the perplexity of {wildcards.model} on held-out text"
    script:
        "../scripts/job.py"
