# Instruction deltas: instruct minus base, and models that get them.
rule make_delta:
    input:
        base=lambda w: PLAN.base_files(PLAN.config.deltas[w.delta].base),
        instruct=lambda w: PLAN.base_files(PLAN.config.deltas[w.delta].instruct),
    output:
        delta="results/deltas/{delta}/delta.safetensors",
        meta="results/deltas/{delta}/delta_meta.json",
    log:
        "logs/make_delta/{delta}.log",
    benchmark:
        "benchmarks/make_delta/{delta}.tsv"
    wildcard_constraints:
        delta=names(PLAN.config.deltas),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, delta_size, 0.5),
        runtime=minutes(30, delta_size, 10),
        gpu=0,
    params:
        code=code("atlas.deltas.instruction_deltas:make_delta"),
        name="{delta}",
        dtype=lambda w: PLAN.config.deltas[w.delta].dtype,
        keep=lambda w: PLAN.config.deltas[w.delta].keep,
        rank=lambda w: PLAN.config.deltas[w.delta].rank,
    message:
        "take the base from the instruct model of {wildcards.delta}"
    script:
        "../scripts/job.py"


rule delta_layers:
    input:
        base=lambda w: PLAN.base_files(PLAN.config.deltas[w.delta].base),
        instruct=lambda w: PLAN.base_files(PLAN.config.deltas[w.delta].instruct),
        delta="results/deltas/{delta}/delta.safetensors",
        meta="results/deltas/{delta}/delta_meta.json",
    output:
        table=report(
            "results/deltas/{delta}/layers.csv",
            caption="../resources/captions/delta_layers.rst",
            category="Tables",
            subcategory="Instruction deltas",
            labels={"table": "{delta}", "format": "raw CSV"},
        ),
        check="results/deltas/{delta}/identity.json",
    log:
        "logs/delta_layers/{delta}.log",
    benchmark:
        "benchmarks/delta_layers/{delta}.tsv"
    wildcard_constraints:
        delta=names(PLAN.config.deltas),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, delta_size, 0.5),
        runtime=minutes(30, delta_size, 10),
        gpu=0,
    params:
        code=code("atlas.deltas.layers:delta_layers"),
    message:
        "tell what {wildcards.delta} changes, layer by layer"
    script:
        "../scripts/job.py"


for shards in sorted({merged.shards for merged in PLAN.merged.values()}):

    rule:
        name:
            f"apply_delta_{shards}"
        input:
            model=lambda w: PLAN.models[PLAN.merged[w.merged].origin].files(),
            model_base=lambda w: PLAN.base_files(PLAN.merged[w.merged].base),
            base=lambda w: PLAN.base_files(merged_delta(w).base),
            instruct=lambda w: PLAN.base_files(merged_delta(w).instruct),
            delta=lambda w: f"results/deltas/{PLAN.merged[w.merged].delta}/delta.safetensors",
            meta=lambda w: f"results/deltas/{PLAN.merged[w.merged].delta}/delta_meta.json",
        output:
            weights=[
                f"results/merged/{{merged}}/{name}" for name in weight_names(shards)
            ],
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
            merged=names(
                (name for name, m in PLAN.merged.items() if m.shards == shards),
                among=PLAN.merged,
            ),
        conda:
            "../envs/atlas.yaml"
        threads: 1
        resources:
            mem_mb=memory(2000, merged_size, 0.5),
            runtime=minutes(30, merged_size, 10),
            gpu=0,
        params:
            code=code("atlas.deltas.merged_models:apply_delta"),
            name="{merged}",
            base_names=lambda w: PLAN.base_names(PLAN.merged[w.merged].base),
            force=lambda w: merged_delta(w).force,
            address=lambda w: list(PLAN.base_address(PLAN.merged[w.merged].base)),
            sentence=lambda w: PLAN.merged[w.merged].card,
            weight_names=weight_names(shards),
        message:
            "add the delta to the model of {wildcards.merged}"
        script:
            "../scripts/job.py"
