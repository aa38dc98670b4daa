"""Every command that the pages show can be typed.

What needs no GPU, hub or cluster is run, on the micro configuration or by CI itself; what needs one
is a dry run. A command that is tried in no way fails a test.
"""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from documents import PAGES, ROOT, Command, blocks, commands, heads, text_of, write_file
from micro import checkout, environment, lay_down, lineage, snakemake, write_config
from workflow.own_models.test_map_models import LINE

pytestmark = pytest.mark.workflow

# Pages whose blocks marked "run" a test of the main job follows to the letter.
FOLLOWED = {
    "docs/extending.md": "tests/main/test_main_experiment.py",
    "docs/tasks.md": "tests/main/test_main_retrieval.py",
    "docs/deployment.md": "tests/workflow/job/test_deployment.py",
    "docs/provenance.md": "tests/workflow/lineage/test_withdrawn_row.py",
}
# Commands of other programs, and one that writes pages: what holds them to this repository.
OTHERS = {
    "pip install uv": lambda: True,
    "uv pip install --torch-backend cpu torch==2.13.0": lambda: (
        "torch==2.13.0" in (ROOT / "envs/requirements.txt").read_text().splitlines()
    ),
    # tests/main/test_main_job.py gives it for the main table.
    "python scripts/document_results.py TABLE": lambda: (
        '"scripts/document_results.py", "main"'
        in (ROOT / "tests/main/test_main_job.py").read_text()
    ),
    "python delta-atlas/scripts/lineage.py verify --root study/atlas": lambda: (
        'lineage(workflow, "verify", "--root"'
        in (ROOT / FOLLOWED["docs/deployment.md"]).read_text()
    ),
    "hf auth login": lambda: bool(shutil.which("hf", path=Path(sys.executable).parent)),
    "scancel --name=RUN-ID": lambda: (
        "scancel --name=" in (ROOT / "scripts/atlas/job/machine/batch_system.py").read_text()
    ),
    "apptainer build envs/atlas.sif envs/atlas.def": lambda: (
        (ROOT / "envs/atlas.def").is_file()
        and 'IMAGE = os.path.relpath(FOLDER / "envs/atlas.sif")' in (ROOT / "Snakefile").read_text()
    ),
}
# A line whose dry run takes a minute -> what is laid over its configuration, so that it takes seconds.
SMALLER = {
    "snakemake results/tables/selection.csv --configfile config/paper.yaml --cores 4 "
    "--resources gpu=1": {"selections": {"bbh": {"tasks": ["bbh-word_sorting"], "seeds": 1}}},
}
# What the reader has, by the page that tells of it.
THEIRS = {"docs/models.md": ("adapters/maths", "adapters/algebra"), "": ("corpus.jsonl",)}
EVERY = [*(c for page in PAGES for c in commands(page)), *heads()]

CI = (ROOT / ".ci/run").read_text(encoding="utf-8")
CI_BLOCKS = set(re.findall(r"\$\(command_of ([\w-]+)(?: \S+)?\)", CI))
CI_LINES = {*CI.splitlines(), *(c.line for c in EVERY if c.mark in CI_BLOCKS)}


def by_ci(command: Command) -> bool:
    """CI runs the block, or the line, itself."""
    return command.line in CI_LINES


RUN_LINES = {command.line for command in EVERY if command.mark == "run"}


def by_main_tests(command: Command) -> bool:
    """A test of the main job runs the block, or the same line."""
    return command.line in RUN_LINES


def asks(command: Command) -> str:
    """The same command, wherever it stands, unless it reads a file that its page shows."""
    files = [b.file for b in blocks(command.page) if b.file] if command.page in PAGES else []
    return command.page if set(files) & set(shlex.split(command.line)) else ""


def every(program: str) -> list[Command]:
    """The commands of a program that are not run otherwise, each once."""
    found = {}
    for command in EVERY:
        if command.line.startswith(program) and not (by_ci(command) or by_main_tests(command)):
            found.setdefault((asks(command), command.line), command)
    return list(found.values())


def shown(command: Command) -> str:
    return f"{command.page}: {command.line}"


SNAKEMAKE = every("snakemake")
LINEAGE = every("python scripts/lineage.py")
OWN_MODELS = every("python scripts/map_models.py")
BENCH = every("python bench/")
PYTEST = every("pytest")


def test_every_command_is_tried():
    tried = [*SNAKEMAKE, *LINEAGE, *OWN_MODELS, *BENCH, *PYTEST]
    lines = {command.line for command in tried} | set(OTHERS)
    left = [shown(c) for c in EVERY if not (by_ci(c) or by_main_tests(c) or c.line in lines)]
    assert not left, "no test tries these; say how in this file"
    assert set(OTHERS) | set(SMALLER) <= {command.line for command in EVERY}
    assert len(SNAKEMAKE) > 20
    assert {c.page for c in EVERY} >= {"README.md", "Snakefile", "config/paper.yaml"}


def test_ci_runs_the_blocks_that_are_marked_for_it():
    assert {"main-job", "tests", "slurm-tests"} <= CI_BLOCKS <= {command.mark for command in EVERY}
    assert "snakemake results/tables/main.csv --cores 1 --resources gpu=1" in CI_LINES


def test_main_tests_follow_the_blocks_that_are_marked_for_them():
    assert {command.page for command in EVERY if command.mark == "run"} == set(FOLLOWED)
    for page, test in FOLLOWED.items():
        assert page in (ROOT / test).read_text()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkout per page, with the files that the page tells to write."""
    made = {}

    def folder(page: str) -> Path:
        if page not in made:
            made[page] = checkout(tmp_path_factory.mktemp("typed") / "checkout")
            lay_down(*(made[page] / place for place in THEIRS.get(page, ())))
            for block in blocks(page) if page else []:
                # Files of the workflow itself are changed where a test of the main job does it.
                if block.file and not (ROOT / block.file).exists() and "/" not in block.file:
                    write_file(block, made[page])
        return made[page]

    return folder


@pytest.mark.parametrize("command", SNAKEMAKE, ids=shown)
def test_snakemake(command, folders, request):
    arguments = shlex.split(command.line)[1:]
    if "--report" in arguments:
        copy = request.getfixturevalue("copy")
        snakemake(copy, *arguments)
        assert (copy / arguments[arguments.index("--report") + 1]).stat().st_size > 10_000
        return
    folder = folders(asks(command))
    if command.line in SMALLER:
        file = write_config(folder, SMALLER[command.line], "smaller.yaml")
        arguments.insert(arguments.index("--configfile") + 2, file.name)
    if "--unlock" in arguments:
        snakemake(folder, *arguments, config=None)
        return
    dry = [] if {"-n", "--rulegraph"} & set(arguments) else ["-n"]
    done = snakemake(folder, *arguments, *dry, config=None)
    if "--rulegraph" in arguments:
        assert edges(done.stdout) == edges(drawn("docs/method.md"))
        return
    assert re.search(r"^total +[1-9]\d*$", done.stdout, re.MULTILINE), "something would be done"
    if "--until" in arguments:
        assert "fetch_base_1" in done.stdout
        assert "train_adapter" not in done.stdout


def drawn(page: str) -> str:
    return next(block.text for block in blocks(page) if block.language == "mermaid")


def edges(text: str) -> set[tuple[str, str]]:
    """Pairs of rules that an arrow joins, in a mermaid chart of names or of numbered nodes."""
    names = dict(re.findall(r'^\s*(id\d+)\["?(\w+)"?\]', text, re.MULTILINE))
    found = set()
    for line in re.findall(r"^\s*[\w& ]+ ---?>.*$", text, re.MULTILINE):
        steps = [
            [re.sub(r"_1$", "", names.get(n.strip(), n.strip())) for n in step.split("&")]
            for step in re.split(r" ---?> ", line)
        ]
        for before, after in itertools.pairwise(steps):
            found |= {(a, b) for a in before for b in after}
    return found


@pytest.fixture(scope="module")
def elsewhere(finished, tmp_path_factory) -> Path:
    """A copy of a finished run, beside another."""
    place = tmp_path_factory.mktemp("lineage")
    for name in ("checkout", "other"):
        shutil.copytree(finished, place / name, symlinks=True)
    return place / "checkout"


def test_map_models():
    """A test of its own gives it, with the micro models in the place of the reader's."""
    assert {command.line for command in OWN_MODELS} == {LINE}


@pytest.mark.parametrize("command", LINEAGE, ids=shown)
def test_lineage(command, elsewhere):
    weights = elsewhere / "results/models/micro-alpha-first/adapter_model.safetensors"
    stray = elsewhere.parent / weights.name
    shutil.copy(weights, stray)
    line = command.line.replace("/somewhere/adapter_model.safetensors", str(stray))
    done = lineage(elsewhere, *shlex.split(line)[2:])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", BENCH, ids=shown)
def test_bench(command):
    """Each program is run at a small size by tests/workflow/test_bench.py; its options are known."""
    program, *arguments = shlex.split(command.line)[1:]
    source = (ROOT / program).read_text()
    assert Path(program).name in (ROOT / "tests/workflow/test_bench.py").read_text()
    for option in (word for word in arguments if word.startswith("--")):
        assert f'"{option}"' in source


@pytest.mark.parametrize("command", PYTEST, ids=shown)
def test_pytest(command):
    """Markers are those of the project, and folders are there."""
    arguments = shlex.split(command.line)[1:]
    known = re.findall(r'^    "(\w+): ', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before == "-m":
            assert re.sub(r"^not ", "", word) in known
        elif word.startswith("tests"):
            assert (ROOT / word).exists()


@pytest.mark.parametrize("line", OTHERS)
def test_other_programs(line):
    assert OTHERS[line]()


CONFIGURATIONS = [
    pytest.param(block, id=f"{page}: {block.section} ({number})")
    for page in PAGES
    for number, block in enumerate(blocks(page))
    if block.language == "yaml" and not (block.file and page in FOLLOWED)
]


@pytest.mark.parametrize("block", CONFIGURATIONS)
def test_configurations(block):
    """What stands on a page as configuration is one."""
    from atlas.configuration.validation import validate

    validate(yaml.safe_load(block.text), block.page, fragment=True)


def test_links_lead_somewhere():
    for page in PAGES:
        folder = (ROOT / page).parent
        for link in re.findall(r"\]\((?!https?://)([^)#\s]*)(#[\w-]+)?\)", text_of(page)):
            file, anchor = folder / link[0] if link[0] else ROOT / page, link[1]
            assert file.exists(), f"{page}: {link[0]}"
            if anchor:
                titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
                assert anchor[1:] in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-")
                                      for t in titles}, f"{page}: {link}"  # fmt: skip


def test_find_models(folders):
    """The command of the page on tasks, as a dry run; the main job's tests run it whole."""
    done = subprocess.run(
        [sys.executable, "scripts/find_models.py", "examples.jsonl", "--pool", "smollm2", "-n"],
        cwd=folders("docs/tasks.md"), env=environment(), text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "train retrieval-examples" in done.stdout
