# Experiments: one rule per kind of table; which pools they read is a matter of configuration.
rule silhouettes_table:
    input:
        silhouettes=table_pool_files("silhouette.csv"),
        perplexities=table_perplexities,
        published="resources/published_experiments.csv",
    output:
        table=table_file("silhouettes"),
        page="results/tables/{table}.md",
        figure=table_figure("silhouettes"),
    log:
        "logs/silhouettes_table/{table}.log",
    benchmark:
        "benchmarks/silhouettes_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("silhouettes")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.silhouettes.table:silhouettes_table"),
        name="{table}",
        pools=table_names,
        spaces=lambda w: PLAN.config.tables[w.table].spaces,
        settings=table_settings,
    message:
        "write the table {wildcards.table}"
    script:
        "../scripts/job.py"


rule additive_table:
    input:
        embeddings=table_pool_files("delta_activations/embeddings.npz"),
        published="resources/published_experiments.csv",
    output:
        table=table_file("additive"),
        page="results/tables/{table}.md",
        figure=table_figure("additive"),
    log:
        "logs/additive_table/{table}.log",
    benchmark:
        "benchmarks/additive_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("additive")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.additive.table:additive_table"),
        name="{table}",
        mixtures=table_mixtures,
    message:
        "compare mixtures with their parts in {wildcards.table}"
    script:
        "../scripts/job.py"


rule retrieval_table:
    input:
        pools=table_pool_files("delta_activations/embeddings.npz"),
        queries=table_pool_files("delta_activations/embeddings.npz", queries=True),
        published="resources/published_experiments.csv",
    output:
        table=table_file("retrieval"),
        page="results/tables/{table}.md",
        figure=table_figure("retrieval"),
    log:
        "logs/retrieval_table/{table}.log",
    benchmark:
        "benchmarks/retrieval_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("retrieval")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.retrieval.table:retrieval_table"),
        name="{table}",
        names=table_names,
        settings=table_settings,
    message:
        "look models up for {wildcards.table}"
    script:
        "../scripts/job.py"


rule outputs_table:
    input:
        sentences=lambda w: [
            f"results/pools/{pool.name}/shards/{shard}.sentences.jsonl"
            for pool in PLAN.table_pools(w.table)
            for shard in pool.shards
        ],
    output:
        table=table_file("outputs"),
        page="results/tables/{table}.md",
    log:
        "logs/outputs_table/{table}.log",
    benchmark:
        "benchmarks/outputs_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("outputs")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.outputs.table:outputs_table"),
        models=table_models,
    message:
        "gather what the models write in {wildcards.table}"
    script:
        "../scripts/job.py"


rule spaces_table:
    input:
        silhouettes=table_pool_files("silhouette.csv"),
        curves=table_pool_files("curves.csv"),
    output:
        table=table_file("spaces"),
        page="results/tables/{table}.md",
        figure=table_figure("spaces"),
    log:
        "logs/spaces_table/{table}.log",
    benchmark:
        "benchmarks/spaces_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("spaces")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.spaces.table:spaces_table"),
        pools=table_names,
    message:
        "write the table {wildcards.table}"
    script:
        "../scripts/job.py"


rule instruct_table:
    input:
        evaluations=table_evaluations,
    output:
        table=table_file("instruct"),
        page="results/tables/{table}.md",
    log:
        "logs/instruct_table/{table}.log",
    benchmark:
        "benchmarks/instruct_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("instruct")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.instruct.table:instruct_table"),
        entries=lambda w: PLAN.checkpoints(w.table),
    message:
        "put the checkpoints of {wildcards.table} side by side"
    script:
        "../scripts/job.py"


rule temporal_table:
    input:
        evaluations=table_evaluations,
        embeddings=lambda w: [file for _, file in table_embeddings(w)],
    output:
        table=table_file("temporal"),
        distances=report(
            "results/tables/{table}_distances.csv",
            caption="../resources/captions/temporal_distances.rst",
            category="Tables",
            subcategory="Distances",
            labels=table_labels(format="raw CSV"),
        ),
        page="results/tables/{table}.md",
        figure=table_figure("temporal"),
    log:
        "logs/temporal_table/{table}.log",
    benchmark:
        "benchmarks/temporal_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("temporal")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.temporal.table:temporal_table"),
        name="{table}",
        entries=lambda w: PLAN.checkpoints(w.table),
        pools=lambda w: [pool for pool, _ in table_embeddings(w)],
        pairs=table_pairs,
    message:
        "compare the periods of {wildcards.table}"
    script:
        "../scripts/job.py"
