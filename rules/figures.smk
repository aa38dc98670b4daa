# Figures of a pool in one space, in SVG and PNG.
rule draw_figures:
    input:
        embeddings="results/pools/{pool}/{space}/embeddings.npz",
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
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.figures:draw"),
        pool="{pool}",
        palette=PLAN.config.figures.palette,
        markers=PLAN.config.figures.markers,
    message:
        "draw {wildcards.pool} by {wildcards.space}"
    script:
        "../scripts/draw_figures.py"
