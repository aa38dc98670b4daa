# Report: tables as pages to read, and what they say in sentences.
for kind in TABLE_KINDS:

    rule:
        name:
            f"show_{kind}_table"
        input:
            text="results/tables/{table}.md",
            template=workflow_file("resources/pages/page.html.jinja"),
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
        resources:
            **small(10),
        params:
            code=code("atlas.report.pages:write_page"),
        message:
            "show the table {wildcards.table} as a page"
        script:
            "../scripts/job.py"


use rule job as show_retrieval with:
    input:
        text="results/retrieval/{retrieval}/models.md",
        template=workflow_file("resources/pages/page.html.jinja"),
    output:
        page=other_table(
            "results/retrieval/{retrieval}/models.html",
            "retrieve_models",
            "Models for a task",
            "{retrieval}",
            "HTML page",
        ),
    log:
        "logs/show_retrieval/{retrieval}.log",
    benchmark:
        "benchmarks/show_retrieval/{retrieval}.tsv"
    wildcard_constraints:
        retrieval=constraint(PLAN.config.retrievals),
    resources:
        **small(10),
    params:
        code=code("atlas.report.pages:write_page"),
    message:
        "show the models for {wildcards.retrieval} as a page"


use rule job as write_summary with:
    input:
        tables=[f"results/tables/{table}.csv" for table in PLAN.summary],
        beside=summary.beside(PLAN),
        # Made with the summary, not read by it: a report of it has the tables as pages, and the text
        # names the figures.
        companions=ancient(
            [f"results/tables/{table}.html" for table in PLAN.summary] + summary.figures(PLAN)
        ),
    output:
        page=summary_file("results/summary.md", "Markdown"),
    log:
        "logs/write_summary.log",
    benchmark:
        "benchmarks/write_summary.tsv"
    resources:
        **small(10),
    params:
        code=code("atlas.report.summary:write_summary"),
        entries=summary.entries(PLAN),
        pools=summary.pools(PLAN),
        seeds=PLAN.config.seeds,
        configuration=summary.configuration(PLAN),
    message:
        "write what the tables say"


use rule show_retrieval as show_summary with:
    input:
        text="results/summary.md",
        figures=summary.figures(PLAN),
        template=workflow_file("resources/pages/page.html.jinja"),
    output:
        page=summary_file("results/summary.html", "HTML page"),
    log:
        "logs/show_summary.log",
    benchmark:
        "benchmarks/show_summary.tsv"
    message:
        "show the summary as a page"
