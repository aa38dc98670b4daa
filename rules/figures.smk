# Figures of a pool in one space, in SVG and PNG, and the map that they and the navigator show.
rule map_models:
    input:
        embeddings="results/pools/{pool}/{space}/embeddings.npz",
    output:
        points="results/pools/{pool}/{space}/map.csv",
    log:
        "logs/map_models/{pool}-{space}.log",
    benchmark:
        "benchmarks/map_models/{pool}-{space}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, pool_vectors, 3),
        runtime=minutes(60, pool_vectors, 120),
        gpu=0,
    params:
        code=code("atlas.clusters.maps:map_models"),
    message:
        "map {wildcards.pool} by {wildcards.space}"
    script:
        "../scripts/job.py"


rule draw_figures:
    input:
        embeddings="results/pools/{pool}/{space}/embeddings.npz",
        points="results/pools/{pool}/{space}/map.csv",
    output:
        tsne=figure("tsne", "t-SNE", "Maps"),
        similarity=figure("similarity", "heat map", "Similarities"),
        silhouette=figure("silhouette", "silhouette", "Silhouettes"),
    log:
        "logs/draw_figures/{pool}-{space}.log",
    benchmark:
        "benchmarks/draw_figures/{pool}-{space}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, pool_vectors, 3),
        runtime=minutes(30, pool_vectors, 10),
        gpu=0,
    params:
        code=code("atlas.figures.pools:draw"),
        pool="{pool}",
        palette=PLAN.config.figures.palette,
        markers=PLAN.config.figures.markers,
    message:
        "draw {wildcards.pool} by {wildcards.space}"
    script:
        "../scripts/job.py"
