# Clusters: silhouettes by domain, nearest neighbours.
rule silhouettes:
    input:
        embeddings=pool_embeddings,
    output:
        silhouette=pool_table("silhouette", "Silhouettes", "silhouettes"),
    log:
        "logs/silhouettes/{pool}.log",
    benchmark:
        "benchmarks/silhouettes/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, pool_vectors, 3),
        runtime=minutes(30, pool_vectors, 60),
        gpu=0,
    params:
        code=code("atlas.clusters.silhouettes:silhouettes"),
    message:
        "measure how {wildcards.pool} clusters"
    script:
        "../scripts/job.py"


rule neighbours:
    input:
        embeddings=pool_embeddings,
    output:
        neighbours=pool_table("neighbours", "Neighbours"),
    log:
        "logs/neighbours/{pool}.log",
    benchmark:
        "benchmarks/neighbours/{pool}.tsv"
    group:
        packed("pool")
    conda:
        "../envs/atlas.yaml"
    threads: pool_threads
    resources:
        mem_mb=memory(2000, pool_vectors, 4),
        runtime=minutes(30, pool_vectors, 60),
        gpu=0,
    params:
        code=code("atlas.clusters.silhouettes:neighbours"),
        search=lambda wildcards: PLAN.pools[wildcards.pool].settings.neighbours,
    message:
        "find the neighbours in {wildcards.pool}"
    script:
        "../scripts/job.py"
