from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from atlas.errors import AtlasError
from atlas.job import earlier
from atlas.job.execution import Execution
from atlas.job.records import NOTICES
from atlas.job.withdrawn.notices import TELLERS, Withdrawn, read
from atlas.kept import Kept
from atlas.lineage.command import main
from atlas.lineage.forward.affected import affected
from atlas.lineage.forward.index import AtHand
from atlas.lineage.trace import plain, trace
from atlas.lineage.verify import verify
from unit.job.runs import Run, sha, statement
from unit.lineage.worlds import (
    DRAWN,
    RAW_ROWS,
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

FIRST = "results/datasets/d/first.jsonl"


@pytest.fixture
def world(tmp_path) -> Run:
    return whole(Run(tmp_path / "run"), crate=False)


def withdraw(run, *arguments):
    return main(["withdraw", *arguments, "--root", str(run.root)])


def hanging(run):
    return {fault.file for fault in verify(run.records).faults if fault.kind == "withdrawn"}


def on(run, path):
    return Withdrawn(run.records).on(path, sha((run / path).read_bytes()))


def mended(run, rows):
    """All that is made of other raw rows."""
    raw(run, rows)
    for name in SPLITS:
        split(run, name, rows)
    for model in DRAWN:
        draw(run, model, rows)
        train(run, model)
    analyse(run, crate=False)


def test_a_row_is_withdrawn_met_when_it_is_made_without_and_undone(world, capsys):
    before = sorted(path for path in (world / "results").rglob("*") if path.is_file())
    assert withdraw(world, "d:4", "--reason", "a patient asked") == 0
    assert set(before) <= set((world / "results").rglob("*"))
    (notice,) = read(world.root)
    assert (notice.thing.what, notice.reason, notice.undone) == ("d:4", "a patient asked", None)
    assert hanging(world) >= {SOURCE, rows_of("c"), weights_of("c"), TABLE}
    assert not hanging(world) & {FIRST, rows_of("a"), weights_of("b")}
    first = [f for f in verify(world.records).broken if f.kind == "withdrawn"]
    assert [(f.file, f.behind) for f in first] == [(SOURCE, len(hanging(world)) - 1)]
    assert "hangs on d:4, which was withdrawn on" in first[0].sentence
    assert main(["verify", "--root", str(world.root)]) == 1
    capsys.readouterr()
    assert main(["trace", TABLE, "--root", str(world.root)]) == 0
    assert f"withdrawn  {TABLE} hangs on d:4" in capsys.readouterr().out
    assert main(["verify", weights_of("a"), "--root", str(world.root)]) == 0
    assert main(["verify", weights_of("c"), "--root", str(world.root)]) == 1
    found = trace(world.records, weights_of("a"))
    assert plain(found, world.records)["withdrawn"] is found.withdrawn is None

    mended(world, [row if n != 4 else {"q": "another question"} for n, row in enumerate(RAW_ROWS)])
    assert hanging(world) == set()
    assert main(["verify", "--root", str(world.root)]) == 0
    capsys.readouterr()
    assert withdraw(world) == 0
    assert f"{notice.id}  d:4  met" in capsys.readouterr().out

    mended(world, RAW_ROWS)  # the row is there again
    assert weights_of("c") in hanging(world)
    assert withdraw(world, "--undo", notice.id, "--reason", "consent was given") == 0
    assert hanging(world) == set()
    assert [n.undone for n in read(world.root)] == ["consent was given"]
    assert len(list((world / NOTICES).iterdir())) == 2
    capsys.readouterr()
    assert withdraw(world, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "undone: consent was given"


def test_the_row_is_known_wherever_it_has_moved_to(world):
    withdraw(world, "d:4", "--reason", "r")
    moved = RAW_ROWS[4:5] + RAW_ROWS[:4] + RAW_ROWS[5:]
    mended(world, moved)  # a has row 0 now, and b none of it
    assert {m for m in DRAWN if weights_of(m) in hanging(world)} == {"a"}


@pytest.mark.parametrize(
    ("what", "models", "mend"),
    [
        ("model:a", "a", lambda run: train(run, "a", params={"seed": 9})),
        ("trl<1.16", "abc", None),
        ("atlas.training.fine_tuning", "abc", None),
        ("dataset:d", "abc", None),
        ("host", "abc", None),
        (weights_of("b"), "b", None),
    ],
)
def test_other_things(world, what, models, mend):
    assert withdraw(world, what, "--reason", "bad") == 0
    assert {m for m in DRAWN if on(world, weights_of(m))} == set(models)
    settings = {"packages": {"trl": "1.16.0"}, "modules": {"atlas.training.fine_tuning": "8" * 16},
                "host": "another"}  # fmt: skip
    other = statement({weights_of("a"): "1" * 64}, {}, **settings)
    assert not read(world.root)[0].thing.is_of(other)


def test_a_mended_package_meets_the_notice(world):
    withdraw(world, "trl<1.16", "--reason", "a fault in its loss")
    settings = {"packages": {"trl": "1.16.0"}, "distributions": {"trl": "1.16.0"}}
    for model in DRAWN:
        (world / weights_of(model)).unlink()
        world.job(
            {weights_of(model): f"new {model}"}, [rows_of(model)], rule="train_adapter", **settings
        )
    analyse(world, crate=False)
    assert hanging(world) == set()


def test_what_a_later_job_kept_of_a_withdrawn_one_stays_withdrawn(world, monkeypatch):
    """Shards of a pool keep what was computed of models that did not change."""
    shard = "results/pools/p/shards/0.h5"
    first = world.job({shard: "one"}, [weights_of("a")], rule="compute_shard", host="bad")
    kept = {"models": ["a"], "statement": first}
    for number in range(2):  # also what was kept of what was kept
        made = world.job({shard: f"more {number}"}, [weights_of("a")], rule="compute_shard", host="good",
                         attempt=f"{number}/a.json", kept=kept)  # fmt: skip
        kept = {**kept, "statement": made}
    withdraw(world, "bad", "--reason", "its memory was faulty")
    assert shard in hanging(world)
    records = AtHand(world.root)
    assert {one.file for one in affected(records, read(world.root)[0].thing).holding} == {shard}
    execution = job(world, [weights_of("a")], "l:w")
    execution.cache = SimpleNamespace(sha256=None)
    found = (Kept({"a": "base"}), world.read(made))
    monkeypatch.setattr(earlier, "kept", lambda *_: found)
    assert execution._kept({}, {}) == (Kept(), None)
    world.job({shard: "anew"}, [weights_of("a")], rule="compute_shard", host="good")
    assert hanging(world) == set()
    world.job({shard: "lost"}, [weights_of("a")], host="good", kept={**kept, "statement": "0" * 64})
    assert shard in hanging(world)  # of what nobody knows any more


def test_the_same_bytes_from_a_withdrawn_model_stay_withdrawn(world):
    withdraw(world, "model:a", "--reason", "poisoned")
    train(world, "a")
    assert weights_of("a") in hanging(world)
    world.job({weights_of("a"): "other weights"}, [], rule="train_adapter")
    assert weights_of("a") not in hanging(world)


def job(run, inputs, target):
    """A job between its inputs and its work."""
    execution = object.__new__(Execution)
    execution.records, execution.target = run.records, target
    execution.params, execution.output_names = {}, {}
    execution.input_names = dict.fromkeys(inputs, "read")
    execution.place = SimpleNamespace(rule_name=lambda rule: rule)
    execution.snakemake = SimpleNamespace(rule="embed", wildcards={})
    return execution


def refusing(run, inputs, code=None):
    code = code or {"function": "lib:work", "modules": {}, "distributions": {}}
    digests = {path: sha((run / path).read_bytes()) for path in inputs}
    job(run, inputs, code["function"])._refuse_withdrawn(code, digests)


def test_a_job_refuses_what_hangs_on_it(world):
    refusing(world, [weights_of("c")])
    withdraw(world, "d:4", "--reason", "a patient asked")
    with pytest.raises(AtlasError, match=r"adapter_model.safetensors hangs on d:4, which was withdrawn on .* "
                       r"\(a patient asked\); make it again without that, or undo"):  # fmt: skip
        refusing(world, [weights_of("a"), weights_of("c")])
    refusing(world, [weights_of("a"), weights_of("b")])
    for teller in TELLERS:  # which says so
        refusing(world, [weights_of("c")], {"function": teller, "modules": {}, "distributions": {}})


def test_a_job_does_not_run_with_what_is_withdrawn(world):
    withdraw(world, "atlas.training.fine_tuning", "--reason", "bad loss")
    code = {"function": "lib:work", "distributions": {}}
    with pytest.raises(
        AtlasError, match=r"embed would run with atlas.training.fine_tuning, which was"
    ):
        refusing(world, [], {**code, "modules": {"atlas.training.fine_tuning": "7" * 16}})
    refusing(world, [], {**code, "modules": {"atlas.training.fine_tuning": "8" * 16}})


def test_notices_are_part_of_the_history(world):
    withdraw(world, "d:4", "--reason", "r")
    (file,) = (world / NOTICES).iterdir()
    name = file.relative_to(world.root).as_posix()
    data = file.read_bytes()

    def said():
        return {(f.file, f.kind) for f in verify(world.records).faults if f.kind != "withdrawn"}

    assert said() == set()
    file.unlink()
    assert said() == {(name, "history")}
    file.write_bytes(data.replace(b'"reason": "r"', b'"reason": "s"'))
    assert said() == {(name, "history")}
    file.write_bytes(data)
    (file.parent / "0123456789abcdef.json").write_bytes(data)
    assert said() == {(f"{NOTICES}/0123456789abcdef.json", "history")}


def test_a_notice_is_signed(world, tmp_path):
    key = tmp_path / "key.pem"
    assert withdraw(world, "d:4", "--reason", "r", "--key", str(key)) == 0
    checked = ["verify", FIRST, "--signature", f"{key}.pub", "--root", str(world.root)]
    assert main(checked) == 0
    (notice,) = read(world.root)
    history = world / "results/provenance/history.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    (world / NOTICES / f"{notice.id}.json").unlink()
    history.write_bytes(b"".join(line for line in lines if b'"notice"' not in line))
    assert main(checked) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["d:4"], "a notice gives its reason"), (["d:4", "--reason", "  "], "a notice gives its reason"),
        (["--undo", "0", "--reason", "r"], "0: is no notice that could be undone; such are: none."),
        (["d:9", "--reason", "r"], "d has the rows 0 to 7"),
    ],
)  # fmt: skip
def test_what_is_not_withdrawn(world, capsys, arguments, words):
    assert withdraw(world, *arguments) == 2
    assert words in capsys.readouterr().err
    assert not (world / NOTICES).exists()


def test_nothing_is_withdrawn_twice_or_in_a_crate(world, capsys):
    assert withdraw(world, "d:4", "--reason", "r") == 0
    assert withdraw(world, "d:4", "--reason", "s") == 2
    assert "is withdrawn already, by the notice" in capsys.readouterr().err
    world.put("ro-crate-metadata.json", "{}")
    (world / "results/provenance/history.jsonl").unlink()
    assert withdraw(world, "d:5", "--reason", "r") == 2
    assert "is a crate, which is not changed" in capsys.readouterr().err


SAID = {"reason": "r", "user": "u", "time": "2026-01-01"}
THING = {"what": "x", "kind": "files"}
HOSTILE = [
    "{", "[]", {"thing": {"what": 1}}, {"thing": {}, **SAID}, {"undoes": 3, "reason": "r"},
    {"thing": {**THING, "rows": {"a": "b"}}, **SAID}, {"thing": {**THING, "files": []}, **SAID},
    {"thing": {**THING, "more": 1}, **SAID}, {"thing": THING, "reason": "r"},
    {"thing": {**THING, "name": 3}, **SAID},
]  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE)
def test_a_notice_that_is_none_is_told_of(world, data, capsys):
    text = data if isinstance(data, str) else json.dumps(data)
    world.put(f"{NOTICES}/0123456789abcdef.json", text)
    assert main(["verify", "--root", str(world.root)]) == 2
    assert "is no notice, so that it is not known what was withdrawn" in capsys.readouterr().err
    with pytest.raises(AtlasError, match="is no notice"):
        refusing(world, [FIRST])


def test_what_has_the_same_bytes_again_is_as_its_last_job_says(world):
    """Rows of the half that is left alone stay as they were, whatever the raw file was before."""
    mended(world, [{"q": "changed"}, *RAW_ROWS[1:]])
    assert withdraw(world, "d:0", "--reason", "r") == 0
    assert hanging(world) >= {FIRST, weights_of("a"), TABLE}
    assert not hanging(world) & {"results/datasets/d/second.jsonl", rows_of("c"), weights_of("c")}
    records = AtHand(world.root)
    assert {one.file for one in affected(records, read(world.root)[0].thing).holding} == hanging(
        world
    )
