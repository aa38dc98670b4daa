# Uploads to a hub, of what was verified. No other rule asks for one, and no target rule does.
rule push:
    input:
        files=lambda w: PLAN.push_files(w.push),
    output:
        record="results/pushed/{push}.json",
    log:
        "logs/push/{push}.log",
    benchmark:
        "benchmarks/push/{push}.tsv"
    wildcard_constraints:
        push=names(PLAN.config.pushes),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(240),
        gpu=0,
    params:
        code=code("atlas.publishing.push:push"),
        network=True,
        name="{push}",
        path=lambda w: PLAN.config.pushes[w.push].path,
        repo=lambda w: PLAN.config.pushes[w.push].repo,
        private=lambda w: PLAN.config.pushes[w.push].private,
        origins=push_origins,
    message:
        "push {wildcards.push} to a hub"
    script:
        "../scripts/job.py"
