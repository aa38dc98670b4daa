from __future__ import annotations

import ast
import hashlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata

import pytest

from atlas.job import closures
from atlas.job.closures import Library, Store

LEAF = '"""Doc."""\nimport numpy as np\n\n\ndef leaf(x):\n    """Doc."""\n    return np.sum(x)\n'
MIDDLE = "def middle(x):\n    from pkg.leaf import leaf\n\n    return leaf(x)\n"
TOP = "import os\nfrom pkg import middle\n\n\ndef top(x):\n    return middle.middle(x)\n"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of its own: top imports middle, middle (in a function) leaf; other is apart."""
    folder = tmp_path / "pkg"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, text in (("leaf", LEAF), ("middle", MIDDLE), ("top", TOP), ("other", "X = 1\n")):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(closures, "ROOT", tmp_path)
    monkeypatch.setattr(closures, "LIBRARY", "pkg")
    return folder, lambda target="pkg.top:top": Library().closure(target)


def digest_of(text):
    """The digest of a module without docstrings."""
    return hashlib.sha256(ast.dump(ast.parse(text)).encode()).hexdigest()[:16]


def test_closure_follows_imports(library):
    _, closure = library
    found = closure()
    assert set(found["modules"]) == {"pkg.leaf", "pkg.middle", "pkg.top"}
    assert found["distributions"] == {"numpy": metadata.version("numpy")}
    assert closure("pkg.other:x") == {
        "function": "pkg.other:x", "modules": {"pkg.other": digest_of("X = 1\n")},
        "distributions": {},
    }  # fmt: skip


def test_modules_behind_a_function_of_another_folder(library, monkeypatch, tmp_path):
    folder, closure = library
    here = closure()["modules"]
    monkeypatch.setattr(closures, "ROOT", folder)
    modules, distributions = Library(tmp_path).modules_behind("pkg.top:top")
    assert (modules, distributions) == (here, {"numpy"})
    assert modules["pkg.middle"] == digest_of(MIDDLE)
    assert list(modules) == sorted(modules)
    with pytest.raises(ModuleNotFoundError, match="pkg"):
        Library().modules_behind("pkg.top:top")
    # What is not installed is needed to run it, not to compare it.
    (folder / "other.py").write_text("import no_such_package.inner\n")
    assert Library(tmp_path).modules_behind("pkg.other:x")[1] == {"no_such_package"}


def test_a_module_that_was_replaced_by_another_of_its_size(library):
    folder, closure = library
    before = closure("pkg.other:x")["modules"]
    (folder / "new.py").write_text("X = 2\n")
    (folder / "new.py").replace(folder / "other.py")
    after = closure("pkg.other:x")["modules"]
    assert (before, after) == (
        {"pkg.other": digest_of("X = 1\n")}, {"pkg.other": digest_of("X = 2\n")},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["leaf", "middle", "top"])
def test_code_anywhere_in_the_closure_changes_it(library, name):
    folder, closure = library
    before = closure()
    (folder / f"{name}.py").write_text((folder / f"{name}.py").read_text() + "\nY = 2\n")
    after = closure()
    changed = {m for m in before["modules"] if before["modules"][m] != after["modules"][m]}
    assert changed == {f"pkg.{name}"}


def test_comments_and_docstrings_do_not_count(library):
    folder, closure = library
    before = closure()
    (folder / "leaf.py").write_text("# A comment.\n" + LEAF.replace("Doc.", "Other words."))
    assert closure() == before
    (folder / "leaf.py").write_text(LEAF.replace('    """Doc."""\n', ""))
    assert closure() == before


def test_modules_outside_do_not_count(library):
    folder, closure = library
    before = closure()
    (folder / "other.py").write_text("X = 2\n")
    assert closure() == before


def test_what_is_outside_is_in_no_closure():
    modules = Library().closure("atlas.training.fine_tuning:train")["modules"]
    assert {
        "atlas.training.fine_tuning",
        "atlas.weights.adapters",
        "atlas.weights.tensors",
        "atlas.files",
    } <= set(modules)
    rooms = {module.split(".")[1] for module in modules}
    assert not rooms & set(closures.OUTSIDE)


def test_modules_outside_are_attested(library, monkeypatch):
    folder, closure = library
    monkeypatch.setattr(closures, "OUTSIDE", ("leaf", "other"))
    assert "pkg.leaf" not in closure()["modules"]
    before = Library().outside()
    place = f"{folder.parent.name}/pkg"
    assert set(before) == {f"{place}/{name}.py" for name in ("__init__", "leaf", "other")}
    (folder / "other.py").write_text("X = 100\n")
    digest = hashlib.sha256(b"X = 100\n").hexdigest()[:16]
    assert Library().outside() == {**before, f"{place}/other.py": digest}


def test_rules_and_scripts_are_attested(tmp_path):
    for name in ("Snakefile", "rules/a.smk", "scripts/job.py", "notebooks/a.ipynb", "rules/README"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    digest = hashlib.sha256(b"rules/a.smk").hexdigest()[:16]
    found = Library(tmp_path / "scripts").outside()
    assert found["rules/a.smk"] == digest
    assert {"Snakefile", "scripts/job.py", "notebooks/a.ipynb"} <= set(found)
    assert "rules/README" not in found


def test_the_outside_of_this_library():
    """Each room and module of the list is there: a name that is not is a slip."""
    start = "scripts/atlas/"
    found = {
        tuple(file.removeprefix(start).removesuffix(".py").split("/"))
        for file in Library().outside() if file.startswith(start)
    } - {("__init__",)}  # fmt: skip
    entries = {parts for parts in found if parts[-1] == closures.ENTRY}
    assert {parts[0] for parts in found - entries} == set(closures.OUTSIDE)
    assert {("experiments", "entry"), ("experiments", "main", "entry")} <= entries


def test_figures_do_not_hang_on_training():
    modules = Library().closure("atlas.figures.pools:draw")["modules"]
    assert "atlas.spaces.embeddings" in modules
    assert not set(modules) & {
        "atlas.training.fine_tuning",
        "atlas.activations.last_tokens",
        "atlas.datasets.splits",
    }


def test_names_of_distributions():
    distributions = Library().closure("atlas.clusters.silhouettes:silhouettes")["distributions"]
    assert distributions["scikit-learn"] == metadata.version("scikit-learn")


def test_modules_that_a_pattern_names(library):
    folder, closure = library
    (folder / "other.py").write_text(
        "import importlib\n\n\ndef of(kind, found):\n"
        '    return importlib.import_module(f"pkg.kinds.{kind}.findings").findings(found)\n'
    )
    for kind in ("one", "two"):
        (folder / "kinds" / kind).mkdir(parents=True)
        (folder / "kinds" / kind / "table.py").write_text("X = 1\n")
        (folder / "kinds" / kind / "findings.py").write_text("from pkg import leaf\n")
        expected = {"pkg.other", "pkg.leaf", "pkg.kinds.one.findings", f"pkg.kinds.{kind}.findings"}
        assert set(closure("pkg.other:of")["modules"]) == expected
    before = closure("pkg.other:of")["modules"]
    (folder / "kinds/two/findings.py").write_text("from pkg import leaf\n\nY = 2\n")
    after = closure("pkg.other:of")["modules"]
    assert {m for m in before if before[m] != after[m]} == {"pkg.kinds.two.findings"}


def test_a_name_that_is_not_written_there_is_not_followed(library):
    folder, closure = library
    (folder / "other.py").write_text(
        "from importlib import import_module\n\n\ndef of(name):\n    return import_module(name)\n"
    )
    assert set(closure("pkg.other:of")["modules"]) == {"pkg.other"}


def test_entries_of_the_configuration_are_in_no_closure(library):
    folder, closure = library
    (folder / "entry.py").write_text("import pydantic\n")
    (folder / "other.py").write_text("from pkg import entry\n")
    assert closure("pkg.other:x")["distributions"] == {}
    assert f"{folder.parent.name}/pkg/entry.py" in Library().outside()


def test_the_summary_hangs_on_the_findings_of_all_kinds():
    modules = set(Library().closure("atlas.report.summary:write_summary")["modules"])
    folders = [
        file.parent.name for file in (closures.ROOT / "atlas/experiments").glob("*/findings.py")
    ]
    assert {f"atlas.experiments.{kind}.findings" for kind in folders} <= modules
    assert len(folders) > 9


def test_missing_module():
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        Library().closure("atlas.no_such:f")


@pytest.fixture
def store(library, tmp_path, monkeypatch):
    """A store, and a list of what was parsed by those who use it."""
    parsed, parse = [], closures._parse
    monkeypatch.setattr(closures, "_parse", lambda text: parsed.append(text) or parse(text))
    return Store(tmp_path / "store"), parsed


def test_what_was_parsed_is_not_parsed_again(library, store):
    (folder, _), (store, parsed) = library, store
    first = Library(store=store)
    assert sorted(parsed) == sorted(["", LEAF, MIDDLE, TOP, "X = 1\n"])
    assert Library().closure("pkg.top:top") == first.closure("pkg.top:top")
    parsed.clear()
    again = Library(store=store)
    assert again.closure("pkg.top:top") == first.closure("pkg.top:top")
    assert parsed == []
    # The bytes of a file count, and nothing else that is known of it.
    os.utime(folder / "leaf.py", (1, 1))
    (folder / "other.py").write_text("X = 2\n")
    changed = Library(store=store).closure("pkg.other:x")["modules"]
    assert parsed == ["X = 2\n"]
    assert changed == {"pkg.other": digest_of("X = 2\n")}
    # What is there no more is not kept.
    (folder / "other.py").write_text("X = 1\n")
    parsed.clear()
    Library(store=store)
    assert parsed == ["X = 1\n"]


def test_a_name_becomes_a_module_without_a_change_of_who_imports_it(library, store):
    (folder, _), (store, _) = library, store
    (folder / "other.py").write_text("from pkg import leaf, late\n")
    assert set(Library(store=store).closure("pkg.other:x")["modules"]) == {"pkg.other", "pkg.leaf"}
    (folder / "late.py").write_text("Y = 1\n")
    found = Library(store=store).closure("pkg.other:x")["modules"]
    assert set(found) == {"pkg.other", "pkg.leaf", "pkg.late"}


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:-9], lambda data: data[100:], lambda data: data + b" ",
    lambda data: data[:90] + bytes([data[90] ^ 1]) + data[91:], lambda data: b"{}\n{}",
])  # fmt: skip
def test_a_damaged_store_is_not_believed(library, store, damage):
    (_, closure), (store, parsed) = library, store
    Library(store=store)
    [file] = store._file.parent.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    parsed.clear()
    assert Library(store=store).closure("pkg.top:top") == closure()
    assert len(parsed) > 4
    assert file.read_bytes() == whole


def test_a_store_that_cannot_be_written(library, tmp_path):
    _, closure = library
    (tmp_path / "file").touch()
    assert Library(store=Store(tmp_path / "file" / "below")).closure("pkg.top:top") == closure()


def test_a_store_is_of_one_python(library, store, monkeypatch):
    store, parsed = store
    Library(store=store)
    parsed.clear()
    monkeypatch.setattr(closures.platform, "python_version", lambda: "3.0.0")
    Library(store=Store(store._file.parent))
    assert len(parsed) == 5


def test_many_processes_fill_one_store(library, tmp_path):
    _, closure = library
    place = tmp_path / "store"
    with ProcessPoolExecutor(4, multiprocessing.get_context("fork")) as pool:
        asked = [pool.submit(stored_closure, place) for _ in range(40)]
        assert [each.result() for each in asked] == [closure()] * 40
    assert len(Store(place).read()) == 5
    assert len(list(place.iterdir())) == 1


def stored_closure(place):
    return Library(store=Store(place)).closure("pkg.top:top")


def test_a_module_that_cannot_be_parsed_stops_only_those_who_hang_on_it(library, store):
    (folder, closure), (store, _) = library, store
    before = closure()
    (folder / "other.py").write_text("def\n")
    found = Library(store=store)
    assert found.closure("pkg.top:top") == before
    with pytest.raises(SyntaxError):
        found.closure("pkg.other:x")
