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
        model=names(["base", *PLAN.compared]),
        task=names(PLAN.config.datasets),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(4000, comparison_size, 2),
        runtime=minutes(60, comparison_size, 20),
    params:
        code=code("atlas.geometry.residual_streams:extract_streams"),
        base_names=lambda w: PLAN.base_names(PLAN.config.comparisons[w.comparison].base),
        dtype=lambda w: base_dtype(PLAN.config.comparisons[w.comparison].base),
        most=lambda w: PLAN.config.comparisons[w.comparison].prompts,
        positions=lambda w: PLAN.config.comparisons[w.comparison].positions,
        precision=lambda w: PLAN.config.comparisons[w.comparison].precision,
    message:
        "read the residual streams of {wildcards.model} on {wildcards.task}"
    script:
        "../scripts/job.py"


rule measure_curvature:
    input:
        prompts="results/datasets/{task}/rest.jsonl",
        base=lambda w: PLAN.base_files(PLAN.config.comparisons[w.comparison].base),
        model=lambda w: [] if w.model == "base" else PLAN.models[w.model].files(),
    output:
        curvature="results/comparisons/{comparison}/{model}/{task}/curvature.csv",
    log:
        "logs/measure_curvature/{comparison}-{model}-{task}.log",
    benchmark:
        "benchmarks/measure_curvature/{comparison}-{model}-{task}.tsv"
    wildcard_constraints:
        model=names(["base", *PLAN.compared]),
        task=names(PLAN.config.datasets),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, comparison_size, 2),
        runtime=minutes(30, comparison_size, 15),
    params:
        code=code("atlas.geometry.local_curvature:measure_curvature"),
        base_names=lambda w: PLAN.base_names(PLAN.config.comparisons[w.comparison].base),
        most=lambda w: PLAN.config.comparisons[w.comparison].curvature.prompts,
        directions=lambda w: PLAN.config.comparisons[w.comparison].curvature.directions,
        radius=lambda w: PLAN.config.comparisons[w.comparison].curvature.radius,
        seed=PLAN.config.seeds[0],
    message:
        "measure the local curvature of {wildcards.model} on {wildcards.task}"
    script:
        "../scripts/job.py"


rule measure_trajectories:
    input:
        prompts="results/datasets/{task}/rest.jsonl",
        quality="results/comparisons/{comparison}/quality.csv",
        activations="results/comparisons/{comparison}/base/{task}/activations.h5",
        base=lambda w: PLAN.base_files(PLAN.config.comparisons[w.comparison].base),
        model=lambda w: [] if w.model == "base" else PLAN.models[w.model].files(),
    output:
        trajectories="results/comparisons/{comparison}/{model}/{task}/trajectories.csv",
    log:
        "logs/measure_trajectories/{comparison}-{model}-{task}.log",
    benchmark:
        "benchmarks/measure_trajectories/{comparison}-{model}-{task}.tsv"
    wildcard_constraints:
        model=names(["base", *PLAN.compared]),
        task=names(PLAN.config.datasets),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        **ON_GPU,
        mem_mb=memory(2500, comparison_size, 2),
        runtime=minutes(30, comparison_size, 15),
    params:
        code=code("atlas.geometry.trajectories:measure_trajectories"),
        base_names=lambda w: PLAN.base_names(PLAN.config.comparisons[w.comparison].base),
        dtype=lambda w: base_dtype(PLAN.config.comparisons[w.comparison].base),
        most=lambda w: PLAN.config.comparisons[w.comparison].trajectories.prompts,
        dimensions=lambda w: PLAN.config.comparisons[
            w.comparison
        ].trajectories.dimensions,
    message:
        "measure the trajectories of {wildcards.model} on {wildcards.task}"
    script:
        "../scripts/job.py"


rule comparison_quality:
    input:
        activations=comparison_files("activations.h5"),
        config=lambda w: f"results/sources/bases/{PLAN.config.comparisons[w.comparison].base}/config.json",
    output:
        quality=comparison_table("quality"),
    log:
        "logs/comparison_quality/{comparison}.log",
    benchmark:
        "benchmarks/comparison_quality/{comparison}.tsv"
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("atlas.geometry.comparisons:comparison_quality"),
        low=lambda w: PLAN.config.comparisons[w.comparison].mean_norm[0],
        high=lambda w: PLAN.config.comparisons[w.comparison].mean_norm[1],
    message:
        "check the activations of {wildcards.comparison}"
    script:
        "../scripts/job.py"


rule comparison_layers:
    input:
        quality="results/comparisons/{comparison}/quality.csv",
        activations=comparison_files("activations.h5"),
        curvature=comparison_files("curvature.csv", "curvature"),
        trajectories=comparison_files("trajectories.csv", "trajectories"),
    output:
        layers=comparison_table("layers"),
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
        code=code("atlas.geometry.comparisons:comparison_layers"),
        entries=comparison_entries,
    message:
        "measure the geometry of {wildcards.comparison}"
    script:
        "../scripts/job.py"


rule comparison_tests:
    input:
        layers="results/comparisons/{comparison}/layers.csv",
    output:
        tests=comparison_table("tests"),
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
        code=code("atlas.geometry.comparisons:comparison_tests"),
        sft=lambda w: PLAN.sides(w.comparison)["sft"],
        rl=lambda w: PLAN.sides(w.comparison)["rl"],
    message:
        "compare the sides of {wildcards.comparison}"
    script:
        "../scripts/job.py"


rule draw_comparison:
    input:
        layers="results/comparisons/{comparison}/layers.csv",
        spectra="results/comparisons/{comparison}/spectra.npz",
    output:
        preservation=comparison_figure("preservation"),
        effective_rank=comparison_figure("effective_rank"),
        singular_values=comparison_figure("spectra"),
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
        code=code("atlas.figures.comparisons:draw_comparison"),
        name="{comparison}",
    message:
        "draw the geometry of {wildcards.comparison}"
    script:
        "../scripts/job.py"


rule draw_rewards:
    input:
        training=lambda w: [
            f"results/models/{model}/training.csv"
            for model in PLAN.rewarded(w.comparison)
        ],
    output:
        reward=comparison_figure("reward"),
    log:
        "logs/draw_rewards/{comparison}.log",
    benchmark:
        "benchmarks/draw_rewards/{comparison}.tsv"
    wildcard_constraints:
        comparison=names(filter(PLAN.rewarded, PLAN.config.comparisons)),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
        gpu=0,
    params:
        code=code("atlas.figures.comparisons:draw_rewards"),
        name="{comparison}",
    message:
        "draw the rewards of {wildcards.comparison}"
    script:
        "../scripts/job.py"


rule geometry_table:
    input:
        tests=lambda w: [
            f"results/comparisons/{comparison}/tests.csv"
            for comparison in PLAN.config.tables[w.table].comparisons
        ],
        training=lambda w: [
            f"results/models/{model}/training.csv" for model in table_rewarded(w)
        ],
        # Drawn with the table, not read by it.
        companions=ancient(lambda w: comparison_figures(w.table)),
    output:
        table=table_file("geometry"),
        page="results/tables/{table}.md",
        figure=table_figure("geometry"),
    log:
        "logs/geometry_table/{table}.log",
    benchmark:
        "benchmarks/geometry_table/{table}.tsv"
    wildcard_constraints:
        table=names(PLAN.tables_of("geometry")),
    conda:
        "../envs/atlas.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
        gpu=0,
    params:
        code=code("atlas.experiments.geometry.table:geometry_table"),
        name="{table}",
        comparisons=table_comparisons,
    message:
        "write the table of geometry {wildcards.table}"
    script:
        "../scripts/job.py"
