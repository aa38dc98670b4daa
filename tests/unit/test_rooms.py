"""The house: its rooms, their sizes, and who may import whom."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "scripts/atlas"
ROOMS = sorted(place.name for place in LIBRARY.iterdir() if (place / "__init__.py").is_file())
FOLDERS = ("scripts", "rules", "tests", "bench")
FILES = sorted(
    file for folder in FOLDERS for file in (ROOT / folder).rglob("*")
    if file.suffix in (".py", ".smk") and "__pycache__" not in file.parts
)  # fmt: skip
MOST_MODULES, MOST_LINES = 20, 400


def imports(file: Path) -> set[str]:
    """Names of modules of the library, and of what is in them, that a file imports."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".smk":
        lines = re.findall(r"^(?:from|import) atlas.*", text, flags=re.MULTILINE)
        found = {name for line in lines for name in imported(ast.parse(line))}
        return found | set(re.findall(r'"(atlas\.[\w.]+):\w+"', text))
    return imported(ast.parse(text))


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found |= {f"relative.{node.module}"}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("atlas", "relative")}


def private_module(name: str) -> str | None:
    """The room (dotted, below atlas) whose private module a name is in; None for a public one."""
    parts = name.split(".")
    for k, part in enumerate(parts[1:], start=1):
        places = (LIBRARY.joinpath(*parts[1:k], f"{part}.py"), LIBRARY.joinpath(*parts[1:k], part))
        if part.startswith("_") and any(place.exists() for place in places):
            return parts[1]
    return None


def test_private_modules_are_imported_in_their_room_only():
    private = [f for f in LIBRARY.rglob("_*.py") if f.name != "__init__.py"]
    assert private  # else the test would say nothing
    used = set()
    for file in FILES:
        inside = file.is_relative_to(LIBRARY)
        room = file.relative_to(LIBRARY).parts[0] if inside else None
        for name in imports(file):
            if owner := private_module(name):
                assert owner == room, f"{file}: {name} is a private module of {owner}"
                used.add(owner)
    assert used == {file.relative_to(LIBRARY).parts[0] for file in private}


@pytest.mark.parametrize("name", ["atlas.lineage._terminal", "atlas.lineage._terminal.show_trace"])
def test_a_private_module_is_told(name):
    assert private_module(name) == "lineage"
    assert private_module("atlas.lineage.command._trace") is None


def test_imports_are_absolute():
    assert not [file for file in FILES if any(n.startswith("relative") for n in imports(file))]


def test_no_folder_is_too_full():
    counts = Counter(file.parent for file in FILES if file.name != "__init__.py")
    assert {str(f.relative_to(ROOT)): n for f, n in counts.items() if n > MOST_MODULES} == {}


def test_no_file_is_too_long():
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {str(f.relative_to(ROOT)): n for f, n in lines.items() if n > MOST_LINES} == {}


@pytest.mark.parametrize("file", sorted(LIBRARY.glob("*/**/__init__.py")), ids=str)
def test_a_room_says_what_it_is_in_one_sentence_and_nothing_else(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    said = ast.get_docstring(tree)
    assert said and len(tree.body) == 1
    assert "\n" not in said
    assert re.fullmatch(r"[A-Z][^.!?]*\.", said)


def test_rules_have_the_words_of_rooms():
    stems = {file.stem for file in (ROOT / "rules").glob("*.smk")}
    assert stems - {"captions", "checkout", "common", "resources"} - set(ROOMS) == set()


def test_tests_have_the_words_of_rooms():
    for folder in ("unit", "workflow"):
        found = {place.name for place in (ROOT / "tests" / folder).iterdir() if place.is_dir()}
        assert found - {"__pycache__"} - set(ROOMS) == set()


def test_imports_run_downwards_only():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, env={**os.environ, "PYTHONPATH": "scripts"}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "Rooms import downwards only" in done.stdout


def test_the_map_of_the_house_has_the_rooms_of_the_contract_from_the_ground_up():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    shown = re.findall(r"^\| `(\w+)/` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert shown == [layer for layer in reversed(layers) if layer in ROOMS]
    assert sorted(shown) == ROOMS
