# Report: tables as pages to read, and what they say in sentences.
for kind in TABLE_KINDS:

    rule:
        name:
            f"show_{kind}_table"
        input:
            text="results/tables/{table}.md",
            template="resources/pages/page.html.jinja",
        output:
            page=table_file(kind, "results/tables/{table}.html", "HTML page"),
        log:
            f"logs/show_{kind}_table/{{table}}.log",
        benchmark:
            f"benchmarks/show_{kind}_table/{{table}}.tsv"
        wildcard_constraints:
            table=constraint(PLAN.tables_of(kind)),
        conda:
            "../envs/atlas.yaml"
        threads: 1
        resources:
            mem_mb=memory(2000),
            runtime=minutes(10),
            gpu=0,
        params:
            code=code("atlas.report.pages:write_page"),
        message:
            "show the table {wildcards.table} as a page"
        script:
            "../scripts/job.py"


use rule job as show_retrieval with:
    input:
        text="results/retrieval/{retrieval}/models.md",
        template="resources/pages/page.html.jinja",
    output:
        page=shown(
            "results/retrieval/{retrieval}/models.html",
            caption="retrieve_models",
            category="Tables",
            subcategory="Models for a task",
            labels={"table": "{retrieval}", "format": "HTML page"},
        ),
    log:
        "logs/show_retrieval/{retrieval}.log",
    benchmark:
        "benchmarks/show_retrieval/{retrieval}.tsv"
    wildcard_constraints:
        retrieval=constraint(PLAN.config.retrievals),
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
        gpu=0,
    params:
        code=code("atlas.report.pages:write_page"),
    message:
        "show the models for {wildcards.retrieval} as a page"


use rule job as write_summary with:
    input:
        tables=[f"results/tables/{table}.csv" for table in PLAN.summary],
        pool_tables=[
            f"results/pools/{pool}/{name}"
            for table in PLAN.summary
            if PLAN.config.tables[table].kind == "main"
            for pool in PLAN.config.tables[table].pools
            for name in ("silhouette.csv", "neighbours.csv")
        ],
        distances=[
            f"results/tables/{table}_distances.csv"
            for table in PLAN.summary
            if PLAN.config.tables[table].kind == "temporal"
        ],
        # Made with the summary, not read by it: a report of it has the tables as pages.
        companions=ancient([f"results/tables/{table}.html" for table in PLAN.summary]),
    output:
        page=shown(
            "results/summary.md",
            caption="summary",
            category="Findings",
            subcategory="Summary",
            labels={"what": "Summary", "format": "Markdown"},
        ),
    log:
        "logs/write_summary.log",
    benchmark:
        "benchmarks/write_summary.tsv"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
        gpu=0,
    params:
        code=code("atlas.report.summary:write_summary"),
        entries=[{"name": table, "kind": PLAN.config.tables[table].kind} for table in PLAN.summary],
        pools=pools.summary_pools(PLAN),
        seeds=PLAN.config.seeds,
    message:
        "write what the tables say"


use rule job as show_summary with:
    input:
        text="results/summary.md",
        template="resources/pages/page.html.jinja",
    output:
        page=shown(
            "results/summary.html",
            caption="summary",
            category="Findings",
            subcategory="Summary",
            labels={"what": "Summary", "format": "HTML page"},
        ),
    log:
        "logs/show_summary.log",
    benchmark:
        "benchmarks/show_summary.tsv"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
        gpu=0,
    params:
        code=code("atlas.report.pages:write_page"),
    message:
        "show the summary as a page"
