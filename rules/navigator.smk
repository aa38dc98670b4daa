# Navigator: a pool as one offline page, with its maps, neighbours, cards and lineage.
use rule job as navigator with:
    input:
        maps=of_spaces("map.csv"),
        embeddings=lambda w: (
            of_spaces("embeddings.npz")(w) if len(pool_of(w).models) <= ALL_SIMILAR else []
        ),
        neighbours="results/pools/{pool}/neighbours.csv",
        silhouette="results/pools/{pool}/silhouette.csv",
        cards=gated(
            lambda w: [
                f"{model.folder}/README.md"
                for model in pool_of(w).models
                if pool_of(w).settings.keep_weights
            ],
            shown=True,
        ),
        report=pool_report,
        training=lambda w: [
            f"{model.folder}/training.csv" for model in pool_of(w).models if model.trained
        ],
        counts=lambda w: [
            f"{model.folder}/rows.counts.json" for model in pool_of(w).models if model.trained
        ],
        bases=lambda w: [PLAN.base_files(base)[0] for base in pool_of(w).bases],
        template=workflow_file("resources/navigator/page.html.jinja"),
        style=workflow_file("resources/navigator/style.css"),
        # In the order in which they stand on the page.
        scripts=[
            workflow_file(f"resources/navigator/{part}.js")
            for part in (
                "data",
                "looks",
                "places",
                "draw",
                "map",
                "columns",
                "list",
                "details",
                "take",
                "page",
            )
        ],
    output:
        page=shown(
            "results/pools/{pool}/navigator.html",
            caption="navigator",
            category="Pool {pool}",
            subcategory="Navigator",
            labels={"space": "all spaces", "figure": "navigator"},
        ),
    log:
        "logs/navigator/{pool}.log",
    benchmark:
        "benchmarks/navigator/{pool}.tsv"
    params:
        code=code("atlas.navigator.page:write_navigator"),
        pool="{pool}",
        models=lambda w: members.navigator_models(PLAN, w.pool),
        datasets=lambda w: members.navigator_datasets(PLAN, w.pool),
        spaces=lambda w: pool_of(w).settings.spaces,
        palette=PLAN.config.figures.palette,
        looks=lambda w: PLAN.looks_of(w.pool),
    message:
        "write the navigator of {wildcards.pool}"
