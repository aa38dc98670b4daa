"""Figures of the pages are of the configuration as it is."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from atlas.plan.building import build
from atlas.publishing import documented

ROOT = Path(__file__).resolve().parents[2]


def blocks():
    return [match for page in documented.pages(ROOT)
            for match in documented.BLOCK.finditer(page.read_text(encoding="utf-8"))]  # fmt: skip


def test_no_figure_is_of_another_configuration(capsys):
    assert len(blocks()) > 10
    assert documented.main(["--check", "--root", str(ROOT)]) == 0, capsys.readouterr().err


@pytest.fixture(scope="module")
def default():
    """The whole default configuration, as its files have it."""
    return documented.layers([ROOT / "config/config.yaml"], {})[0]


def changed(default, *path, value):
    """The plan of the default with one value changed."""
    whole = entry = copy.deepcopy(default)
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    return build(whole, root=ROOT)


def test_a_signature_is_of_what_a_table_names(default):
    plan = build(default, root=ROOT)
    tables = ("main", "additive", "preference", "cross_checkpoint", "geometry")

    def stale(*path, value):
        after = changed(default, *path, value=value)
        return [t for t in tables
                if documented.signature(plan, t) != documented.signature(after, t)]  # fmt: skip

    assert stale("recipes", "lora-cpu", "rows", value=20) == [
        "main",
        "additive",
        "cross_checkpoint",
    ]
    assert stale("recipes", "dpo-cpu", "beta", value=0.2) == ["preference"]
    assert stale("datasets", "multi-lexsum", "licence", value="mit") == ["cross_checkpoint"]
    assert stale("recipes", "lora-cpu", "weight_decay", value=0.0) == []  # the default of its key
    assert stale("seeds", value=[7]) == list(tables)


def test_a_stale_figure_is_named(tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "config").symlink_to(ROOT / "config")
    page = tmp_path / "README.md"
    page.write_text("a\n<!-- results of main (0): findings -->\nold\n<!-- end of results -->\nb\n")
    assert documented.main(["--check", "--root", str(tmp_path)]) == 1
    assert "README.md: the figures of main are those of another configuration" in (
        capsys.readouterr().err
    )
    assert "old" in page.read_text()
