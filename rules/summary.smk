# Summary: tables as pages to read, and what they say in sentences.
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
            table=names(PLAN.tables_of(kind)),
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


rule show_retrieval:
    input:
        text="results/retrieval/{retrieval}/models.md",
        template="resources/pages/page.html.jinja",
    output:
        page=report(
            "results/retrieval/{retrieval}/models.html",
            caption="../resources/captions/retrieve_models.rst",
            category="Tables",
            subcategory="Models for a task",
            labels={"table": "{retrieval}", "format": "HTML page"},
        ),
    log:
        "logs/show_retrieval/{retrieval}.log",
    benchmark:
        "benchmarks/show_retrieval/{retrieval}.tsv"
    wildcard_constraints:
        retrieval=names(PLAN.config.retrievals),
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
        "show the models for {wildcards.retrieval} as a page"
    script:
        "../scripts/job.py"


rule write_summary:
    input:
        tables=[f"results/tables/{table}.csv" for table in PLAN.summary],
        beside=[
            file
            for table in PLAN.summary
            for file in PLAN.config.tables[table].beside(table).values()
        ],
        # Made with the summary, not read by it: a report of it has the tables as pages.
        companions=ancient([f"results/tables/{table}.html" for table in PLAN.summary]),
    output:
        page=report(
            "results/summary.md",
            caption="../resources/captions/summary.rst",
            category="Findings",
            subcategory="Summary",
            labels={"what": "Summary", "format": "Markdown"},
        ),
    log:
        "logs/write_summary.log",
    benchmark:
        "benchmarks/write_summary.tsv"
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
        gpu=0,
    params:
        code=code("atlas.report.summary:write_summary"),
        entries=[
            {
                "name": table,
                "kind": PLAN.config.tables[table].kind,
                "beside": list(PLAN.config.tables[table].beside(table)),
            }
            for table in PLAN.summary
        ],
        pools=summary_pools(),
        seeds=PLAN.config.seeds,
    message:
        "write what the tables say"
    script:
        "../scripts/job.py"


rule show_summary:
    input:
        text="results/summary.md",
        template="resources/pages/page.html.jinja",
    output:
        page=report(
            "results/summary.html",
            caption="../resources/captions/summary.rst",
            category="Findings",
            subcategory="Summary",
            labels={"what": "Summary", "format": "HTML page"},
        ),
    log:
        "logs/show_summary.log",
    benchmark:
        "benchmarks/show_summary.tsv"
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
        "show the summary as a page"
    script:
        "../scripts/job.py"
