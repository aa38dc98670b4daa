from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.job.withdrawn import requirements
from atlas.job.withdrawn.reach import Backward, Step, forward
from atlas.job.withdrawn.things import ANY, Thing
from atlas.lineage.command import main
from atlas.lineage.forward.affected import affected, graph_of
from atlas.lineage.forward.asked import asked
from atlas.lineage.forward.find import find
from atlas.lineage.forward.index import AtHand
from unit.job.runs import Run, sha
from unit.lineage.worlds import (
    CRATE,
    DRAWN,
    PUSHED,
    SOURCE,
    SPLITS,
    TABLE,
    analyse,
    draw,
    raw,
    rows_of,
    split,
    train,
    weights_of,
    whole,
)  # fmt: skip

FIRST, SECOND = (f"results/datasets/d/{name}.jsonl" for name in SPLITS)
POOL = {
    f"results/pools/p/{part}" for part in ("s/embeddings.npz", "t/embeddings.npz", "silhouette.csv")
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Run:
    """Read only."""
    return whole(Run(tmp_path_factory.mktemp("world") / "run"))


@pytest.fixture
def own(tmp_path) -> Run:
    return whole(Run(tmp_path / "own"))


def ask(run, what):
    records = AtHand(run.root)
    return affected(records, asked(what, records))


def holding(found):
    return {one.file for one in found.holding}


@pytest.mark.parametrize(
    ("what", "models"),
    [
        ("d:0", "a"),
        ("d:2", "ab"),
        ("d:1", ""),
        ("d:4", "c"),
        ("d:0,4-5", "ac"),
        ("d:/question [03] /", "ab"),
    ],
)
def test_a_row_is_in_the_models_that_drew_it(world, what, models):
    found = ask(world, what)
    assert {m for m in DRAWN if weights_of(m) in holding(found)} == set(models)
    assert {m for m in DRAWN if rows_of(m) in holding(found)} == set(models)
    # All that is made of the raw rows may change where a line is taken out, and is listed.
    assert {one.file for one in found.artefacts} > {weights_of(m) for m in DRAWN}
    assert (TABLE in holding(found)) == bool(models)


def test_nearest_first_with_the_way_to_it(world):
    found = ask(world, "d:4")
    assert holding(found) == {
        SOURCE, SECOND, rows_of("c"), weights_of("c"), TABLE, CRATE, "results/pools/q/silhouette.csv",
        "results/pools/q/s/embeddings.npz", "results/pools/q/t/embeddings.npz",
    }  # fmt: skip
    distances = [one.distance for one in found.holding]
    assert distances == sorted(distances) == [0, 1, 2, 3, 4, 4, 5, 6, 7]
    table = next(one for one in found.holding if one.file == TABLE)
    assert table.why == [
        SOURCE, SECOND, rows_of("c"), weights_of("c"), "results/pools/q/s/embeddings.npz",
        "results/pools/q/silhouette.csv", TABLE,
    ]  # fmt: skip


def test_rows_of_a_table_that_name_their_pool_and_space(world):
    def rows(what):
        return next(one.rows for one in ask(world, what).holding if one.file == TABLE)

    assert rows("model:c") == [3, 4, 5]  # those of q, and the average
    assert rows("d:0") == [1, 2, 5]
    assert rows("results/pools/p/t/embeddings.npz") == [2]
    assert rows("d:0,4") is None
    assert rows(TABLE) is None


def test_uploads_crates_and_what_is_made_again(world):
    found = ask(world, "model:a")
    assert [(u.repo, u.path, u.holds) for u in found.uploads] == [("me/a", "models/a", True)]
    assert found.crates == [CRATE]
    assert PUSHED in holding(found)
    assert found.rules == {"embed_s": 1, "embed_t": 1, "main_table": 1, "prepare_rows": 1, "push": 1,
                           "silhouettes": 1, "train_adapter": 1, "write_crate": 1}  # fmt: skip
    assert found.seconds == 30.0 * sum(found.rules.values())
    assert ask(world, "model:b").uploads == []
    assert [u.holds for u in ask(world, "d:4").uploads] == [False]


def test_in_a_crate_whose_pointers_are_files(world, tmp_path):
    shutil.copytree(world.root, tmp_path / "unpacked")
    unpacked = Run(tmp_path / "unpacked")
    assert not unpacked.pointer(TABLE).is_symlink()
    assert ask(unpacked, "model:c").plain() == ask(world, "model:c").plain()
    assert len(find(unpacked.records, "rule = 'main_table'")) == 1


def test_a_crate_has_what_only_lies_beside_its_table(own):
    figure = "results/figures/main.svg"
    own.job({figure: "svg"}, [weights_of("c")], rule="draw")
    other = "results/crates/other/ro-crate-metadata.json"
    own.job({other: "{}"}, [weights_of("b")], rule="write_crate", params={"companions": [figure]},
            function="atlas.publishing.crates.write:write_crate")  # fmt: skip
    assert other in ask(own, "model:c").crates


@pytest.mark.parametrize(
    ("what", "models"),
    [
        ("trl<1.16", "abc"), ("trl<1.15", ""), ("TRL==1.15.0", "abc"), ("trl>=1.0,<2", "abc"),
        ("atlas.training.fine_tuning", "abc"), ("atlas.training", "abc"),
        ("scripts/atlas/training/fine_tuning.py", "abc"), ("atlas.training.fine_tuning:train", "abc"),
        ("atlas.errors", ""), ("host", "abc"), ("data/d.jsonl", "abc"), (SECOND, "c"),
        (rows_of("a"), "a"), ("dataset:d", "abc"), ("d", "abc"), ("base", "abc"), ("model:[ab]", "ab"),
    ],
)  # fmt: skip
def test_kinds_of_things(world, what, models):
    assert {m for m in DRAWN if weights_of(m) in holding(ask(world, what))} == set(models)


def test_a_digest_and_a_stray_file(world, tmp_path):
    digest = sha((world / weights_of("b")).read_bytes())
    stray = tmp_path / "adapter.safetensors"
    stray.write_bytes((world / weights_of("b")).read_bytes())
    want = {weights_of("b"), *POOL, TABLE, CRATE}
    assert holding(ask(world, digest)) == holding(ask(world, digest[:12])) == want
    assert holding(ask(world, str(stray))) == want


def test_an_attempt_and_a_run(own):
    train(own, "a", attempt="0a1b2c3d4e5f/train-1.json")
    assert ask(own, "0a1b2c3d4e5f/train-1.json").holding[0].file == weights_of("a")
    assert (
        "train_adapter" in ask(own, "results/provenance/attempts/0a1b2c3d4e5f/train-1.json").rules
    )
    assert ask(own, "0a1b2c3d4e5f").earlier == 0


def test_what_was_replaced_since_is_counted_and_its_upload_stays(own):
    draw(own, "a", numbers=(1, 3))
    train(own, "a")
    found = ask(own, "d:0")
    assert weights_of("a") not in holding(found)
    assert (found.earlier, [u.holds for u in found.uploads]) == (2, [True])


def test_a_package_behind_what_is_imported(world, monkeypatch):
    needs = {"trl": ["tokenizers"], "requests": [], "tokenizers": []}
    monkeypatch.setattr(
        requirements, "_needed", lambda: {k: frozenset(v) for k, v in needs.items()}
    )
    requirements._behind.cache_clear()
    assert {weights_of(m) for m in DRAWN} <= holding(ask(world, "tokenizers<1"))
    assert ask(world, "tokenizers>=1").artefacts == []
    requirements._behind.cache_clear()
    needs["trl"] = []
    assert ask(world, "tokenizers<1").artefacts == []
    requirements._behind.cache_clear()
    del needs["trl"]  # what is not installed here may need anything
    assert {weights_of(m) for m in DRAWN} <= holding(ask(world, "tokenizers<1"))
    requirements._behind.cache_clear()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no-such-thing", "no statement knows it; give rows of a dataset"),
        ("model:aa", "no statement knows such a model. Did you mean 'a'?"),
        ("d:8", "d has the rows 0 to 7"), ("d:x", "'x' is no row"), ("d:/([/", "d:/([/: '([' is no pattern"),
        ("d:/bananas/", "d has the rows 0 to 7"),
    ],
)  # fmt: skip
def test_what_is_no_thing(world, what, words):
    with pytest.raises(AtlasError) as error:
        ask(world, what)
    assert words in str(error.value)


def test_a_name_of_several_things(own):
    own.job({"results/pools/d/x.txt": "x"}, rule="pool")
    with pytest.raises(AtlasError, match="say which: dataset:d or pool:d"):
        ask(own, "d")
    assert ask(own, "pool:d").rules == {"pool": 1}


def test_rows_of_a_file_that_is_gone_count_as_had(own):
    (own / rows_of("b")).unlink()
    assert weights_of("b") in holding(ask(own, "d:0"))


def test_the_command(world, capsys, tmp_path):
    root = ["--root", str(world.root)]
    assert main(["affected", "d:4", *root]) == 0
    text = capsys.readouterr().out
    assert text.index(SOURCE) < text.index(SECOND) < text.index(rows_of("c"))
    assert f"table  {TABLE}: rows 3-5" in text
    assert main(["affected", "model:a", *root]) == 0
    assert "uploaded  models/a to me/a" in capsys.readouterr().out
    assert main(["affected", "d:4", "--depth", "1", *root]) == 0
    assert SECOND not in (text := capsys.readouterr().out) and "8 behind it" in text
    assert main(["affected", "d:4", "--json", *root]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["again"]["jobs"] == sum(value["again"]["rules"].values())
    assert main(["affected", "trl>2", *root]) == 0
    assert "no artefact that is here hangs on it" in capsys.readouterr().out
    assert main(["affected", "d:1", *root]) == 0
    page = tmp_path / "page.html"
    assert main(["affected", "d:4", "--html", str(page), *root]) == 0
    assert "make_split" in page.read_text()


def test_the_graph_has_what_holds_it_only(world):
    records = AtHand(world.root)
    graph = graph_of(records, affected(records, asked("d:4", records)))
    assert {node.label.split()[0] for node in graph.nodes.values()} == {
        "fetch_rows", "make_split", "prepare_rows", "train_adapter", "embed_s", "embed_t", "silhouettes",
        "main_table", "write_crate",
    }  # fmt: skip
    assert len(graph.targets) == 1


# An oracle: the folder made again with a row altered, a row taken out, or other weights.


def made_again(run, change):
    """Artefacts whose bytes a change alters."""
    before = {path: sha((run / path).read_bytes()) for path in AtHand(run.root).attested()}
    change()
    return {path for path, digest in before.items() if sha((run / path).read_bytes()) != digest}


@pytest.mark.parametrize("number", range(8))
def test_nothing_that_an_altered_row_changes_is_missing(own, number):
    found = ask(own, f"d:{number}")
    rows = [{"q": f"question {n} of {'apples' if n % 2 else 'pears'}"} for n in range(8)]
    rows[number] = {"q": "altered"}

    def change():
        raw(own, rows)
        for name in SPLITS:
            split(own, name, rows)
        for model in DRAWN:
            draw(own, model, rows)
            train(own, model)
        analyse(own)

    altered = made_again(own, change)
    assert altered <= holding(found)
    beyond = holding(found) - altered
    assert beyond <= {
        PUSHED,
        CRATE,
    }  # records of uploads, and crates, have no bytes of it in this world


@pytest.mark.parametrize("number", [0, 3, 7])
def test_nothing_that_a_row_taken_out_changes_is_missing(own, number):
    found = ask(own, f"d:{number}")
    rows = [
        {"q": f"question {n} of {'apples' if n % 2 else 'pears'}"} for n in range(8) if n != number
    ]

    def change():
        raw(own, rows)
        for name in SPLITS:
            split(own, name, rows)
        for model, (_, drawn) in DRAWN.items():
            draw(own, model, rows, numbers=[n for n in drawn if n < len(rows)])
            train(own, model)
        analyse(own)

    assert made_again(own, change) <= {one.file for one in found.artefacts}


FILES = st.sampled_from([f"results/f/{n}" for n in range(6)])


@given(
    st.lists(st.tuples(st.sets(FILES, max_size=3), FILES), min_size=1, max_size=12),
    st.integers(0, 11), st.booleans(),
)  # fmt: skip
def test_forward_and_backward_agree_whatever_the_clocks_say(jobs, at, backward_clock):
    """Each job writes a new version of a file; the way back from a version and the way forward are one."""
    from unit.job.runs import statement

    newest: dict[str, str] = {}
    made = []
    for number, (inputs, output) in enumerate(jobs):
        read = {path: newest[path] for path in inputs if path in newest}
        newest[output] = sha(f"{number}")
        time = len(jobs) - number if backward_clock else number
        made.append(statement({output: newest[output]}, read, time=time))
    bad = made[at % len(made)]
    thing = Thing("x", "files", {path: [digest] for path, digest in bad.outputs.items()})
    step = Step(thing, SimpleNamespace())
    makers = {file: one for one in made for file in one.outputs.items()}
    back = Backward(step, lambda path, digest: makers.get((path, digest)))
    found = forward(step, made)
    assert {file for file in makers if back.held(*file)} == set(found)
    # By hand: a set that grows until it is closed.
    closed = set(bad.outputs.items())
    while (
        new := {f for one in made if closed & set(one.inputs.items()) for f in one.outputs.items()}
        - closed
    ):
        closed |= new
    assert set(found) == closed


def test_any_path_and_any_bytes():
    assert Thing("x", "files", {ANY: ["1"]}).is_file("anywhere", "1")
    assert not Thing("x", "files", {ANY: ["1"]}).is_file("anywhere", "2")
    assert Thing("x", "files", {"a": [ANY]}).is_file("a", "2")
    assert not Thing("x", "files", {"a": [ANY]}).is_file("b", "2")
