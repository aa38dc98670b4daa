# Tables: tidy .csv for programs, .md laid out as published.
rule main_table:
    input:
        silhouettes=lambda w: [
            f"results/pools/{pool.name}/silhouette.csv"
            for pool in PLAN.table_pools(w.table)
        ],
        published="resources/published.csv",
        # Drawn with the table, not read by it: a new colour leaves the table as it is.
        companions=ancient(
            lambda w: pool_figures(PLAN.table_pools(w.table))
            + [
                f"results/pools/{pool.name}/{name}"
                for pool in PLAN.table_pools(w.table)
                for name in ("neighbours.csv", "navigator.html")
            ]
        ),
    output:
        table=table_file("main"),
        page="results/tables/{table}.md",
    log:
        "logs/main_table/{table}.log",
    benchmark:
        "benchmarks/main_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("main")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.main.table:main_table"),
        pools=lambda w: [pool.name for pool in PLAN.table_pools(w.table)],
        bases=lambda w: {pool.name: pool.bases for pool in PLAN.table_pools(w.table)},
        columns=lambda w: {
            pool: family
            for pool, family in PLAN.config.tables[w.table].published.items()
            if pool in PLAN.config.tables[w.table].pools
        },
    message:
        "write the {wildcards.table} table"
    script:
        "../scripts/job.py"
