# Geometry: residual streams of a base and its models, their geometry, its statistics.
use rule job as extract_streams with:
    input:
        prompts="results/datasets/{task}/rest.jsonl",
        base=base_files,
        model=model_files,
    output:
        activations="results/comparisons/{comparison}/{model}/{task}/activations.h5",
    log:
        "logs/extract_streams/{comparison}/{model}/{task}.log",
    benchmark:
        "benchmarks/extract_streams/{comparison}/{model}/{task}.tsv"
    wildcard_constraints:
        model=constraint(["base", *PLAN.compared]),
        task=constraint(PLAN.config.datasets),
    resources:
        **on_gpu(memory(4000, base_size, copies_in_memory(2)), minutes(60, base_size, 20)),
    params:
        **said_of(comparison_of, "positions", "precision", "shots"),
        code=code("atlas.geometry.residual_streams:extract_streams"),
        base_names=base_names,
        dtype=base_dtype,
        wanted=lambda w: comparison_of(w).streams,
        most=lambda w: comparison_of(w).prompts,
    message:
        "read the residual streams of {wildcards.model} on {wildcards.task}"


use rule job as measure_curvature with:
    input:
        prompts="results/datasets/{task}/rest.jsonl",
        base=base_files,
        model=model_files,
    output:
        curvature="results/comparisons/{comparison}/{model}/{task}/curvature.csv",
    log:
        "logs/measure_curvature/{comparison}/{model}/{task}.log",
    benchmark:
        "benchmarks/measure_curvature/{comparison}/{model}/{task}.tsv"
    wildcard_constraints:
        model=constraint(["base", *PLAN.compared]),
        task=constraint(PLAN.config.datasets),
    resources:
        **on_gpu(memory(2500, base_size, copies_in_memory(2)), minutes(30, base_size, 15)),
    params:
        **said_of(lambda w: comparison_of(w).curvature, "directions", "radius"),
        code=code("atlas.geometry.local_curvature:measure_curvature"),
        base_names=base_names,
        most=lambda w: comparison_of(w).curvature.prompts,
        seed=PLAN.config.seeds[0],
        shots=lambda w: comparison_of(w).shots,
        wanted=lambda w: comparison_of(w).streams,
    message:
        "measure the local curvature of {wildcards.model} on {wildcards.task}"


use rule job as measure_trajectories with:
    input:
        prompts="results/datasets/{task}/rest.jsonl",
        quality="results/comparisons/{comparison}/quality.csv",
        activations="results/comparisons/{comparison}/base/{task}/activations.h5",
        base=base_files,
        model=model_files,
    output:
        trajectories="results/comparisons/{comparison}/{model}/{task}/trajectories.csv",
    log:
        "logs/measure_trajectories/{comparison}/{model}/{task}.log",
    benchmark:
        "benchmarks/measure_trajectories/{comparison}/{model}/{task}.tsv"
    wildcard_constraints:
        model=constraint(["base", *PLAN.compared]),
        task=constraint(PLAN.config.datasets),
    resources:
        **on_gpu(memory(2500, base_size, copies_in_memory(2)), minutes(30, base_size, 15)),
    params:
        code=code("atlas.geometry.trajectories:measure_trajectories"),
        base_names=base_names,
        dtype=base_dtype,
        most=lambda w: comparison_of(w).trajectories.prompts,
        dimensions=lambda w: comparison_of(w).trajectories.dimensions,
        shots=lambda w: comparison_of(w).shots,
    message:
        "measure the trajectories of {wildcards.model} on {wildcards.task}"


use rule job as measure_weights with:
    input:
        base=base_files,
        model=model_files,
    output:
        weights="results/comparisons/{comparison}/{model}/weights.csv",
    log:
        "logs/measure_weights/{comparison}/{model}.log",
    benchmark:
        "benchmarks/measure_weights/{comparison}/{model}.tsv"
    wildcard_constraints:
        model=constraint(PLAN.compared),
    resources:
        **on_cpu(memory(6000, base_size, 2), minutes(60, base_size, 20)),
    params:
        **said_of(lambda w: comparison_of(w).weights, "dimensions"),
        code=code("atlas.geometry.weight_changes:measure_weights"),
    message:
        "measure what {wildcards.model} changed in the weights of its base"


use rule job as measure_drift with:
    input:
        prompts=lambda w: [f"results/datasets/{t}/rest.jsonl" for t in comparison_of(w).tasks],
        base=base_files,
        model=model_files,
    output:
        drift="results/comparisons/{comparison}/{model}/drift.csv",
    log:
        "logs/measure_drift/{comparison}/{model}.log",
    benchmark:
        "benchmarks/measure_drift/{comparison}/{model}.tsv"
    wildcard_constraints:
        model=constraint(PLAN.compared),
    resources:
        **on_gpu(memory(6000, base_size, 2), minutes(60, base_size, 10)),
    params:
        **said_of(lambda w: comparison_of(w).drift, "max_tokens"),
        code=code("atlas.geometry.drift:measure_drift"),
        base_names=base_names,
        dtype=base_dtype,
        learnt=lambda w: comparison_of(w).learnt,
        most=lambda w: comparison_of(w).drift.rows,
    message:
        "measure how far {wildcards.model} moved from its base"


use rule job as comparison_weights with:
    input:
        measured=lambda w: [
            f"results/comparisons/{w.comparison}/{model}/weights.csv"
            for model in comparison_of(w).models
        ],
    output:
        weights=comparison_table("weights"),
    log:
        "logs/comparison_weights/{comparison}.log",
    benchmark:
        "benchmarks/comparison_weights/{comparison}.tsv"
    group:
        packed("comparison")
    params:
        code=code("atlas.geometry.weight_changes:comparison_weights"),
    message:
        "join the changes of the weights of {wildcards.comparison}"


use rule job as comparison_drift with:
    input:
        measured=lambda w: [
            f"results/comparisons/{w.comparison}/{model}/drift.csv"
            for model in comparison_of(w).models
        ],
    output:
        drift=comparison_table("drift"),
    log:
        "logs/comparison_drift/{comparison}.log",
    benchmark:
        "benchmarks/comparison_drift/{comparison}.tsv"
    group:
        packed("comparison")
    params:
        code=code("atlas.geometry.drift:comparison_drift"),
    message:
        "join how far the models of {wildcards.comparison} moved from their base"


use rule job as measure_answers with:
    input:
        prompts="results/datasets/{task}/rest.jsonl",
        base=base_files,
        model=model_files,
    output:
        answers="results/comparisons/{comparison}/{model}/{task}/answers.csv",
    log:
        "logs/measure_answers/{comparison}/{model}/{task}.log",
    benchmark:
        "benchmarks/measure_answers/{comparison}/{model}/{task}.tsv"
    wildcard_constraints:
        model=constraint(["base", *PLAN.compared]),
        task=constraint(PLAN.config.datasets),
    resources:
        **on_gpu(memory(4000, base_size, 2), minutes(60, base_size, 20)),
    params:
        **said_of(lambda w: comparison_of(w).answers, "new_tokens", "rule"),
        code=code("atlas.geometry.correctness:measure_answers"),
        base_names=base_names,
        dtype=base_dtype,
        most=lambda w: comparison_of(w).answers.prompts,
        shots=lambda w: comparison_of(w).shots,
    message:
        "let {wildcards.model} answer {wildcards.task}"


use rule job as comparison_quality with:
    input:
        activations=of_comparison("activations.h5"),
        config=lambda w: f"results/sources/bases/{base_of(w)}/config.json",
    output:
        quality=comparison_table("quality"),
    log:
        "logs/comparison_quality/{comparison}.log",
    benchmark:
        "benchmarks/comparison_quality/{comparison}.tsv"
    resources:
        **small(60),
    params:
        code=code("atlas.geometry.comparisons:comparison_quality"),
        low=lambda w: comparison_of(w).mean_norm[0],
        high=lambda w: comparison_of(w).mean_norm[1],
        wanted=lambda w: comparison_of(w).streams,
    message:
        "check the activations of {wildcards.comparison}"


use rule job as comparison_layers with:
    input:
        quality="results/comparisons/{comparison}/quality.csv",
        activations=of_comparison("activations.h5"),
        curvature=of_comparison("curvature.csv", "curvature"),
        trajectories=of_comparison("trajectories.csv", "trajectories"),
        answers=of_comparison("answers.csv", "answers"),
    output:
        layers=comparison_table("layers"),
        spectra="results/comparisons/{comparison}/spectra.npz",
    log:
        "logs/comparison_layers/{comparison}.log",
    benchmark:
        "benchmarks/comparison_layers/{comparison}.tsv"
    group:
        packed("comparison")
    resources:
        **on_cpu(memory(4000), minutes(60)),
    params:
        code=code("atlas.geometry.comparisons:comparison_layers"),
        subspace=lambda w: comparison_of(w).subspace,
        entries=lambda w: jobs.compared(PLAN, w.comparison),
    message:
        "measure the geometry of {wildcards.comparison}"


use rule job as comparison_prompts with:
    input:
        quality="results/comparisons/{comparison}/quality.csv",
        activations=of_comparison("activations.h5"),
    output:
        prompts=comparison_table("prompts"),
    log:
        "logs/comparison_prompts/{comparison}.log",
    benchmark:
        "benchmarks/comparison_prompts/{comparison}.tsv"
    group:
        packed("comparison")
    resources:
        **on_cpu(memory(4000), minutes(60)),
    params:
        code=code("atlas.geometry.prompts:comparison_prompts"),
        entries=lambda w: jobs.compared(PLAN, w.comparison),
        dimensions=lambda w: comparison_of(w).paths.dimensions,
    message:
        "measure each prompt of {wildcards.comparison}"


use rule job as comparison_tests with:
    input:
        layers="results/comparisons/{comparison}/layers.csv",
        prompts="results/comparisons/{comparison}/prompts.csv",
    output:
        tests=comparison_table("tests"),
    log:
        "logs/comparison_tests/{comparison}.log",
    benchmark:
        "benchmarks/comparison_tests/{comparison}.tsv"
    wildcard_constraints:
        # Those that have models of both sides: with rewards, and fine-tuned on solutions.
        comparison=constraint(c for c in PLAN.config.comparisons if all(PLAN.sides(c).values())),
    group:
        packed("comparison")
    resources:
        **small(60),
    params:
        code=code("atlas.geometry.comparisons:comparison_tests"),
        sft=lambda w: PLAN.sides(w.comparison)["sft"],
        rl=lambda w: PLAN.sides(w.comparison)["rl"],
    message:
        "compare the sides of {wildcards.comparison}"
