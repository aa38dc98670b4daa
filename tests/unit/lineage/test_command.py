from __future__ import annotations

import json
import shutil

import pytest

from atlas.job.history import of_records
from atlas.lineage.command import main
from unit.job.runs import RAW, A, B, C, E, Run, flip, sha

METADATA = "ro-crate-metadata.json"


@pytest.fixture
def lineage(capsys):
    """Run a command: exit status and what it prints; as JSON where that was asked for."""

    def call(*arguments):
        status = main([str(a) for a in arguments])
        out, error = capsys.readouterr()
        if "--json" in arguments:
            assert error == ""
            return status, json.loads(out)
        return status, out + error

    return call


@pytest.fixture
def root(chain):
    """The folder of a chain whose table has a row for each word."""
    chain.job({E: "model,word\nc,one\nc,two\n"}, [C], rule="table")
    return chain


def test_verify_whole(root, lineage):
    status, text = lineage("verify", "--root", root.root)
    assert status == 0
    assert "whole: 4 files of 4 jobs" in text
    status, value = lineage("verify", "--root", root.root, "--json")
    assert status == 0
    assert (value["whole"], value["files"], value["statements"]) == (True, 4, 4)
    assert value["findings"] == []
    assert value["bytes"] == len("rawabc") + (root / E).stat().st_size


def test_verify_broken(root, lineage):
    flip(root / A)
    flip(root / C)
    status, text = lineage("verify", "--root", root.root)
    assert status == 1
    assert f"artefact  {A} " in text
    assert C not in text  # it follows from the first, and is counted
    assert "1 more differences follow" in text
    assert "broken: 4 files" in text
    status, value = lineage("verify", "--root", root.root, "--json")
    assert (status, value["whole"]) == (1, False)
    assert [(f["file"], f["first"], f["behind"]) for f in value["findings"]] == [
        (A, True, 3), (C, False, 1),
    ]  # fmt: skip
    assert value["findings"][0]["expected"] == sha("a")


@pytest.mark.parametrize(
    "where", ["from the root", "with dots", "from elsewhere", "relative to here"]
)
def test_verify_a_file(root, lineage, monkeypatch, where):
    flip(root / E)
    if where == "from elsewhere":
        monkeypatch.chdir(root.root.parent)
        names = {B: B, E: E}
    elif where == "relative to here":
        monkeypatch.chdir(root.root.parent)
        names = {n: f"{root.root.name}/{n}" for n in (B, E)}
    else:
        monkeypatch.chdir(root.root)
        names = {n: n if where == "from the root" else f"./results/../{n}" for n in (B, E)}
    assert lineage("verify", names[B], "--root", root.root)[0] == 0
    status, value = lineage("verify", names[B], names[E], "--root", root.root, "--json")
    assert status == 1
    assert [(f["kind"], f["file"]) for f in value["findings"]] == [("artefact", E)]


def test_verify_a_file_by_its_whole_path(root, lineage):
    assert lineage("verify", root / B, "--root", root.root)[0] == 0


@pytest.mark.parametrize(
    "arguments", [("verify",), ("history",), ("trace", A), ("sign", "--key", "key.pem")]
)
def test_where_there_are_no_results(tmp_path, lineage, arguments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, text = lineage(*arguments)
    assert status == 2
    assert "holds no results/provenance" in text
    status, value = lineage(*arguments, "--json")
    assert status == 2
    assert "holds no results/provenance" in value["error"]
    assert list(tmp_path.iterdir()) == []


def test_verify_with_a_signature(root, lineage, tmp_path):
    key = tmp_path / "key.pem"
    status, text = lineage("sign", "--root", root.root, "--key", key)
    assert status == 0
    assert "is signed" in text
    check = ("verify", "--root", root.root, "--signature", f"{key}.pub")
    assert lineage(*check)[0] == 0
    root.job({E: "model,word\nc,three\n"}, [C], rule="table")
    assert lineage("verify", "--root", root.root)[0] == 0
    status, value = lineage(*check, "--json")
    assert status == 1
    assert [(f["kind"], f["file"]) for f in value["findings"]] == [("signature", E)]
    assert lineage(*check, B)[0] == 0  # the table does not stand behind it
    assert lineage(*check, E)[0] == 1
    status, text = lineage("verify", "--root", root.root, "--signature", tmp_path / "no-such")
    assert status == 2
    assert "no such key" in text


def test_sign_as_json(root, lineage, tmp_path):
    status, value = lineage("sign", "--root", root.root, "--key", tmp_path / "k", "--json")
    assert status == 0
    assert value["public_key"] == str(tmp_path / "k.pub")
    assert set(json.loads((root / "results/provenance/manifest/manifest.json").read_text())) == {
        "artefacts", "sources", "absent", "history", "records",
    }  # fmt: skip
    assert str(root / "results/provenance/manifest/manifest.json") == value["manifest"]


def test_sign_with_what_is_no_key(root, lineage, tmp_path):
    (tmp_path / "k").write_text("no key")
    assert lineage("sign", "--root", root.root, "--key", tmp_path / "k")[0] == 2


@pytest.fixture
def crate(root):
    """A crate's folder: its own records, and metadata that list nothing."""
    root.put(METADATA, json.dumps({"@context": "", "@graph": []}))
    files = sorted(f for f in root.root.rglob("*") if f.is_file())
    lines = [f"{sha(f.read_bytes())}  {f.relative_to(root.root).as_posix()}\n" for f in files]
    root.put("manifest-sha256.txt", "".join(lines))
    return root


def test_verify_a_crate(crate, lineage):
    """As the root, and as a file of another's."""
    assert lineage("verify", "--root", crate.root)[0] == 0
    assert lineage("verify", crate.root)[0] == 0
    flip(crate / B)
    for arguments in (("--root", crate.root), (crate.root,)):
        status, value = lineage("verify", *arguments, "--json")
        assert status == 1
        assert [(f["kind"], f["file"]) for f in value["findings"]] == [("artefact", B)]


@pytest.mark.parametrize("as_root", [True, False])
def test_verify_a_crate_with_a_signature(crate, lineage, tmp_path, as_root):
    lineage("sign", "--root", crate.root, "--key", tmp_path / "key")
    crate.job({E: "forged"}, [C], rule="table")
    place = ("--root", crate.root) if as_root else (crate.root,)
    assert lineage("verify", *place, "--signature", tmp_path / "key.pub")[0] == 1


def test_verify_a_crate_whose_metadata_are_no_json(crate, lineage):
    (crate / METADATA).write_text("{")
    status, _ = lineage("verify", crate.root)
    assert status in (1, 2)


def test_trace(root, lineage):
    status, text = lineage("trace", E, "--root", root.root)
    assert status == 0
    lines = [line.lstrip("│├└─ ").partition("  ")[0] for line in text.splitlines()]
    order = [lines.index(word) for word in (E, "table", "train", "split", "fetch a", RAW)]
    assert order == sorted(order)
    status, value = lineage("trace", E, "--root", root.root, "--json")
    assert status == 0
    assert (value["file"], value["row"]) == (E, None)
    assert {n["label"] for n in value["nodes"].values()} == {
        "table", "train", "split", "fetch a", RAW,
    }  # fmt: skip


def test_trace_a_row(root, lineage):
    status, value = lineage("trace", f"{E}:2", "--root", root.root, "--json")
    assert status == 0
    assert value["row"] == {"model": "c", "word": "two"}
    status, text = lineage("trace", f"{E}:2", "--root", root.root)
    assert status == 0
    assert "word two" in text
    status, text = lineage("trace", f"{E}:3", "--root", root.root)
    assert status == 2
    assert "has the rows 1 to 2, not 3" in text


def test_trace_a_file_whose_name_looks_like_a_row(run, lineage, monkeypatch):
    name = "results/models/x:12"
    run.job({name: "x"}, rule="odd")
    monkeypatch.chdir(run.root)
    status, value = lineage("trace", name, "--json")
    assert (status, value["file"]) == (0, name)


def test_trace_a_stranger(root, lineage, tmp_path, monkeypatch):
    (tmp_path / "found.txt").write_text("c")
    status, value = lineage("trace", tmp_path / "found.txt", "--root", root.root, "--json")
    assert (status, value["file"]) == (0, C)
    assert value["known_as"].endswith(f"has the bytes of {C}")
    (tmp_path / "found.txt").write_text("unheard of")
    status, value = lineage("trace", tmp_path / "found.txt", "--root", root.root, "--json")
    assert status == 2
    assert sha("unheard of") in value["error"]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    status, text = lineage("trace", tmp_path / "found.txt")
    assert status == 2
    assert "no results are at hand" in text


def test_trace_a_row_of_a_stranger(root, lineage, tmp_path):
    shutil.copyfile(root / E, tmp_path / "copy.csv")
    status, value = lineage("trace", f"{tmp_path}/copy.csv:2", "--root", root.root, "--json")
    assert status == 2 or value["row"] == {"model": "c", "word": "two"}


def test_trace_what_no_job_made(root, lineage):
    root.put("results/models/mine.txt", "mine")
    status, text = lineage("trace", "results/models/mine.txt", "--root", root.root)
    assert status == 2
    assert "no job of this workflow made it" in text


def test_diff(root, lineage, tmp_path):
    other = Run(tmp_path / "other")
    shutil.copytree(root.root, other.root, symlinks=True, dirs_exist_ok=True)
    status, text = lineage("diff", root.root, other / "results")
    assert status == 0
    assert "identical: 4 artefacts" in text
    other.time = 20
    other.job({E: "model,word\nc,one\nc,three\n"}, [C], rule="table", params={"language": "en"})
    status, text = lineage("diff", root.root, other.root)
    assert status == 1
    assert "1 artefacts differ, 3 are the same" in text
    assert "parameter language: absent -> en" in text
    status, value = lineage("diff", root.root, other.root, "--json")
    assert status == 1
    assert value["cells"] == [
        {"file": E, "row": 2, "column": "word", "before": "two", "after": "three"}
    ]
    assert lineage("diff", root.root, other.root / "results", "--json")[1] == value
    status, value = lineage("diff", root.root, tmp_path / "no-such", "--json")
    assert status == 2
    assert "no-such" in value["error"]


def test_diff_with_a_broken_statement(root, lineage, tmp_path):
    shutil.copytree(root.root, tmp_path / "other", symlinks=True)
    flip(root / E)
    flip(root.pointer(E).resolve(), 44)
    status, text = lineage("diff", root.root, tmp_path / "other")
    assert status == 2
    assert "was altered" in text


def test_history(root, lineage):
    assert lineage("history", "--root", root.root, "--json") == (0, [])
    entry = {"run": "1.2.host.", "rule": "train", "wildcards": {"model": "m"}, "user": "ann",
             "host": "host", "process": "1.2", "started": "2026-01-01T10:00:00",
             "ended": "2026-01-01T10:05:00", "outcome": "failed", "error": "[no] room",
             "attempt": 2}  # fmt: skip
    folder = "results/provenance/attempts/0123"
    root.put(f"{folder}/train-00-2.json", json.dumps(entry))
    root.put(f"{folder}/train-00-3.json", b"\xff")
    status, value = lineage("history", "--root", root.root, "--json")
    assert status == 0
    unreadable = {"outcome": "unreadable", "started": "", "file": f"{folder}/train-00-3.json"}
    train = {**entry, "file": f"{folder}/train-00-2.json"}
    assert value == [train, unreadable]  # the newest first
    for chosen, expected in (
        (["--outcome", "failed"], [train]), (["--rule", "tr*"], [train]), (["--rule", "x"], []),
        (["--since", "2026-01-02"], []), (["--since", "2026"], [train]), (["--last", "1"], [train]),
        (["--since", "2026-01-01 10:00"], [train]), (["--since", "2026-01-01 10:01"], []),
    ):  # fmt: skip
        assert lineage("history", "--root", root.root, "--json", *chosen) == (0, expected)
    assert lineage("history", "--root", root.root, "--since", "yesterday")[0] == 2
    status, text = lineage("history", "--root", root.root)
    assert status == 0
    for words in ("2026-01-01 10:00:00  failed", "300.0 s", "ann@host", "train m (attempt 2)", "[no] room",
                  "unreadable"):  # fmt: skip
        assert words in text
    assert max(map(len, text.splitlines())) <= 80
    assert len(list(of_records(root.root))) == 2


@pytest.mark.parametrize(
    "arguments", [(), ("no-such",), ("trace",), ("diff", "a"), ("sign",), ("verify", "--no-such")]
)
def test_what_is_no_command(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: lineage.py" in capsys.readouterr().err


def test_help_tells_the_exit_statuses(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["verify", "--help"])
    assert stop.value.code == 0
    assert "exit status: 0 whole" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_a_record_moves_no_cursor(root, capsys, as_json):
    """What a statement says can neither paint over what was found nor add a line to it."""
    paint = "\x1b[2K\x1b[1A\x9b1Gx\r\nwhole: 4 files of 4 jobs"
    root.job({f"results/{paint}": "x"}, [C], rule=paint, wildcards={"w": paint}, host=paint)
    flip(root / f"results/{paint}")
    for command in (["verify"], ["trace", f"results/{paint}"], ["trace", "results/none\x1b[1A"]):
        main([*command, "--root", str(root.root), *as_json])
        text = "".join(capsys.readouterr())
        assert "x1b[1A" in text or "u001b[1A" in text
        assert not set(text) & {"\x1b", "\x9b", "\r"}
        assert not [line for line in text.splitlines() if line.startswith("whole")]


def test_no_word_becomes_a_picture(root, lineage):
    for command in (
        ["affected", "delta:x:"],
        ["withdraw", "delta:x:", "--reason", "r"],
        ["trace", "a:x:"],
    ):
        status, text = lineage(*command, "--root", root.root)
        assert status == 2 and ":x:" in text


def test_a_trace_fits_on_a_screen_and_cuts_no_digest(run, lineage, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    for number in range(40):
        run.job({f"results/models/m{number}/a.txt": f"{number}"}, rule="train")
    run.job({A: "a"}, [f"results/models/m{n}/a.txt" for n in range(40)], rule="join")
    run.job({E: "model\nc\n"}, [A], rule="table")
    _, text = lineage("trace", E, "--root", run.root)
    assert len(text.splitlines()) <= 41
    assert sha("model\nc\n") in text
    assert (
        "40 jobs and files before it; --depth shows more" in text
        or "and 28 more like these" in text
    )
    _, deep = lineage("trace", E, "--depth", "9", "--root", run.root)
    assert "and 28 more like these" in deep
    _, flat = lineage("trace", E, "--depth", "1", "--root", run.root)
    assert "join" not in flat
    assert "1 jobs and files before it" in flat


def test_a_stray_file_has_all_its_names_the_trained_one_first(run, lineage, tmp_path):
    names = [
        f"results/{place}/adapter.safetensors" for place in ("merged/a", "models/b", "models/z")
    ]
    run.job({names[2]: "weights"}, rule="train")
    run.job({names[0]: "weights"}, [names[2]], rule="copy")
    run.job({names[1]: "weights"}, rule="train_again")
    (tmp_path / "stray").write_text("weights")
    _, value = lineage("trace", tmp_path / "stray", "--root", run.root, "--json")
    assert value["file"] == names[1]
    assert value["known_as"].endswith(f"of {names[1]}, and of {names[2]}, and of {names[0]}")


def test_an_altered_file_is_named_before_what_is_missing_outside(root, lineage):
    flip(root / B)
    (root / RAW).unlink()
    _, value = lineage("verify", "--root", root.root, "--json")
    assert [(f["kind"], f["file"], f["first"]) for f in value["findings"]] == [
        ("artefact", B, True), ("missing", RAW, True),
    ]  # fmt: skip
