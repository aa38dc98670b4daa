# What the rules of selection read.
DELTA_ACTIVATIONS = "delta_activations/embeddings.npz"
SELECTION_TASKS = {
    task: name
    for name, selection in PLAN.config.selections.items()
    for task in selection.tasks
}


def task_selection(wildcards):
    """The selection that a task belongs to."""
    return PLAN.config.selections[SELECTION_TASKS[wildcards.task]]


def task_base(wildcards):
    """The base of the models that are composed for a task."""
    return PLAN.pools[task_selection(wildcards).pool].bases[0]


def task_base_files(wildcards):
    """Its files."""
    return PLAN.base_files(task_base(wildcards))


def task_size(wildcards):
    """Bytes of that base."""
    return base_bytes(task_base(wildcards))


def selection_runs(wildcards):
    """Task, strategy and seed of each file of answers of a table, and its path."""
    found = []
    for name in PLAN.config.tables[wildcards.table].selections:
        entry = PLAN.config.selections[name]
        runs = [(None, None)]
        runs += [
            (s, seed) for s in entry.strategies for seed in range(1, entry.seeds + 1)
        ]
        found += [
            {
                "selection": name,
                "task": task,
                "strategy": strategy,
                "seed": seed,
                "answers": f"results/selection/{task}/"
                + (f"{strategy}-{seed}/" if strategy else "")
                + "answers.csv",
            }
            for task in entry.tasks
            for strategy, seed in runs
        ]
    return found
