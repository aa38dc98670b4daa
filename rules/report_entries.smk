# How the report offers tables and figures: captions, categories, labels.
# Kind of table -> where the report has it, other than among the experiments.
SUBCATEGORIES = {"main": "Main table"}


def table_labels(**others):
    """What the report calls a file of a table."""
    return lambda wildcards: {"table": wildcards.table.replace("_", " "), **others}


def table_file(kind, path="results/tables/{table}.csv", shown="raw CSV"):
    """A table of a kind as the report offers it: its numbers, or its page."""
    return report(
        path,
        caption=f"../resources/captions/{kind}_table.rst",
        category="Tables",
        subcategory=SUBCATEGORIES.get(kind, "Experiments"),
        labels=table_labels(format=shown),
    )


def table_figure(kind):
    """The figure of an experiment as SVG, which the report shows, and as PNG."""
    shown = report(
        "results/figures/{table}.svg",
        caption=f"../resources/captions/{kind}_table.rst",
        category="Figures of experiments",
        subcategory="Summaries of tables",
        labels=table_labels(figure="summary"),
    )
    return [shown, "results/figures/{table}.png"]


def retrieval_figure():
    """The figure of a retrieval as SVG, which the report shows, and as PNG."""
    shown = report(
        "results/retrieval/{retrieval}/models.svg",
        caption="../resources/captions/retrieve_models.rst",
        category="Figures of experiments",
        subcategory="Models for a task",
        labels={"table": "{retrieval}", "figure": "similarity"},
    )
    return [shown, "results/retrieval/{retrieval}/models.png"]


def pool_table(name, subcategory, caption=None):
    """A table of a pool, as the report offers it."""
    return report(
        f"results/pools/{{pool}}/{name}.csv",
        caption=f"../resources/captions/{caption or name}.rst",
        category="Pool {pool}",
        subcategory=subcategory,
        labels={"space": "all spaces", "figure": f"{name}.csv"},
    )


def figure(kind, title, subcategory):
    """A figure as SVG, which the report shows, and as PNG."""
    path = f"results/pools/{{pool}}/figures/{kind}_{{space}}"
    shown = report(
        f"{path}.svg",
        caption=f"../resources/captions/{kind}.rst",
        category="Pool {pool}",
        subcategory=subcategory,
        labels=lambda w: {"space": space_title(w.space), "figure": title},
    )
    return [shown, f"{path}.png"]


def comparison_table(name):
    """A table of a comparison, as the report offers it."""
    return report(
        f"results/comparisons/{{comparison}}/{name}.csv",
        caption=f"../resources/captions/comparison_{name}.rst",
        category="Comparison {comparison}",
        subcategory="Tables",
        labels={"table": f"{name}.csv"},
    )


def comparison_figure(kind):
    """A figure of a comparison as SVG, which the report shows, and as PNG."""
    path = f"results/comparisons/{{comparison}}/figures/{kind}"
    shown = report(
        f"{path}.svg",
        caption=f"../resources/captions/{kind}.rst",
        category="Comparison {comparison}",
        subcategory="Figures",
        labels={"figure": kind.replace("_", " ")},
    )
    return [shown, f"{path}.png"]
