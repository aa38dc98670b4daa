"""What statements call files and rules, wherever the workflow lies."""

from __future__ import annotations

import os

from hypothesis import assume, given
from hypothesis import strategies as st

from atlas.deployment import Deployment, of_job, results_root

HERE = Deployment()
BELOW = Deployment("some/atlas", "our_*", "", True)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,8}", fullmatch=True)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(PATHS)
def test_files_of_one_folder_have_their_names(path):
    assert HERE.file_name(path) == path == HERE.path(path)
    assert HERE.rule_name(path) == path


@given(PATHS, PATHS, NAMES)
def test_results_have_the_same_names_below_each_root(root, path, rule):
    place = Deployment(root, "a_*_b")
    assert place.file_name(place.path(f"results/{path}")) == f"results/{path}"
    assert place.rule_name(f"a_{rule}_b") == rule


@given(PATHS, PATHS)
def test_files_elsewhere_are_found_from_the_root(root, path):
    assume(not path.startswith(root))
    name = Deployment(root).file_name(path)
    assert os.path.normpath(f"{root}/{name}") == os.path.normpath(path)
    assert Deployment(root).file_name(f"/{path}") == f"/{path}"


def test_files_of_the_workflow_have_its_own_names():
    assert (
        BELOW.file_name(".snakemake/atlas/workflow/resources/probes.txt") == "resources/probes.txt"
    )
    assert BELOW.file_name("resources/probes.txt") == "../../resources/probes.txt"


def test_one_rule_that_has_another_name():
    assert Deployment(rules="mine", rule="train_adapter").rule_name("mine") == "train_adapter"


def test_jobs_are_told():
    assert HERE.told() == {}
    assert of_job({"device": "cpu"} | HERE.told()) == HERE
    assert of_job(BELOW.told()) == BELOW


def test_the_root_of_a_job(monkeypatch):
    monkeypatch.delenv("DELTA_ATLAS_ROOT", raising=False)
    assert str(results_root()) == "."
    monkeypatch.setenv("DELTA_ATLAS_ROOT", "some/atlas")
    assert str(results_root()) == "some/atlas"
