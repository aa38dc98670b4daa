# Publishing: crates to hand over or to keep, signatures, and uploads to a hub. No other rule asks for any of
# them, and no target rule does.
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


use rule job as sign_model with:
    input:
        files=lambda w: publishing.signed_files(PLAN, dict(w)),
    output:
        signature="results/models/{model}/model.sig",
    log:
        "logs/sign_model/{model}.log",
    benchmark:
        "benchmarks/sign_model/{model}.tsv"
    wildcard_constraints:
        model=constraint(PLAN.models),
    params:
        code=code("atlas.publishing.model_signatures:sign_model"),
        key=PLAN.config.signing_key,
    message:
        "sign {output.signature}"


use rule sign_model as sign_merged with:
    output:
        signature="results/merged/{merged}/model.sig",
    log:
        "logs/sign_merged/{merged}.log",
    benchmark:
        "benchmarks/sign_merged/{merged}.tsv"
    wildcard_constraints:
        merged=constraint(PLAN.merged),


use rule job as push with:
    input:
        files=lambda w: PLAN.push_files(w.push),
        card="results/pushed/{push}.md",
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
