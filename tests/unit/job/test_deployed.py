"""How Snakemake reads the workflow, as a module among others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from atlas.deployment import Deployment
from atlas.errors import AtlasError
from atlas.files import WORKFLOW_FOLDER
from atlas.job import deployed


class Workflow:
    """What is asked of Snakemake's: where it puts files, what it calls rules, and its hooks."""

    def __init__(self, prefix="", rules="*", only=None, provider=None, all_temp=False, main=False):
        self.modifier = SimpleNamespace(
            modify_path=lambda path: f"{prefix}{path}", modify_rulename=lambda n: rules.replace("*", n),
            rule_whitelist=only, namespace="atlas", is_main_snakefile=lambda: main,
        )  # fmt: skip
        self.storage_settings = SimpleNamespace(
            default_storage_provider=provider, all_temp=all_temp
        )
        self._onstart = lambda log: said.append("nothing")

    def onstart(self, function):
        if self.modifier.is_main_snakefile():
            self._onstart = function


said: list[str] = []


@pytest.fixture(autouse=True)
def nothing_said():
    said.clear()


def read(**settings):
    return deployed.of_workflow(Workflow(**settings), WORKFLOW_FOLDER)


def test_one_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(WORKFLOW_FOLDER)
    assert read() == Deployment()
    assert read(prefix="atlas/") == Deployment("atlas", elsewhere=True)
    monkeypatch.chdir(tmp_path)
    assert read() == Deployment(elsewhere=True)
    assert read(prefix="a/./b/", rules="x_*") == Deployment("a/b", "x_*", elsewhere=True)
    assert read(rules="mine", only={"train"}) == Deployment("", "mine", "train", elsewhere=True)


def test_a_storage_is_refused():
    with pytest.raises(AtlasError, match="--default-storage-provider fs: results stay in a folder"):
        read(provider="fs")


def test_results_that_would_not_stay_are_refused():
    with pytest.raises(AtlasError, match="--all-temp deletes what was read"):
        read(all_temp=True)


def test_another_version_is_refused(tmp_path):
    with pytest.raises(AtlasError, match="the modules of one Snakefile have one version"):
        deployed.of_workflow(Workflow(), tmp_path)


def test_results_apart_from_their_logs_are_refused():
    workflow = Workflow()
    workflow.modifier.modify_path = lambda path: path.replace("results/", "mine/")
    with pytest.raises(AtlasError, match="module atlas: replace_prefix puts what is made to mine"):
        deployed.of_workflow(workflow, WORKFLOW_FOLDER)


def test_a_file_of_the_workflow_is_known_by_one_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "workflow"
    (folder / "resources").mkdir(parents=True)
    (folder / "resources/x.txt").write_text("one")
    assert deployed.workflow_file(Deployment(), folder, "resources/x.txt") == "resources/x.txt"
    place = Deployment(elsewhere=True)

    def there():
        return deployed.workflow_file(place, folder, "resources/x.txt")

    copy = tmp_path / there()
    assert copy.read_text() == "one"
    assert there().flags == {"local": True, "sourcecache_entry": "resources/x.txt"}
    assert place.file_name(str(there())) == "resources/x.txt"
    before = copy.stat()
    (folder / "resources/x.txt").touch()
    there()
    assert copy.stat().st_mtime_ns == before.st_mtime_ns
    assert copy.stat().st_ino == before.st_ino
    (folder / "resources/x.txt").write_text("two")
    there()
    assert copy.read_text() == "two"


@pytest.mark.parametrize("read_first", ["mine", "the module"])
def test_what_a_module_does_at_the_start_is_done_beside_what_the_user_does(read_first):
    workflow = Workflow()

    def mine():
        workflow.modifier.is_main_snakefile = lambda: True
        workflow.onstart(lambda log: said.append(f"mine {log}"))
        workflow.modifier.is_main_snakefile = lambda: False

    if read_first == "mine":
        mine()
    deployed.join_hooks(workflow, "a", onstart=lambda: said.append("a"))
    deployed.join_hooks(workflow, "a", onstart=lambda: said.append("a again"))
    deployed.join_hooks(workflow, "b", onstart=lambda: said.append("b"))
    workflow.onstart(lambda log: said.append("of another module"))
    if read_first != "mine":
        mine()
    workflow._onstart("log")
    assert said == ["a again", "b", "mine log"]


def test_rules_of_others_are_not_ours():
    ours = SimpleNamespace(module_globals={deployed.PLACE: Deployment("a")})
    theirs = SimpleNamespace(module_globals={deployed.PLACE: "else"})
    assert deployed.of_rule(ours) == Deployment("a")
    assert deployed.of_rule(theirs) is None
    jobs = [
        SimpleNamespace(rule=ours, output=["a/results/x"]),
        SimpleNamespace(rule=theirs, output=["y"]),
    ]
    assert deployed.made_by(Deployment("a", "other_*"), jobs) == {"a/results/x": "results/x"}
    assert deployed.made_by(Deployment(), jobs) == {}
