# Clusters: silhouettes by domain, nearest neighbours, maps, layers, and a notebook that shows them.
use rule job as silhouettes with:
    input:
        embeddings=of_spaces("embeddings.npz"),
    output:
        silhouette=pool_table("silhouette", "Silhouettes", "silhouettes"),
    log:
        "logs/silhouettes/{pool}.log",
    benchmark:
        "benchmarks/silhouettes/{pool}.tsv"
    group:
        packed("pool")
    resources:
        **on_cpu(memory(2000, pool_vectors, 3), minutes(30, pool_vectors, 60)),
    params:
        code=code("atlas.clusters.silhouettes:silhouettes"),
    message:
        "measure how {wildcards.pool} clusters"


use rule job as neighbours with:
    input:
        embeddings=of_spaces("embeddings.npz"),
    output:
        neighbours=pool_table("neighbours", "Neighbours"),
    log:
        "logs/neighbours/{pool}.log",
    benchmark:
        "benchmarks/neighbours/{pool}.tsv"
    group:
        packed("pool")
    threads: pool_threads
    resources:
        **on_cpu(memory(2000, pool_vectors, 4), minutes(30, pool_vectors, 60)),
    params:
        code=code("atlas.clusters.neighbours:neighbours"),
        search=lambda w: pool_of(w).settings.neighbours,
    message:
        "find the neighbours in {wildcards.pool}"


use rule job as map_models with:
    input:
        embeddings="results/pools/{pool}/{space}/embeddings.npz",
    output:
        points="results/pools/{pool}/{space}/map.csv",
    log:
        "logs/map_models/{pool}/{space}.log",
    benchmark:
        "benchmarks/map_models/{pool}/{space}.tsv"
    group:
        packed("pool")
    resources:
        **on_cpu(memory(2000, pool_vectors, 3), minutes(60, pool_vectors, 120)),
    params:
        code=code("atlas.clusters.maps:map_models"),
    message:
        "map {wildcards.pool} by {wildcards.space}"


use rule job as layer_curves with:
    input:
        features=of_shards(".features.h5"),
    output:
        curves=pool_table("curves", "Layers and probes"),
    log:
        "logs/layer_curves/{pool}.log",
    benchmark:
        "benchmarks/layer_curves/{pool}.tsv"
    group:
        packed("pool")
    resources:
        **on_cpu(memory(4000), minutes(30)),
    params:
        code=code("atlas.clusters.layer_curves:write_layer_curves"),
        models=pool_models,
    message:
        "measure layers and numbers of probes in {wildcards.pool}"


# Kept executed beside the logs.
rule analyse:
    input:
        embeddings=of_spaces("embeddings.npz"),
        silhouette="results/pools/{pool}/silhouette.csv",
        neighbours="results/pools/{pool}/neighbours.csv",
        # The page itself, a change in which runs it again, and the maps that it shows.
        companions=lambda w: [workflow_file("notebooks/analysis.ipynb"), *of_spaces("map.csv")(w)],
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
    resources:
        **small(30),
    params:
        code=code("atlas.clusters.analysis:analyse"),
    message:
        "analyse {wildcards.pool} in a notebook"
    notebook:
        "../notebooks/analysis.ipynb"
