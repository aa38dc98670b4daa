# Crates: a target with all that stands behind it, to hand over or to keep.
rule write_crate:
    input:
        artefact=crate_artefact,
        companions=crate_companions,
    output:
        metadata="results/crates/{target}/ro-crate-metadata.json",
    log:
        "logs/write_crate/{target}.log",
    benchmark:
        "benchmarks/write_crate/{target}.tsv"
    wildcard_constraints:
        target=rf"{names(CRATE_TABLES)}|(?!crates/|provenance/)\w[\w.+-]*(/\w[\w.+-]*)+",
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("atlas.publishing.crates.write:write_crate"),
        target="{target}",
        companions=crate_companions,
    message:
        "write a crate of {wildcards.target}"
    script:
        "../scripts/job.py"
