# Notebooks: run from the stored files, kept executed beside the logs.
rule analyse:
    input:
        embeddings=pool_embeddings,
        silhouette="results/pools/{pool}/silhouette.csv",
        neighbours="results/pools/{pool}/neighbours.csv",
        # The page itself, a change in which runs it again, and the maps that it shows.
        companions=lambda w: ["notebooks/analysis.ipynb", *pool_maps(w)],
    output:
        analysis=pool_table("analysis", "Analysis"),
    log:
        "logs/analyse/{pool}.log",
        notebook="logs/analyse/{pool}.ipynb",
    benchmark:
        "benchmarks/analyse/{pool}.tsv"
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
        code=code("atlas.clusters.analysis:analyse"),
    message:
        "analyse {wildcards.pool} in a notebook"
    notebook:
        "../notebooks/analysis.ipynb"
