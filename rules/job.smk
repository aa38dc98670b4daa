# What a rule takes that it does not say itself (resources: those of a small job). This one is no job's:
# the wildcard of its log stands for nothing.
rule job:
    log:
        "logs/{nothing,(?!)}.log",
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    script:
        "../scripts/job.py"
