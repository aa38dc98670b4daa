# Figures of a pool in one space and of a comparison, at two widths.
use rule job as draw_figures with:
    input:
        embeddings="results/pools/{pool}/{space}/embeddings.npz",
        points="results/pools/{pool}/{space}/map.csv",
        silhouettes="results/pools/{pool}/silhouette.csv",
    output:
        mapped=pool_figure("map", "map", "Maps"),
        similarity=pool_figure("similarity", "heat map", "Similarities"),
        silhouette=pool_figure("silhouette", "silhouette", "Silhouettes"),
    log:
        "logs/draw_figures/{pool}/{space}.log",
    benchmark:
        "benchmarks/draw_figures/{pool}/{space}.tsv"
    group:
        packed("pool")
    resources:
        **on_cpu(memory(2000, pool_vectors, 3), minutes(30, pool_vectors, 10)),
    params:
        code=code("atlas.figures.pools:draw"),
        pool="{pool}",
        looks=lambda w: PLAN.looks_of(w.pool),
    message:
        "draw {wildcards.pool} by {wildcards.space}"


use rule job as draw_comparison with:
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
    resources:
        **small(60),
    params:
        code=code("atlas.figures.comparisons:draw_comparison"),
        sides=lambda w: PLAN.sides(w.comparison),
        name="{comparison}",
    message:
        "draw the geometry of {wildcards.comparison}"


use rule job as draw_rewards with:
    input:
        training=lambda w: [
            f"results/models/{model}/training.csv" for model in PLAN.rewarded(w.comparison)
        ],
    output:
        reward=comparison_figure("reward"),
    log:
        "logs/draw_rewards/{comparison}.log",
    benchmark:
        "benchmarks/draw_rewards/{comparison}.tsv"
    wildcard_constraints:
        comparison=constraint(filter(PLAN.rewarded, PLAN.config.comparisons)),
    resources:
        **small(60),
    params:
        code=code("atlas.figures.comparisons:draw_rewards"),
        name="{comparison}",
        sides=lambda w: PLAN.sides(w.comparison),
    message:
        "draw the rewards of {wildcards.comparison}"
