# Publishing: crates to hand over or to keep, and uploads to a hub. No other rule asks for an upload,
# and no target rule does.
CRATE_TABLES = constraint(publishing.crate_tables(PLAN))


use rule job as write_crate with:
    input:
        artefact=lambda w: publishing.crate_artefact(PLAN, w.target),
        companions=lambda w: publishing.crate_companions(PLAN, w.target),
    output:
        metadata="results/crates/{target}/ro-crate-metadata.json",
    log:
        "logs/write_crate/{target}.log",
    benchmark:
        "benchmarks/write_crate/{target}.tsv"
    wildcard_constraints:
        target=rf"{CRATE_TABLES}|(?!crates/|provenance/)\w[\w.+-]*(/\w[\w.+-]*)+",
    resources:
        **small(60),
    params:
        code=code("atlas.publishing.crates.write:write_crate"),
        target="{target}",
        companions=lambda w: publishing.crate_companions(PLAN, w.target),
    message:
        "write a crate of {wildcards.target}"


use rule job as push with:
    input:
        files=lambda w: PLAN.push_files(w.push),
    output:
        record="results/pushed/{push}.json",
    log:
        "logs/push/{push}.log",
    benchmark:
        "benchmarks/push/{push}.tsv"
    wildcard_constraints:
        push=constraint(PLAN.config.pushes),
    resources:
        **small(240),
    params:
        **said_of(lambda w: PLAN.config.pushes[w.push], "path", "repo", "private"),
        code=code("atlas.publishing.push:push"),
        network=True,
        name="{push}",
        origins=lambda w: publishing.push_origins(PLAN, w.push),
    message:
        "push {wildcards.push} to a hub"


# Any stored table, when it is asked for by its name with .parquet.
use rule job as write_parquet with:
    input:
        table="results/{file}.csv",
    output:
        parquet="results/{file}.parquet",
    log:
        "logs/write_parquet/{file}.log",
    benchmark:
        "benchmarks/write_parquet/{file}.tsv"
    wildcard_constraints:
        file=r"(?!crates/|provenance/)\w[\w.+-]*(/\w[\w.+-]*)+",
    params:
        code=code("atlas.publishing.parquet:write_parquet"),
    message:
        "write {wildcards.file} as Parquet"
