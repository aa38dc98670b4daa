# Comparisons: residual streams of a base and its models, their geometry, its statistics.
rule extract_streams:
    input:
        prompts="results/datasets/{task}/rest.jsonl",
        base=lambda w: PLAN.base_files(PLAN.config.comparisons[w.comparison].base),
        model=lambda w: [] if w.model == "base" else PLAN.models[w.model].files(),
    output:
        activations="results/comparisons/{comparison}/{model}/{task}/activations.h5",
    log:
        "logs/extract_streams/{comparison}-{model}-{task}.log",
    benchmark:
        "benchmarks/extract_streams/{comparison}-{model}-{task}.tsv"
    wildcard_constraints:
        model=names(["base", *PLAN.models]),
        task=names(PLAN.config.datasets),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(4000, comparison_size, 2),
        runtime=minutes(60, comparison_size, 20),
    params:
        code=code("atlas.residual_streams:extract_streams"),
        base_names=lambda w: PLAN.base_names(PLAN.config.comparisons[w.comparison].base),
        dtype=lambda w: base_dtype(PLAN.config.comparisons[w.comparison].base),
        most=lambda w: PLAN.config.comparisons[w.comparison].prompts,
        positions="last_token",
        precision=lambda w: PLAN.config.comparisons[w.comparison].precision,
    message:
        "read the residual streams of {wildcards.model} on {wildcards.task}"
    script:
        "../scripts/extract_streams.py"


rule comparison_quality:
    input:
        activations=comparison_files,
        config=lambda w: f"results/sources/bases/{PLAN.config.comparisons[w.comparison].base}/config.json",
    output:
        quality="results/comparisons/{comparison}/quality.csv",
    log:
        "logs/comparison_quality/{comparison}.log",
    benchmark:
        "benchmarks/comparison_quality/{comparison}.tsv"
    group:
        packed("comparison")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("atlas.comparisons:comparison_quality"),
        low=lambda w: PLAN.config.comparisons[w.comparison].mean_norm[0],
        high=lambda w: PLAN.config.comparisons[w.comparison].mean_norm[1],
    message:
        "check the activations of {wildcards.comparison}"
    script:
        "../scripts/comparison_quality.py"


rule comparison_layers:
    input:
        quality="results/comparisons/{comparison}/quality.csv",
        activations=comparison_files,
    output:
        layers="results/comparisons/{comparison}/layers.csv",
        spectra="results/comparisons/{comparison}/spectra.npz",
    log:
        "logs/comparison_layers/{comparison}.log",
    benchmark:
        "benchmarks/comparison_layers/{comparison}.tsv"
    group:
        packed("comparison")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("atlas.comparisons:comparison_layers"),
        entries=comparison_entries,
    message:
        "measure the geometry of {wildcards.comparison}"
    script:
        "../scripts/comparison_layers.py"


rule comparison_tests:
    input:
        layers="results/comparisons/{comparison}/layers.csv",
    output:
        tests="results/comparisons/{comparison}/tests.csv",
    log:
        "logs/comparison_tests/{comparison}.log",
    benchmark:
        "benchmarks/comparison_tests/{comparison}.tsv"
    wildcard_constraints:
        comparison=names(two_sided_comparisons()),
    group:
        packed("comparison")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("atlas.comparisons:comparison_tests"),
        sft=lambda w: [
            m
            for m in PLAN.config.comparisons[w.comparison].models
            if m not in PLAN.config.comparisons[w.comparison].rl
        ],
        rl=lambda w: PLAN.config.comparisons[w.comparison].rl,
    message:
        "compare the sides of {wildcards.comparison}"
    script:
        "../scripts/comparison_tests.py"


rule draw_comparison:
    input:
        layers="results/comparisons/{comparison}/layers.csv",
        spectra="results/comparisons/{comparison}/spectra.npz",
    output:
        figures=[
            place
            for kind in ("preservation", "effective_rank", "spectra")
            for place in comparison_figure(kind)
        ],
    log:
        "logs/draw_comparison/{comparison}.log",
    benchmark:
        "benchmarks/draw_comparison/{comparison}.tsv"
    group:
        packed("comparison")
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("atlas.comparison_figures:draw_comparison"),
        name="{comparison}",
    message:
        "draw the geometry of {wildcards.comparison}"
    script:
        "../scripts/draw_comparison.py"
