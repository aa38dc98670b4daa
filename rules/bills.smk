# What others can read of models and datasets: bills of materials, Croissant, cards of uploads. No other rule
# asks for any of them but uploads, and no target rule does.
billed = lambda w: publishing.billed_models(PLAN, dict(w))
# Notices that withdraw something: with another one, what tells of them is made again.
standing_notices = functools.cache(lambda: notices.standing(Path(DEPLOYMENT.root)))


use rule job as write_bill with:
    input:
        told=lambda w: publishing.bill_sources(PLAN, billed(w)),
    output:
        bill="results/models/{model}/bom.cdx.json",
    log:
        "logs/write_bill/{model}.log",
    benchmark:
        "benchmarks/write_bill/{model}.tsv"
    wildcard_constraints:
        model=constraint(PLAN.models),
    params:
        code=code("atlas.bills.bill:write_bill"),
        notices=lambda w: standing_notices(),
        roots=lambda w: publishing.weights_of(billed(w)),
    message:
        "write the bill of materials of {wildcards.model}"


use rule write_bill as write_merged_bill with:
    output:
        bill="results/merged/{merged}/bom.cdx.json",
    log:
        "logs/write_merged_bill/{merged}.log",
    benchmark:
        "benchmarks/write_merged_bill/{merged}.tsv"
    wildcard_constraints:
        merged=constraint(PLAN.merged),
    message:
        "write the bill of materials of {wildcards.merged}"


use rule write_bill as write_delta_bill with:
    input:
        told=lambda w: publishing.delta_sources(PLAN, w.delta),
    output:
        bill="results/deltas/{delta}/bom.cdx.json",
    log:
        "logs/write_delta_bill/{delta}.log",
    benchmark:
        "benchmarks/write_delta_bill/{delta}.tsv"
    wildcard_constraints:
        delta=constraint(PLAN.config.deltas),
    params:
        roots=lambda w: [f"results/deltas/{w.delta}/delta.safetensors"],
    message:
        "write the bill of materials of {wildcards.delta}"


use rule write_bill as write_composed_bill with:
    input:
        told=lambda w: [
            *publishing.bill_sources(PLAN, billed(w)),
            *(
                f"{COMPOSED.format(**w)}{x}"
                for x in ("README.md", "adapter_config.json", "models.csv")
            ),
        ],
    output:
        bill=f"{COMPOSED}bom.cdx.json",
    log:
        "logs/write_composed_bill/{task}/{strategy}-{seed}.log",
    benchmark:
        "benchmarks/write_composed_bill/{task}/{strategy}-{seed}.tsv"
    wildcard_constraints:
        task=TASKS,
        strategy=STRATEGY,
        seed=r"\d+",
    params:
        roots=lambda w: [f"{COMPOSED.format(**w)}adapter_model.safetensors"],
    message:
        "write the bill of materials of {wildcards.task}/{wildcards.strategy}-{wildcards.seed}"


use rule write_bill as write_pool_bill with:
    output:
        bill="results/pools/{pool}/bom.cdx.json",
    log:
        "logs/write_pool_bill/{pool}.log",
    benchmark:
        "benchmarks/write_pool_bill/{pool}.tsv"
    wildcard_constraints:
        pool=constraint(n for n, pool in PLAN.pools.items() if pool.settings.keep_weights),
    params:
        pool="{pool}",
    message:
        "write the bill of materials of {wildcards.pool}"


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
        notices=lambda w: standing_notices(),
        origins=lambda w: publishing.push_origins(PLAN, w.push),
        signed=PLAN.config.signing_key is not None,
    message:
        "write the card of the upload {wildcards.push}"
