from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml

from atlas.own_models import command, runs
from unit.own_models.folders import adapter, plan

PROMPT = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}


def written(file):
    return yaml.safe_load(Path(file).read_text())


def cells(column):
    """Of the sheet."""
    return [line.split("\t")[column] for line in Path("mine.tsv").read_text().splitlines()[1:]]


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """What was given to Snakemake, which finds a neighbour of everything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "current_plan", lambda files: plan())
    monkeypatch.setattr("sys.stdin", io.StringIO())
    found = []

    def run(line, check):
        found.append(line[3:])
        for target in (word for word in line if word.endswith("neighbours.csv")):
            file = tmp_path / target
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                "space,rank,model,neighbour,similarity\nweight_deltas,1,maths,law,0.25\n"
            )
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(runs.subprocess, "run", run)
    return found


@pytest.fixture
def three(tmp_path):
    for name in ("maths", "law", "algebra"):
        adapter(tmp_path / name)
    return ["maths", "law", "algebra"]


def test_the_space_that_costs_least_is_mapped_first(ran, three, capsys):
    assert command.main([*three, "--domains", "math,legal,math", "--cores", "2"]) == 0
    targets = ["results/pools/mine/neighbours.csv", "results/pools/mine/navigator.html"]
    early, late = ran
    assert early[:2] == late[:2] == targets
    assert early[-2:] == ["--config", "pools={mine: {spaces: [direct_effects]}}"]
    assert late[-2:] == ["--configfile", "mine.yaml"]
    assert late[late.index("--cores") + 1] == "2"
    own = written("mine.yaml")
    assert own["pools"]["mine"]["spaces"] == [
        "direct_effects", "weight_deltas", "delta_activations",
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert "mine: 3 models of tiny; domains from what was given" in said
    assert "mine, nearest by weight deltas (cosine):\n  maths  law (0.25)\n" in said
    assert said.endswith("Open in a browser: results/pools/mine/navigator.html\n")
    assert said.index("Written: mine.yaml, mine.tsv") < said.index("A first map is there")


def test_what_has_a_first_map_is_not_mapped_by_one_space_again(ran, three, tmp_path):
    file = tmp_path / "results/pools/mine/direct_effects/map.csv"
    file.parent.mkdir(parents=True)
    file.touch()
    assert command.main(three) == 0
    assert [line[-2:] for line in ran] == [["--configfile", "mine.yaml"]]


def test_a_folder_that_cannot_be_written_is_told(ran, three, monkeypatch, capsys):
    def full(*_):
        raise PermissionError(13, "Permission denied", "mine.yaml")

    monkeypatch.setattr("atlas.own_models.written.write_whole", full)
    assert command.main(three) == 2
    assert capsys.readouterr().err == "mine.yaml: Permission denied.\n"
    assert not ran


def test_models_without_weights_have_delta_activations_alone(ran, tmp_path):
    for name in ("a", "b"):
        adapter(tmp_path / name, **PROMPT)
    assert command.main(["a", "b"]) == 0
    assert len(ran) == 1
    assert written("mine.yaml")["pools"]["mine"]["spaces"] == ["delta_activations"]


def test_models_of_two_bases_have_a_map_each_and_a_lonely_one_is_told(ran, tmp_path, three, capsys):
    adapter(tmp_path / "x", "lab/other")
    assert command.main([*three, "x"]) == 0
    said = capsys.readouterr().out
    assert "x: the only model of other, so nothing to compare it with; left out" in said
    assert set(written("mine.yaml")["pools"]) == {"mine"}
    adapter(tmp_path / "y", "lab/other")
    assert command.main([*three, "x", "y", "--name", "both"]) == 0
    pools = written("both.yaml")["pools"]
    assert {name: pool["sheet"] for name, pool in pools.items()} == {
        "both--tiny": "both--tiny.tsv", "both--other": "both--other.tsv",
    }  # fmt: skip


def test_a_dry_run_is_one(ran, three, capsys):
    assert command.main([*three, "-n"]) == 0
    assert [line[-1] for line in ran] == ["-n"]
    assert "Open in a browser" not in capsys.readouterr().out


def test_a_run_that_fails_ends_with_its_status(ran, three, monkeypatch, capsys):
    failed = type("Done", (), {"returncode": 1})
    monkeypatch.setattr(runs.subprocess, "run", lambda line, check: failed)
    assert command.main(three) == 1
    assert "Open in a browser" not in capsys.readouterr().out


def test_domains_are_asked_for_on_a_terminal_only(ran, three, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal("numbers\n\nnumbers\n"))
    assert command.main([*three, "-n"]) == 0
    assert cells(3) == ["numbers", "law", "numbers"]
    monkeypatch.setattr("sys.stdin", io.StringIO("never read\n" * 3))
    assert command.main([*three, "-n"]) == 0  # the sheet has them
    assert cells(3) == ["numbers", "law", "numbers"]
    many = [f"m{i}" for i in range(command.SHOWN + 1)]
    assert command._ask(many, many) == many  # the sheet is the place for so many
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert command.main([*three, "-n", "--name", "ended"]) == 130
    assert "nothing was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--domains", "a,b"], "--domains: 2 are given for 3 models (maths, law, algebra)"),
        (["--domains", "a,b c,d"], "a domain: 'b c' is not a name"),
        (["--name", "a/b"], "--name: 'a/b' is not a name"),
        (["--base", "tinny"], "did you mean 'tiny'"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_written(ran, three, capsys, more, message):
    assert command.main([*three, *more]) == 2
    assert message in capsys.readouterr().err
    assert not ran
    assert not list(Path().glob("*.yaml"))


def test_too_few_models_and_unknown_bases_are_told_together(ran, tmp_path, capsys):
    adapter(tmp_path / "one")
    adapter(tmp_path / "other", "lab/other")
    assert command.main(["one"]) == 2
    assert "one: is one model, and a map compares several" in capsys.readouterr().err
    assert command.main(["one", "other"]) == 2
    told = "every model has a base of its own (one of tiny, other of other)"
    assert told in capsys.readouterr().err
    for name in ("p", "q"):
        adapter(tmp_path / name, None)
    assert command.main(["p", "q"]) == 2
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["p", "q"]


def test_a_model_takes_no_name_that_another_has(ran, tmp_path):
    """`m` is a model of the configuration; results/ has another `law`."""
    for name in ("m", "law"):
        adapter(tmp_path / "own" / name)
    adapter(tmp_path / "results/models/law")
    assert command.main(["own"]) == 0
    assert cells(0) == ["mine--law", "mine--m"]


def test_time_grows_with_models_and_bases():
    small = runs.seconds([runs.Size(3, 0.135)])
    assert runs.seconds([runs.Size(30, 0.135)]) == small + 27 * runs.OF_MODEL
    assert runs.seconds([runs.Size(3, 1.35)]) - runs.OF_RUN == pytest.approx(
        10 * (small - runs.OF_RUN)
    )
    assert runs.seconds([runs.Size(3, None)]) is None
