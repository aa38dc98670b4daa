# Publishing: bills of materials, crates to hand over or to keep, and uploads to a hub. No other rule asks
# for any of them, and no target rule does.
billed = lambda w: publishing.billed_models(PLAN, dict(w))


use rule job as write_bill with:
    input:
        told=lambda w: publishing.bill_sources(PLAN, billed(w)),
    output:
        bill="results/models/{model}/bom.cdx.json",
    log:
        "logs/write_bill/models/{model}.log",
    benchmark:
        "benchmarks/write_bill/models/{model}.tsv"
    wildcard_constraints:
        model=constraint(PLAN.models),
    params:
        code=code("atlas.bills.bill:write_bill"),
        roots=lambda w: publishing.weights_of(billed(w)),
    message:
        "write the bill of materials of {wildcards.model}"


use rule write_bill as write_merged_bill with:
    output:
        bill="results/merged/{merged}/bom.cdx.json",
    log:
        "logs/write_bill/merged/{merged}.log",
    benchmark:
        "benchmarks/write_bill/merged/{merged}.tsv"
    wildcard_constraints:
        merged=constraint(PLAN.merged),
    message:
        "write the bill of materials of {wildcards.merged}"


use rule write_bill as write_pool_bill with:
    output:
        bill="results/pools/{pool}/bom.cdx.json",
    log:
        "logs/write_bill/pools/{pool}.log",
    benchmark:
        "benchmarks/write_bill/pools/{pool}.tsv"
    wildcard_constraints:
        pool=constraint(n for n, pool in PLAN.pools.items() if pool.settings.keep_weights),
    params:
        pool="{pool}",
    message:
        "write the bill of materials of {wildcards.pool}"


CRATE_TABLES = constraint(publishing.crate_tables(PLAN))


use rule job as describe_dataset with:
    input:
        rows="results/sources/datasets/{dataset}.jsonl",
        record="results/sources/datasets/{dataset}.json",
    output:
        croissant="results/sources/datasets/{dataset}.croissant.json",
    log:
        "logs/describe_dataset/{dataset}.log",
    benchmark:
        "benchmarks/describe_dataset/{dataset}.tsv"
    resources:
        **small(60),
    params:
        **said_of(dataset_of, "language"),
        code=code("atlas.bills.croissant:describe_dataset"),
    message:
        "describe the raw rows of {wildcards.dataset} as Croissant"


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
        "logs/sign_model/models/{model}.log",
    benchmark:
        "benchmarks/sign_model/models/{model}.tsv"
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
        "logs/sign_model/merged/{merged}.log",
    benchmark:
        "benchmarks/sign_model/merged/{merged}.tsv"
    wildcard_constraints:
        merged=constraint(PLAN.merged),


use rule job as write_hub_card with:
    input:
        read=lambda w: publishing.card_sources(PLAN, w.push),
    output:
        card="results/pushed/{push}.md",
    log:
        "logs/write_hub_card/{push}.log",
    benchmark:
        "benchmarks/write_hub_card/{push}.tsv"
    wildcard_constraints:
        push=constraint(PLAN.config.pushes),
    params:
        **said_of(lambda w: PLAN.config.pushes[w.push], "path", "repo"),
        code=code("atlas.bills.hub_cards:write_hub_card"),
        languages=lambda w: publishing.card_languages(PLAN, w.push),
        origins=lambda w: publishing.push_origins(PLAN, w.push),
        signed=PLAN.config.signing_key is not None,
    message:
        "write the card of the upload {wildcards.push}"


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
