"""A kind of table is a folder that is found: in the grammar, the schema, the page, the summary."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.experiments.entry import DEFAULT, kinds
from atlas.job.closures import Library

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
SLICE = {
    "__init__.py": '"""How far pools lie apart."""\n',
    "entry.py": '''"""The entry of a table of distances."""

from typing import Literal

from pydantic import Field

from atlas.errors import AtlasError
from atlas.experiments.entry import KIND, PoolTable


class Table(PoolTable):
    """How far pools lie apart."""

    kind: Literal["distances"] = Field(description=KIND)
    metric: str = Field(default="cosine", description="How distances are measured.")

    def check(self, where, plan):
        super().check(where, plan)
        if len(self.pools) < 2:
            raise AtlasError(f"{where}.pools: one pool lies apart from nothing.")
''',
    "findings.py": '''"""What the table of distances says."""


def findings(table, beside):
    return [f"{len(table)} pools lie apart."]
''',
}
SEEN = """
import json
from pathlib import Path
from types import SimpleNamespace
from atlas.configuration import documentation
from atlas.configuration.validation import validate
from atlas.errors import AtlasError
from atlas.job.closures import Library
from atlas.report.summary import write_summary

found = {}
table = validate({"tables": {"t": {"kind": "distances", "pools": ["p"]}}}, "c").tables["t"]
try:
    table.check("tables.t", SimpleNamespace(pools={"p": None}))
except AtlasError as error:
    found["check"] = str(error)
try:
    validate({"tables": {"t": {"kind": "distances", "metrc": ""}}}, "c")
except AtlasError as error:
    found["key"] = str(error)
found["schema"] = json.loads(documentation.schema())["$defs"]["DistancesTable"]["properties"]
found["page"] = documentation.tables()
Path("t.csv").write_text("pool\\np\\nq\\n")
write_summary(tables=[Path("t.csv")], beside=[], pools=[], seeds=[1], page=Path("summary.md"),
              configuration="tables: {}",
              entries=[{"name": "t", "kind": "distances", "beside": [], "figures": [],
                        "navigators": []}])
found["summary"] = Path("summary.md").read_text()
found["modules"] = Library().closure("atlas.report.summary:write_summary")["modules"]
print(json.dumps(found))
"""


def test_a_new_folder_is_a_kind(tmp_path):
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SCRIPTS.parent / "CITATION.cff", tmp_path)
    folder = tmp_path / "scripts/atlas/experiments/distances"
    folder.mkdir()
    for name, text in SLICE.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", SEEN], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "scripts")},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["check"] == "tables.t.pools: one pool lies apart from nothing."
    assert found["key"] == (
        "c: unknown key 'metrc' in tables.t, a table of the kind distances; did you mean 'metric'?"
    )
    assert list(found["schema"]) == ["kind", "pools", "metric"]
    assert "### DistancesTable\n\n`tables.NAME`. How far pools lie apart." in found["page"]
    assert "* 2 pools lie apart.\n" in found["summary"]
    assert "atlas.experiments.distances.findings" in found["modules"]


def test_each_entry_has_the_kind_of_its_folder():
    assert next(iter(kinds())) == DEFAULT
    for kind, table in kinds().items():
        given = {} if kind == DEFAULT else {"kind": kind}
        assert table(**given).kind == kind


@pytest.mark.parametrize("kind", kinds())
def test_a_slice_is_whole(kind):
    folder = SCRIPTS / "atlas/experiments" / kind
    tables = ast.parse((folder / "table.py").read_text()).body
    assert f"{kind}_table" in {node.name for node in tables if isinstance(node, ast.FunctionDef)}
    assert (folder / "findings.py").is_file()
    # Findings are told at the end of a run, too, which loads no library for them.
    assert Library().closure(f"atlas.experiments.{kind}.findings:findings")["distributions"] == {}
