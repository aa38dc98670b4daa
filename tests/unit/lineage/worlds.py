"""A small folder of jobs as the workflow makes them: rows, splits, models, a pool, tables, an upload."""

from __future__ import annotations

import json

from unit.job.runs import sha

SPLIT = "atlas.datasets.splits:make_split"
DRAW = "atlas.datasets.training_rows:prepare_rows"
TRAIN = "atlas.training.fine_tuning:train"
RAW_ROWS = [{"q": f"question {n} of {'apples' if n % 2 else 'pears'}"} for n in range(8)]
SPLITS = {"first": range(4), "second": range(4, 8)}
DRAWN = {"a": ("first", (0, 2)), "b": ("first", (2, 3)), "c": ("second", (4, 5))}
POOLS = {"p": "ab", "q": "c"}
SPACES = ("s", "t")
TABLE = "results/tables/main.csv"
SOURCE = "results/sources/datasets/d.jsonl"
RECORD = "results/sources/datasets/d.json"
BASE = "results/sources/bases/base/model.safetensors"
PUSHED, CRATE = "results/pushed/a.json", "results/crates/main/ro-crate-metadata.json"


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def rows_of(model):
    return f"results/models/{model}/rows.jsonl"


def weights_of(model):
    return f"results/models/{model}/adapter_model.safetensors"


def raw(run, rows=RAW_ROWS):
    run.put("data/d.jsonl", jsonl(rows))
    run.job({SOURCE: jsonl(rows), RECORD: f"{len(rows)}"}, ["data/d.jsonl"], rule="fetch_rows",
            wildcards={"dataset": "d"}, packages={"requests": "2.0"},
            function="atlas.sources.raw_rows:fetch_rows")  # fmt: skip


def split(run, name, rows=RAW_ROWS):
    file = f"results/datasets/d/{name}.jsonl"
    made = [{"row": n, "prompt": rows[n]["q"]} for n in SPLITS[name] if n < len(rows)]
    run.job({file: jsonl(made)}, [SOURCE], rule="make_split", function=SPLIT, names={file: "rows"},
            modules={"atlas.datasets.splits": "5" * 16})  # fmt: skip


def draw(run, model, rows=RAW_ROWS, numbers=None):
    name, drawn = DRAWN[model]
    made = [
        {"dataset": "d", "split": name, "row": n, "ids": rows[n]["q"]} for n in numbers or drawn
    ]
    run.job({rows_of(model): jsonl(made)}, [f"results/datasets/d/{name}.jsonl"], rule="prepare_rows",
            function=DRAW, names={rows_of(model): "rows"}, wildcards={"model": model})  # fmt: skip


def train(run, model, **more):
    read = (run / rows_of(model)).read_text()
    settings = {"packages": {"trl": "1.15.0"}, "modules": {"atlas.training.fine_tuning": "7" * 16},
                "distributions": {"trl": "1.15.0", "tokenizers": "0.20"}, "python": "3.11.7",
                **more}  # fmt: skip
    run.job({weights_of(model): f"weights {read}"}, [rows_of(model), BASE], rule="train_adapter",
            function=TRAIN, wildcards={"model": model},
            params={"seed": 3, "recipe": {"objective": "sft", "epochs": 2}}, **settings)  # fmt: skip


def analyse(run, crate=True):
    """Pools, tables, an upload and a crate of what models are there."""
    for pool, models in POOLS.items():
        for space in SPACES:
            read = "".join((run / weights_of(m)).read_text() for m in models)
            run.job({f"results/pools/{pool}/{space}/embeddings.npz": space + read},
                    [weights_of(m) for m in models], rule=f"embed_{space}",
                    wildcards={"pool": pool})  # fmt: skip
        embedded = [f"results/pools/{pool}/{space}/embeddings.npz" for space in SPACES]
        lines = "".join(f"{space},{sha((run / e).read_text())}\n"
                        for space, e in zip(SPACES, embedded, strict=True))  # fmt: skip
        run.job({f"results/pools/{pool}/silhouette.csv": f"space,silhouette\n{lines}"}, embedded,
                rule="silhouettes", wildcards={"pool": pool})  # fmt: skip
    lines = "".join(f"{pool},{line}\n" for pool in POOLS for line in
                    (run / f"results/pools/{pool}/silhouette.csv").read_text().split("\n")[1:3])  # fmt: skip
    run.job({TABLE: f"pool,space,silhouette\n{lines}average,s,0\n"},
            [f"results/pools/{pool}/silhouette.csv" for pool in POOLS], rule="main_table")  # fmt: skip
    run.job({PUSHED: "{}"}, [weights_of("a")], rule="push", function="atlas.publishing.push:push",
            params={"repo": "me/a", "path": "models/a"})  # fmt: skip
    if crate:  # one that holds nothing: no verification passes it
        run.job({CRATE: "{}"}, [TABLE], rule="write_crate", params={"companions": []},
                function="atlas.publishing.crates.write:write_crate")  # fmt: skip


def whole(run, crate=True):
    """Make all of it."""
    run.put(".snakemake/here", "")
    run.job({BASE: "base"}, rule="fetch_base", wildcards={"base": "base"})
    raw(run)
    for name in SPLITS:
        split(run, name)
    for model in DRAWN:
        draw(run, model)
        train(run, model)
    analyse(run, crate)
    return run
