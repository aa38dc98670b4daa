# What a rule takes that it does not say itself: environment, resources of a small job, and the script
# that runs the function of its param `code`. It makes nothing: the wildcard of its log stands for no name.
rule job:
    log:
        "logs/{nothing,(?!)}.log",
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **small(30),
    script:
        "../scripts/job.py"
