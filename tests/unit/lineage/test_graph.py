from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.lineage.graph import build_graph, relevant
from unit.job.runs import RAW, A, B, C, D, E, flip, sha


def behind(run, path):
    return build_graph(run.records, run.records.statement(path))


def test_a_chain(run):
    made = run.chain()
    graph = behind(run, C)
    assert set(graph.nodes) == {RAW, *made.values()}
    assert graph.edges == {
        (RAW, made[A]): [RAW], (made[A], made[B]): [A], (made[B], made[C]): [B],
    }  # fmt: skip
    assert graph.targets == [made[C]]
    labels = {n.label: (n.stage, n.outputs) for n in graph.nodes.values()}
    assert labels == {
        RAW: ("outside", {RAW: sha("raw")}), "fetch a": ("sources", {A: sha("a")}),
        "split": ("datasets", {B: sha("b")}), "train": ("models", {C: sha("c")}),
    }  # fmt: skip
    assert graph.above(made[B]) == [made[A]]
    assert graph.above(RAW) == []


def test_what_stands_on_the_target_is_no_part(run):
    made = run.chain()
    assert set(behind(run, B).nodes) == {RAW, made[A], made[B]}


def test_a_diamond_has_each_job_once(run):
    run.put(RAW, "raw")
    a = run.job({A: "a", "results/sources/a2.txt": "a2"}, [RAW])
    b = run.job({B: "b"}, [A, "results/sources/a2.txt"], rule="left")
    c = run.job({C: "c"}, [A], rule="right")
    d = run.job({D: "d"}, [B, C, RAW])
    graph = behind(run, D)
    assert graph.targets == [d]
    assert set(graph.nodes) == {RAW, a, b, c, d}
    assert {e: sorted(f) for e, f in graph.edges.items()} == {
        (RAW, a): [RAW], (RAW, d): [RAW], (a, b): [A, "results/sources/a2.txt"], (a, c): [A],
        (b, d): [B], (c, d): [C],
    }  # fmt: skip
    assert graph.above(d) == [b, c, RAW]  # datasets, models, outside


def test_details_of_a_job(run):
    digest = run.job(
        {A: "a"}, rule="r", params={"seed": 1}, modules={"m": "d"}, packages={"p": "1"}
    )
    node = behind(run, A).nodes[digest]
    assert node.details | {"started": 0, "finished": 0} == {
        "rule": "r", "wildcards": {}, "params": {"seed": 1}, "function": "lib.module:work",
        "modules": {"m": "d"}, "packages": {"p": "1"}, "started": 0, "finished": 0,
        "execution": {"host": "host", "device": "cpu"}, "statement": digest,
    }  # fmt: skip


def test_a_source_has_no_details(chain):
    assert behind(chain, A).nodes[RAW].details == {}


def test_a_broken_statement_on_the_way_is_named(run):
    made = run.chain()
    flip(run.statement(made[A]), 100)
    with pytest.raises(AtlasError, match=made[A]):
        behind(run, C)


def test_a_replaced_statement_has_a_graph_of_its_own(run):
    run.put(RAW, "raw")
    old = run.job({A: "a"}, [RAW], params={"seed": 0})
    new = run.job({A: "b"}, [], params={"seed": 1})
    graph = build_graph(run.records, run.read(old))
    assert set(graph.nodes) == {old, RAW}
    assert set(behind(run, A).nodes) == {new}


def test_behind_a_replaced_statement_stand_the_inputs_that_it_read(run):
    old = run.job({A: "seed 0"}, params={"seed": 0})
    model = run.job({C: "trained on seed 0"}, [A])
    new = run.job({A: "seed 1"}, params={"seed": 1})
    run.job({C: "trained on seed 1"}, [A])
    graph = build_graph(run.records, run.read(model))
    assert old in graph.nodes
    assert new not in graph.nodes


POOLS = [f"results/pools/{p}/silhouette.csv" for p in ("p", "q", "r")]


@pytest.mark.parametrize(
    ("paths", "values", "expected"),
    [
        (POOLS, {"q"}, POOLS[1:2]),
        (POOLS, {"p", "r", "x"}, [POOLS[0], POOLS[2]]),
        (POOLS, {"average"}, POOLS),  # a row that names none hangs on all
        (POOLS, set(), POOLS),
        # Each kind of file is chosen by itself; one that stands alone stays.
        ([*POOLS, "results/tables/x.csv", RAW], {"q"}, [RAW, POOLS[1], "results/tables/x.csv"]),
        (
            ["results/pools/p/s/e.npz", "results/pools/p/t/e.npz", "results/pools/q/s/e.npz"], {"s"},
            ["results/pools/p/s/e.npz", "results/pools/q/s/e.npz"],
        ),
        (["plain.txt", "other.txt"], {"a"}, ["plain.txt", "other.txt"]),
        ([], {"a"}, []),
    ],
)  # fmt: skip
def test_relevant(paths, values, expected):
    assert relevant(paths, values) == sorted(expected)


def test_a_row_narrows_all_that_stands_behind(run):
    """The row's pool and space, on every step; what only differs in other ways stays."""
    for pool in ("p", "q"):
        for space in ("s", "t"):
            run.job({f"results/pools/{pool}/{space}/embeddings.npz": pool + space})
        run.job(
            {f"results/pools/{pool}/silhouette.csv": pool},
            [f"results/pools/{pool}/{space}/embeddings.npz" for space in ("s", "t")],
        )
    run.job({E: "e"}, [f"results/pools/{pool}/silhouette.csv" for pool in ("p", "q")])

    def files(row):
        graph = build_graph(run.records, run.records.statement(E), row)
        return {name for node in graph.nodes.values() for name in node.outputs}

    assert files({"pool": "q", "space": "s", "note": ""}) == {
        E, "results/pools/q/silhouette.csv", "results/pools/q/s/embeddings.npz",
    }  # fmt: skip
    assert len(files({"pool": "average", "space": "s"})) == 1 + 2 + 2
    assert len(files({})) == len(files(None)) == 1 + 2 + 4
