# What the rules of models, bases and uploads read.
def model_base_files(wildcards):
    """Files of the base of a model."""
    known(wildcards.model, PLAN.models, "results/models", "model")
    return PLAN.base_files(PLAN.models[wildcards.model].base)


def model_base_weights(wildcards):
    """Of the files of the base of a model, the record of its origin and the weights."""
    known(wildcards.model, PLAN.models, "results/models", "model")
    return base_weights_of(PLAN.models[wildcards.model].base)


def base_weights_of(base):
    """Of the files of a base, the record of its origin and the weights."""
    found = PLAN.base_files(base)
    return [f for f in found if f.endswith(("base.json", ".safetensors"))]


def fetched_together():
    """Names of the adapters that are not fetched by a job of their own."""
    return [model.name for some in PLAN.fetched_together for model in some]


def model_address(wildcards):
    """What a card calls the base of a model."""
    return list(PLAN.base_address(PLAN.models[wildcards.model].base))


def model_dtype(wildcards):
    """Precision of the base of a model."""
    return base_dtype(PLAN.models[wildcards.model].base)


def base_dtype(base):
    """Precision in which a base is used."""
    return PLAN.pretrained(base).dtype


def merged_delta(wildcards):
    """The delta of a merged model, as it is configured."""
    return PLAN.config.deltas[PLAN.merged[wildcards.merged].delta]


def push_origins(wildcards):
    """Of the upload of a delta: where base and instruct model are from, with their licences."""
    kind, _, name = PLAN.config.pushes[wildcards.push].path.partition("/")
    if kind != "deltas":
        return {}
    found = {}
    for role in ("base", "instruct"):
        base = getattr(PLAN.config.deltas[name], role)
        address, revision = PLAN.base_address(base)
        licence = PLAN.config.bases[base].licence
        found[role] = {"address": address, "revision": revision, "licence": licence}
    return found


def training_recipe(wildcards):
    """What of a recipe the training reads; rows and lengths are the datasets' business."""
    recipe = PLAN.recipe(wildcards.model).model_dump(exclude={"rows", "length"})
    other = {"lora", "ia3", "grpo"} - {recipe["parameters"], recipe["objective"]}
    return {key: value for key, value in recipe.items() if key not in other}


def training_problems(wildcards):
    """Raw rows that a grader reads, where a model is trained on rewards."""
    if PLAN.recipe(wildcards.model).objective != "grpo":
        return []
    return [
        f"results/sources/datasets/{d.dataset}.jsonl"
        for d in PLAN.models[wildcards.model].data
    ]


def completion_room(wildcards):
    """Tokens that a completion may have, where a model is trained on rewards."""
    recipe = PLAN.recipe(wildcards.model)
    return recipe.grpo.new_tokens if recipe.objective == "grpo" else 0


def training_licences(wildcards):
    """Datasets of a model as its card names them (on a hub: the repository), with licences."""
    entries = {
        d.dataset: PLAN.config.datasets[d.dataset]
        for d in PLAN.models[wildcards.model].data
    }
    return {
        entry.source.hub.repo if entry.source.hub else name: entry.licence
        for name, entry in entries.items()
    }


def training_data(wildcards):
    """Entries of a model's mixture, with the length that each may have."""
    model, length = PLAN.models[wildcards.model], PLAN.recipe(wildcards.model).length
    return [
        {
            **d.model_dump(),
            "max_tokens": length.datasets.get(d.dataset, length.max_tokens),
        }
        for d in model.data
    ]
