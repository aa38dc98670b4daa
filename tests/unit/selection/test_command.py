from __future__ import annotations

import json

import pytest
import yaml

from atlas.errors import AtlasError
from atlas.files import WORKFLOW_FOLDER
from atlas.plan.building import build
from atlas.selection import command as find_models
from atlas.selection.command import configuration, main
from unit.plan.small_plans import two_domains


def write(tmp_path, *rows):
    file = tmp_path / "my tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


PAIR = {"prompt": "2 + 2", "completion": "4"}
CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}


@pytest.mark.parametrize("rows", [[PAIR], [PAIR, {**PAIR, "more": 1}], [CHAT]])
def test_the_configuration_is_one_that_works(tmp_path, rows):
    found = configuration(write(tmp_path, *rows), "mine", "p", "r", as_is=False)
    data = two_domains()
    data["datasets"] |= found["datasets"]
    plan = build({**data, "retrievals": found["retrievals"]})
    (model,) = plan.pools["retrieval.mine"].models
    assert [(d.dataset, d.split) for d in model.data] == [("examples-mine", "region")]


def test_prompts_are_framed_unless_they_are_framed_already(tmp_path):
    file = write(tmp_path, PAIR)
    framed = configuration(file, "m", "p", "r", as_is=False)["datasets"]["examples-m"]["template"]
    plain = configuration(file, "m", "p", "r", as_is=True)["datasets"]["examples-m"]["template"]
    assert "### Response:" in framed["variants"]["own"]
    assert (plain["variants"]["own"], plain["completion"]) == ("{{ input }}", "{{ completion }}")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the file has no rows"),
        ([{"prompt": "a"}], "row 1: an example has a prompt and a completion, both text"),
        ([PAIR, {"prompt": "a", "completion": 3}], "row 2: an example has a prompt"),
        ([CHAT, PAIR], "row 1: an example has a prompt and a completion"),
    ],
)
def test_examples_that_are_none_are_refused(tmp_path, rows, message):
    with pytest.raises(AtlasError, match=message):
        configuration(write(tmp_path, *rows), "m", "p", "r", as_is=False)


def test_the_command_writes_the_configuration_and_runs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = []

    def run(command, check):
        ran.append(command)
        table = tmp_path / "results/retrieval/my-tasks/models.csv"
        table.parent.mkdir(parents=True)
        table.write_text("base,rank,model,domain,similarity\ntiny,1,m,math,0.75\n")
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(find_models.subprocess, "run", run)
    status = main([str(write(tmp_path, PAIR)), "--pool", "p", "--configfile", "mine.yaml", "-n"])
    assert status == 0
    assert ran[0][3:] == ["results/retrieval/my-tasks/models.csv", "--cores", "1", "--snakefile",
                          str(WORKFLOW_FOLDER / "Snakefile"), "--resources", "gpu=1",
                          "--configfile", "mine.yaml", "retrieval-my-tasks.yaml", "-n"]  # fmt: skip
    written = yaml.safe_load((tmp_path / "retrieval-my-tasks.yaml").read_text())
    assert written["retrievals"]["my-tasks"]["pool"] == "p"
    assert "0.750" not in capsys.readouterr().out
    (tmp_path / "results/retrieval/my-tasks/models.csv").unlink()
    (tmp_path / "results/retrieval/my-tasks").rmdir()
    assert main([str(tmp_path / "my tasks.jsonl"), "--pool", "p"]) == 0
    assert "1  m  math" in capsys.readouterr().out


def test_a_file_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([str(tmp_path / "no.jsonl")]) == 2
    assert "there is no such file" in capsys.readouterr().err
