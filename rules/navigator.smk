# Navigator: a pool as one offline page, with its maps, neighbours, cards and lineage.
rule navigator:
    input:
        maps=pool_maps,
        neighbours="results/pools/{pool}/neighbours.csv",
        silhouette="results/pools/{pool}/silhouette.csv",
        cards=pool_cards,
        report=pool_report,
        bases=lambda w: [PLAN.base_files(b)[0] for b in PLAN.pools[w.pool].bases],
        template="resources/navigator/page.html.jinja",
        style="resources/navigator/style.css",
        scripts=[f"resources/navigator/{name}.js" for name in NAVIGATOR_SCRIPTS],
    output:
        page=report(
            "results/pools/{pool}/navigator.html",
            caption="../resources/captions/navigator.rst",
            category="Pool {pool}",
            subcategory="Navigator",
            labels={"space": "all spaces", "figure": "navigator"},
        ),
    log:
        "logs/navigator/{pool}.log",
    benchmark:
        "benchmarks/navigator/{pool}.tsv"
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.navigator.page:write_navigator"),
        pool="{pool}",
        models=navigator_models,
        datasets=navigator_datasets,
        spaces=lambda w: PLAN.pools[w.pool].settings.spaces,
        palette=PLAN.config.figures.palette,
        markers=PLAN.config.figures.markers,
    message:
        "write the navigator of {wildcards.pool}"
    script:
        "../scripts/job.py"
