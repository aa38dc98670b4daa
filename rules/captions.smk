# How the report shows tables and figures: captions, categories, labels.


def shown(path, caption, category, subcategory, labels):
    """A file as the report shows it."""
    return report(
        path,
        caption=f"../resources/captions/{caption}.rst",
        category=category,
        subcategory=subcategory,
        labels=labels,
    )


def figure(path, caption, category, subcategory, labels):
    """A figure as SVG, which the report shows, as PNG and PDF, and as SVG and PDF at the width of a column."""
    others = (".png", ".pdf", "_column.svg", "_column.pdf")
    name = path.removesuffix(".svg")
    shown_one = shown(path, caption, category, subcategory, labels)
    return [shown_one, *(name + other for other in others)]


def table_labels(**others):
    """What the report calls a file of a table."""
    return lambda wildcards: {"table": wildcards.table.replace("_", " "), **others}


def table_file(kind, path="results/tables/{table}.csv", form="raw CSV"):
    """A table of a kind: its numbers, or its page."""
    subcategory = "Main table" if kind == "main" else "Experiments"
    return shown(path, f"{kind}_table", "Tables", subcategory, table_labels(format=form))


def table_files(kind):
    """A table of a kind and its page, and its figure if it has one."""
    found = {"table": table_file(kind), "page": "results/tables/{table}.md"}
    return found | ({"figure": table_figure(kind)} if TABLE_KINDS[kind].drawn else {})


def other_table(path, caption, subcategory, table, form="raw CSV"):
    """A table of another place than results/tables."""
    return shown(path, caption, "Tables", subcategory, {"table": table, "format": form})


def summary_file(path, form):
    """The summary, to be read one way or another."""
    labels = {"what": "Summary", "format": form}
    return shown(path, caption="summary", category="Findings", subcategory="Summary", labels=labels)


def table_figure(kind):
    """The figure of an experiment."""
    category, labels = "Figures of experiments", table_labels(figure="summary")
    path = "results/figures/{table}.svg"
    return figure(path, f"{kind}_table", category, "Summaries of tables", labels)


def pool_table(name, subcategory, caption=None):
    """A table of a pool."""
    path = f"results/pools/{{pool}}/{name}.csv"
    labels = {"space": "all spaces", "figure": f"{name}.csv"}
    return shown(path, caption or name, "Pool {pool}", subcategory, labels)


def pool_figure(kind, title, subcategory):
    """A figure of a pool in one space."""
    path = f"results/pools/{{pool}}/figures/{kind}_{{space}}.svg"
    labels = lambda wildcards: {"space": space_title(wildcards.space), "figure": title}
    return figure(path, kind, "Pool {pool}", subcategory, labels)


def comparison_table(name):
    """A table of a comparison."""
    path = f"results/comparisons/{{comparison}}/{name}.csv"
    labels = {"table": f"{name}.csv"}
    return shown(path, f"comparison_{name}", "Comparison {comparison}", "Tables", labels)


def comparison_figure(kind):
    """A figure of a comparison."""
    path = f"results/comparisons/{{comparison}}/figures/{kind}.svg"
    labels = {"figure": kind.replace("_", " ")}
    return figure(path, kind, "Comparison {comparison}", "Figures", labels)
