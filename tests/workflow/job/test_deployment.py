"""The workflow in another folder than its results, and as a module of another workflow.

The page that is followed is docs/deployment.md; what it fetches from a hub of repositories comes from a
repository of this checkout.
"""

import json
import re
import shlex
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from documents import blocks, write_file
from micro import TASKS, checkout, environment, lineage, micro_config, snakemake, write_rows

pytestmark = pytest.mark.workflow

ADDRESS = "https://github.com/OWNER/delta-atlas"
ROWS = "results/models/micro-alpha-first/rows.jsonl"
MODULE = """
configfile: "config.yaml"

rule first:
    input: "{prefix}{rows}"
    output: directory("mine")
    params: code="of another workflow"
    shell: "mkdir {{output}}"

module atlas:
    snakefile: "{snakefile}"
    config: config["atlas"]
    {more}

use rule * from atlas as {names}

onstart:
    print("the start of mine")
"""


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Path:
    """A checkout that holds nothing else, and is not written to."""
    return checkout(tmp_path_factory.mktemp("workflow") / "atlas")


@pytest.fixture(scope="module")
def hub(workflow, tmp_path_factory) -> dict[str, str]:
    """Variables that let git have the repository of the page, with the tag that the page names."""
    repository = tmp_path_factory.mktemp("hub") / "delta-atlas"
    version = re.search(r'tag="(v[\d.]+)"', "".join(b.text for b in blocks("docs/deployment.md")))
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for line in (
        ["git", "init", "--quiet", str(repository)],
        ["cp", "-r", f"{workflow}/.", str(repository)],
        [*git, "-C", str(repository), "add", "."],
        [*git, "-C", str(repository), "commit", "--quiet", "--message", "all"],
        [*git, "-C", str(repository), "tag", version[1]],
    ):
        subprocess.run(line, check=True)
    return {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }  # fmt: skip


def study(folder: Path) -> Path:
    """A folder of somebody's own, with raw rows and a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TASKS:
        write_rows(folder / f"data/{name}.jsonl", name)
    atlas = {**micro_config(), "defaults": False}
    (folder / "micro.yaml").write_text(yaml.safe_dump(atlas))
    (folder / "config.yaml").write_text(yaml.safe_dump({"atlas": atlas, "of": "another workflow"}))
    return folder


def module(
    folder: Path, workflow: Path, names: str = "our_*", prefix: str = "", more: str = ""
) -> Path:
    """A folder of somebody's own with a workflow that has this one as a module."""
    if prefix:
        more = f'prefix: "{prefix}"'
    text = MODULE.format(snakefile=workflow / "Snakefile", names=names, rows=ROWS, more=more,
                         prefix=f"{prefix}/" if prefix else "")  # fmt: skip
    (study(folder) / "Snakefile").write_text(text)
    return folder


def run(folder: Path, *arguments: str, **settings):
    return snakemake(folder, *arguments, "--cores", "1", config=None, **settings)


def portable(root: Path) -> dict[str, dict]:
    """What statements say, without the times and hosts of a run."""
    tree = root / "results/provenance/attestations"
    said = (json.loads(f.read_text()) for f in sorted(tree.rglob("*.json")))
    return {
        s["subject"][0]["name"]: [s["subject"], s["predicate"]["buildDefinition"]] for s in said
    }


def test_a_module_makes_what_the_workflow_makes(workflow, tmp_path, finished):
    """With a prefix and other names of rules; and again, from another place, nothing."""
    folder = module(tmp_path / "study", workflow, prefix="some/atlas")
    done = run(folder)
    assert "the start of mine" in done.stdout
    assert {f.name for f in folder.iterdir()} == {".snakemake", "Snakefile", "config.yaml", "data",
                                                  "micro.yaml", "mine", "some"}  # fmt: skip
    root = folder / "some/atlas"
    assert {f.name for f in root.iterdir()} == {"results", "logs", "benchmarks"}
    made, whole = portable(root), portable(finished)
    assert len(made) == 4
    same = json.dumps({name: whole[name] for name in made})
    assert json.dumps(made) == same.replace('"uri": "data/', '"uri": "../../data/')
    verified = lineage(workflow, "verify", "--root", str(root))
    assert verified.returncode == 0, verified.stdout
    assert "code was not compared" not in verified.stdout
    explained = lineage(workflow, "explain", "--root", str(root), ROWS)
    assert f"{ROWS} is up to date; it was made once" in explained.stdout
    (root / ROWS).write_text("altered")
    assert lineage(workflow, "verify", "--root", str(root)).returncode == 1
    explained = lineage(workflow, "explain", "--root", str(root), ROWS)
    assert "altered since it was made" in explained.stdout
    assert "our_prepare_rows" in run(folder, "-n", "--rerun-incomplete").stdout
    run(folder, "--rerun-incomplete")
    other = checkout(tmp_path / "another place")
    text = (folder / "Snakefile").read_text().replace(str(workflow), str(other))
    (folder / "Snakefile").write_text(text)
    assert "Nothing to be done" in run(folder, "-n").stdout


def test_the_folder_of_the_workflow_is_another(workflow, tmp_path, finished):
    folder = study(tmp_path / "study")
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text("tables: {mine: {kind: spaces, pools: [micro]}}\n")
    arguments = ["--snakefile", str(workflow / "Snakefile"), "--directory", "study", "--cores", "1"]
    done = snakemake(tmp_path, *arguments, "-n", ROWS, "results/tables/mine.csv",
                     config="study/micro.yaml")  # fmt: skip
    assert "read the activations of shard 0000 of micro" in done.stdout
    snakemake(tmp_path, *arguments, ROWS, config="study/micro.yaml")
    made, whole = portable(folder), portable(finished)
    assert made == {name: whole[name] for name in made}
    assert lineage(workflow, "verify", "--root", str(folder)).returncode == 0
    assert (
        f"{ROWS} is up to date" in lineage(workflow, "explain", "--root", str(folder), ROWS).stdout
    )


def test_rules_of_a_module_are_changed_and_its_default_target_is_not_taken(workflow, tmp_path):
    folder = module(tmp_path, workflow, names="*")
    more = "\nuse rule prepare_rows from atlas as prepare_rows with:\n    threads: 1\n"
    (folder / "Snakefile").write_text((folder / "Snakefile").read_text() + more)
    done = run(folder, "-n")
    assert re.search(r"^total +5$", done.stdout, re.MULTILINE)
    assert re.search(r"^first +1$", done.stdout, re.MULTILINE)
    done = run(folder, "-n", "all")
    assert re.search(r"^main_table +1$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(("more", "sentence"), [
    ('replace_prefix: {"results/": "mine/"}', "module atlas: replace_prefix puts what is made to mine"),
    ("", "tables.main.pools: there is no pool 'mirco'; did you mean 'micro'?"),
])  # fmt: skip
def test_what_a_module_refuses(workflow, tmp_path, more, sentence):
    folder = module(tmp_path, workflow, more=more)
    if not more:
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(
            re.sub(r"pools:\n( +)- micro", r"pools:\n\1- mirco", text)
        )
    done = run(folder, "-n", check=False)
    assert done.returncode != 0
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout


def test_the_page_is_followed(hub, tmp_path):
    """docs/deployment.md: a clone beside a folder, and a module that a hub of repositories has."""
    page = [block for block in blocks("docs/deployment.md") if block.file or block.mark == "run"]
    folder = tmp_path
    for block in page:
        if block.file:
            write_file(block, folder)
            continue
        for line in block.text.splitlines():
            program, *arguments = shlex.split(line)
            if program == "cd":
                folder /= arguments[0]
            elif program == "snakemake":
                done = snakemake(folder, *arguments, config=None, **hub)
                assert re.search(r"^total +[1-9]\d+$", done.stdout, re.MULTILINE)
            else:
                env = environment(**hub)
                subprocess.run([program, *arguments], cwd=folder, env=env, check=True)
    assert "delta_train_adapter" in done.stdout
    (place,) = (folder / ".snakemake/atlas/workflows").iterdir()
    assert (place / "scripts/lineage.py").is_file()


def test_a_snakefile_alone_is_refused(workflow, tmp_path):
    handler = partial(SimpleHTTPRequestHandler, directory=str(workflow))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/Snakefile"
        (tmp_path / "Snakefile").write_text(
            f'module atlas:\n    snakefile: "{address}"\n    config: {{}}\n\nuse rule * from atlas\n'
        )
        done = run(tmp_path, "-n", check=False)
        server.shutdown()
    assert done.returncode != 0
    assert f"{address}: is a Snakefile alone, and the library beside it is needed" in done.stdout
