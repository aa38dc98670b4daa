"""The navigator of a pool, by its path; its map is that of the figures."""

import json
import re

import pytest

from micro import lineage, planned, shared_folder, snakemake

pytestmark = pytest.mark.workflow
PAGE = "results/pools/micro/navigator.html"


def test_the_navigator_comes_with_the_table(finished, tmp_path_factory):
    text = (finished / PAGE).read_text()
    assert "Models of micro" in text
    assert str(shared_folder(tmp_path_factory)) not in text
    assert "Nothing to be done" in snakemake(finished, PAGE, "--cores", "1").stdout
    assert lineage(finished, "verify", PAGE).returncode == 0
    traced = json.loads(lineage(finished, "trace", PAGE, "--json").stdout)
    assert re.search(r"micro-alpha-first/README\.md", json.dumps(traced))
    assert "resources/navigator/map.js" in json.dumps(traced)


def test_a_changed_part_writes_the_page_again_and_nothing_else(copy):
    part = copy / "resources/navigator/style.css"
    part.write_text(part.read_text().replace("#f6f7f9", "#ffffff"))
    assert planned(copy, "results/tables/main.csv") == {"write the navigator of micro"}
