"""What pip, conda and Apptainer install is the same."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from rule_blocks import rule_blocks, said

ROOT = Path(__file__).resolve().parents[2]
ENVS = ROOT / "envs"


def pins(name: str) -> list[str]:
    lines = (ENVS / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r"))]


def test_everything_is_pinned_once():
    for name in ("requirements.in", "requirements.txt", "requirements-test.txt"):
        found = pins(name)
        assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in found), name
        assert len({re.sub(r"[-_.]+", "-", p.partition("==")[0]).lower() for p in found}) == len(
            found
        )


def test_what_is_asked_for_is_what_is_installed():
    def normal(lines):
        return {
            re.sub(r"[-_.]+", "-", p.partition("==")[0]).lower(): p.partition("==")[2]
            for p in lines
        }

    installed = normal(pins("requirements.txt"))
    assert normal(pins("requirements.in")).items() <= installed.items()


def test_conda_installs_the_pins():
    found = yaml.safe_load((ENVS / "atlas.yaml").read_text())
    assert found["dependencies"][:2] == ["python=3.11", "pip"]
    assert found["dependencies"][2]["pip"] == pins("requirements.txt")
    assert len(found["dependencies"]) == 3


def test_apptainer_installs_the_pins():
    text = (ENVS / "atlas.def").read_text()
    assert "From: python:3.11" in text
    assert re.search(r"%files\n +envs/requirements.txt /requirements.txt\n", text)
    installs = [line.strip() for line in text.splitlines() if "install" in line]
    assert installs == ["pip install --no-cache-dir -r /requirements.txt"]


def test_every_rule_runs_in_these_environments():
    for name, block in rule_blocks().items():
        assert said(block, "conda") == '"../envs/atlas.yaml"', name
        assert said(block, "script") == '"../scripts/job.py"' or block.directive("notebook"), name
    assert re.search(
        r'^IMAGE = os.path.relpath\(FOLDER / "envs/atlas.sif"\)\n(if .*\n\n?)    container: IMAGE$',
        (ROOT / "Snakefile").read_text(),
        re.MULTILINE,
    )
