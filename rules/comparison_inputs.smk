# What the rules of comparisons and of their tables read.
def comparison_entries(wildcards):
    """Model ("base" for the base) and task of each file of activations of a comparison."""
    entry = PLAN.config.comparisons[wildcards.comparison]
    return [[model, task] for task in entry.tasks for model in ["base", *entry.models]]


def comparison_files(name, measured=None):
    """One file per model and task of a comparison; none where what it holds is not measured."""

    def files(wildcards):
        entry = PLAN.config.comparisons[wildcards.comparison]
        if measured and not getattr(entry, measured).prompts:
            return []
        return [
            f"results/comparisons/{wildcards.comparison}/{model}/{task}/{name}"
            for model, task in comparison_entries(wildcards)
        ]

    return files


def two_sided_comparisons():
    """Comparisons that have models of both sides: with rewards, and fine-tuned on solutions."""
    return [name for name in PLAN.config.comparisons if all(PLAN.sides(name).values())]


def comparison_figures(table):
    """All figures of the comparisons of a table."""
    entry = PLAN.config.tables[table]
    return [
        f"results/comparisons/{name}/figures/{kind}.svg"
        for name in entry.comparisons
        for kind in ["preservation", "effective_rank", "spectra"]
        + ["reward"] * bool(PLAN.rewarded(name))
    ]


def table_rewarded(wildcards):
    """Models of the comparisons of a table that are trained with rewards here."""
    comparisons = PLAN.config.tables[wildcards.table].comparisons
    return list(dict.fromkeys(m for name in comparisons for m in PLAN.rewarded(name)))


def table_comparisons(wildcards):
    """Comparisons of a table as plain values: models of both sides with their training stages."""
    found = []
    for name in PLAN.config.tables[wildcards.table].comparisons:
        base = PLAN.config.comparisons[name].base
        sides = {
            side: {model: PLAN.model_stages(model) for model in models}
            for side, models in PLAN.sides(name).items()
        }
        found.append(
            {"name": name, "base": base, "stages": PLAN.base_stages(base)}
            | sides
            | {"rewarded": PLAN.rewarded(name)}
        )
    return found
