# Experiments: one rule per kind of table; which pools they read is a matter of configuration.
# Tidy .csv for programs, .md laid out as published.
use rule job as main_table with:
    input:
        silhouettes=lambda w: [
            f"results/pools/{pool.name}/silhouette.csv" for pool in PLAN.table_pools(w.table)
        ],
        published=workflow_file("resources/published.csv"),
        # Drawn with the table, not read by it: a new colour leaves the table as it is.
        companions=ancient(lambda w: tables.companions(PLAN, w.table)),
    output:
        **table_files("main"),
    log:
        "logs/main_table/{table}.log",
    benchmark:
        "benchmarks/main_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("main")),
    params:
        code=code("atlas.experiments.main.table:main_table"),
        pools=lambda w: [pool.name for pool in PLAN.table_pools(w.table)],
        bases=lambda w: {pool.name: pool.bases for pool in PLAN.table_pools(w.table)},
        columns=lambda w: tables.published(PLAN, w.table),
    message:
        "write the {wildcards.table} table"


use rule job as silhouettes_table with:
    input:
        silhouettes=of_pools("silhouette.csv"),
        perplexities=lambda w: tables.perplexities(PLAN, w.table),
        published=workflow_file("resources/published_experiments.csv"),
    output:
        **table_files("silhouettes"),
    log:
        "logs/silhouettes_table/{table}.log",
    benchmark:
        "benchmarks/silhouettes_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("silhouettes")),
    params:
        code=code("atlas.experiments.silhouettes.table:silhouettes_table"),
        name="{table}",
        pools=repeated_pools,
        spaces=lambda w: table_of(w).spaces,
        settings=lambda w: tables.published(PLAN, w.table),
    message:
        "write the table {wildcards.table}"


use rule job as additive_table with:
    input:
        embeddings=of_pools("delta_activations/embeddings.npz"),
        published=workflow_file("resources/published_experiments.csv"),
    output:
        **table_files("additive"),
    log:
        "logs/additive_table/{table}.log",
    benchmark:
        "benchmarks/additive_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("additive")),
    params:
        code=code("atlas.experiments.additive.table:additive_table"),
        name="{table}",
        mixtures=lambda w: tables.mixtures(PLAN, w.table),
    message:
        "compare mixtures with their parts in {wildcards.table}"


use rule job as retrieval_table with:
    input:
        pools=of_pools("delta_activations/embeddings.npz"),
        queries=of_pools("delta_activations/embeddings.npz", queries=True),
        published=workflow_file("resources/published_experiments.csv"),
    output:
        **table_files("retrieval"),
    log:
        "logs/retrieval_table/{table}.log",
    benchmark:
        "benchmarks/retrieval_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("retrieval")),
    params:
        code=code("atlas.experiments.retrieval.table:retrieval_table"),
        name="{table}",
        names=repeated_pools,
        settings=lambda w: tables.published(PLAN, w.table),
    message:
        "look models up for {wildcards.table}"


use rule job as outputs_table with:
    input:
        sentences=lambda w: tables.sentences(PLAN, w.table),
    output:
        **table_files("outputs"),
    log:
        "logs/outputs_table/{table}.log",
    benchmark:
        "benchmarks/outputs_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("outputs")),
    params:
        code=code("atlas.experiments.outputs.table:outputs_table"),
        models=lambda w: tables.models(PLAN, w.table),
    message:
        "gather what the models write in {wildcards.table}"


use rule job as spaces_table with:
    input:
        silhouettes=of_pools("silhouette.csv"),
        curves=of_pools("curves.csv"),
    output:
        **table_files("spaces"),
    log:
        "logs/spaces_table/{table}.log",
    benchmark:
        "benchmarks/spaces_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("spaces")),
    params:
        code=code("atlas.experiments.spaces.table:spaces_table"),
        pools=repeated_pools,
    message:
        "write the table {wildcards.table}"


use rule job as instruct_table with:
    input:
        evaluations=lambda w: tables.evaluations(PLAN, w.table),
    output:
        **table_files("instruct"),
    log:
        "logs/instruct_table/{table}.log",
    benchmark:
        "benchmarks/instruct_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("instruct")),
    params:
        code=code("atlas.experiments.instruct.table:instruct_table"),
        entries=lambda w: PLAN.checkpoints(w.table),
    message:
        "put the checkpoints of {wildcards.table} side by side"


use rule job as temporal_table with:
    input:
        evaluations=lambda w: tables.evaluations(PLAN, w.table),
        embeddings=lambda w: [file for _, file in tables.embeddings(PLAN, w.table)],
    output:
        table=table_file("temporal"),
        distances=shown(
            "results/tables/{table}_distances.csv",
            caption="temporal_distances",
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
        table=constraint(PLAN.tables_of("temporal")),
    params:
        code=code("atlas.experiments.temporal.table:temporal_table"),
        name="{table}",
        entries=lambda w: PLAN.checkpoints(w.table),
        pools=lambda w: [pool for pool, _ in tables.embeddings(PLAN, w.table)],
        pairs=lambda w: tables.pairs(PLAN, w.table),
    message:
        "compare the periods of {wildcards.table}"


use rule job as selection_table with:
    input:
        answers=lambda w: tables.answers(PLAN, w.table),
        published=workflow_file("resources/published_experiments.csv"),
    output:
        **table_files("selection"),
    log:
        "logs/selection_table/{table}.log",
    benchmark:
        "benchmarks/selection_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("selection")),
    params:
        code=code("atlas.experiments.selection.table:selection_table"),
        name="{table}",
        entries=lambda w: tables.selection_runs(PLAN, w.table),
        sizes=lambda w: tables.selection_sizes(PLAN, w.table),
        settings=lambda w: table_of(w).published,
    message:
        "write the table {wildcards.table}"


use rule job as weight_space_table with:
    input:
        **{
            kind: lambda w, kind=kind: [
                f"results/comparisons/{name}/{kind}.csv" for name in table_of(w).comparisons
            ]
            for kind in ("weights", "drift")
        },
    output:
        **table_files("weight_space"),
    log:
        "logs/weight_space_table/{table}.log",
    benchmark:
        "benchmarks/weight_space_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("weight_space")),
    params:
        code=code("atlas.experiments.weight_space.table:weight_space_table"),
        name="{table}",
        comparisons=lambda w: tables.comparisons(PLAN, w.table),
    message:
        "write the table of weight space {wildcards.table}"


use rule job as geometry_table with:
    input:
        tests=lambda w: [
            f"results/comparisons/{name}/tests.csv" for name in table_of(w).comparisons
        ],
        training=lambda w: [
            f"results/models/{model}/training.csv" for model in tables.rewarded(PLAN, w.table)
        ],
        published=workflow_file("resources/published_experiments.csv"),
        # Drawn with the table, not read by it.
        companions=ancient(lambda w: tables.companions(PLAN, w.table)),
    output:
        **table_files("geometry"),
    log:
        "logs/geometry_table/{table}.log",
    benchmark:
        "benchmarks/geometry_table/{table}.tsv"
    wildcard_constraints:
        table=constraint(PLAN.tables_of("geometry")),
    params:
        code=code("atlas.experiments.geometry.table:geometry_table"),
        name="{table}",
        comparisons=lambda w: tables.comparisons(PLAN, w.table),
        settings=lambda w: tables.published(PLAN, w.table),
    message:
        "write the table of geometry {wildcards.table}"
