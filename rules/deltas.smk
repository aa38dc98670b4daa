# Instruction deltas: instruct minus base, and models that get them.
use rule job as make_delta with:
    input:
        base=base_files,
        instruct=lambda w: PLAN.base_files(delta_of(w).instruct),
    output:
        delta="results/deltas/{delta}/delta.safetensors",
        meta="results/deltas/{delta}/delta_meta.json",
    log:
        "logs/make_delta/{delta}.log",
    benchmark:
        "benchmarks/make_delta/{delta}.tsv"
    wildcard_constraints:
        delta=constraint(PLAN.config.deltas),
    resources:
        **on_cpu(memory(2000, base_size, 0.5), minutes(30, base_size, 10)),
    params:
        **said_of(delta_of, "dtype", "keep", "rank"),
        code=code("atlas.deltas.instruction_deltas:make_delta"),
        name="{delta}",
    message:
        "take the base from the instruct model of {wildcards.delta}"


use rule job as delta_layers with:
    input:
        base=base_files,
        instruct=lambda w: PLAN.base_files(delta_of(w).instruct),
        delta="results/deltas/{delta}/delta.safetensors",
        meta="results/deltas/{delta}/delta_meta.json",
    output:
        table=other_table(
            "results/deltas/{delta}/layers.csv", "delta_layers", "Instruction deltas", "{delta}"
        ),
        check="results/deltas/{delta}/identity.json",
    log:
        "logs/delta_layers/{delta}.log",
    benchmark:
        "benchmarks/delta_layers/{delta}.tsv"
    wildcard_constraints:
        delta=constraint(PLAN.config.deltas),
    resources:
        **on_cpu(memory(2000, base_size, 0.5), minutes(30, base_size, 10)),
    params:
        code=code("atlas.deltas.layers:delta_layers"),
    message:
        "tell what {wildcards.delta} changes, layer by layer"


for shards in sorted({merged.shards for merged in PLAN.merged.values()}):

    rule:
        name:
            f"apply_delta_{shards}"
        input:
            model=lambda w: PLAN.models[PLAN.merged[w.merged].origin].files(),
            model_base=base_files,
            base=lambda w: PLAN.base_files(delta_of(w).base),
            instruct=lambda w: PLAN.base_files(delta_of(w).instruct),
            delta=lambda w: f"results/deltas/{PLAN.merged[w.merged].delta}/delta.safetensors",
            meta=lambda w: f"results/deltas/{PLAN.merged[w.merged].delta}/delta_meta.json",
        output:
            weights=[f"results/merged/{{merged}}/{name}" for name in weight_names(shards)],
            config="results/merged/{merged}/config.json",
            generation="results/merged/{merged}/generation_config.json",
            tokenizer="results/merged/{merged}/tokenizer.json",
            tokenizer_config="results/merged/{merged}/tokenizer_config.json",
            card="results/merged/{merged}/README.md",
        log:
            "logs/apply_delta/{merged}.log",
        benchmark:
            "benchmarks/apply_delta/{merged}.tsv"
        wildcard_constraints:
            merged=constraint(
                (name for name, merged in PLAN.merged.items() if merged.shards == shards),
                among=PLAN.merged,
            ),
        conda:
            "../envs/atlas.yaml"
        resources:
            **on_cpu(memory(2000, base_size, 0.5), minutes(30, base_size, 10)),
        params:
            code=code("atlas.deltas.merged_models:apply_delta"),
            name="{merged}",
            base_names=base_names,
            force=lambda w: delta_of(w).force,
            address=base_address,
            sentence=lambda w: PLAN.merged[w.merged].card,
            weight_names=weight_names(shards),
        message:
            "add the delta to the model of {wildcards.merged}"
        script:
            "../scripts/job.py"
