from __future__ import annotations

import pytest
import yaml

from atlas.errors import AtlasError
from atlas.own_models.written import Member, earlier_domains, write_configuration
from atlas.plan.building import build
from unit.own_models.folders import adapter, model
from unit.plan.small_plans import two_domains


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def members(*domains):
    return [Member(model(f"m{i}"), f"m{i}", "tiny", d) for i, d in enumerate(domains)]


def write(*domains, bases=(), name="mine"):
    spaces = {"mine": ("direct_effects", "delta_activations")}
    return write_configuration(name, {"mine": members(*domains)}, dict(bases), spaces)


def test_what_is_written_is_a_configuration(here):
    for i in range(2):
        adapter(here / f"m{i}")
    own = yaml.safe_load(write("math", "law").read_text())
    assert own.pop("defaults") is False
    data = {**two_domains(), "pools": own["pools"]}
    pool = build(data, root=here).pools["mine"]
    assert [(m.name, m.domain, m.base, m.adapter) for m in pool.models] == [
        ("m0", "math", "tiny", True), ("m1", "law", "tiny", True),
    ]  # fmt: skip
    assert pool.settings.spaces == ["direct_effects", "delta_activations"]


def test_domains_that_were_changed_in_the_sheet_are_kept(here):
    write("math", "law")
    sheet = here / "mine.tsv"
    sheet.write_text(sheet.read_text().replace("math", "algebra"))
    assert earlier_domains("mine") == {"./m0": "algebra", "./m1": "law"}
    assert earlier_domains("other") == {}


def test_a_changed_configuration_stays_and_must_have_what_is_needed(here):
    file = write("math", "law")
    write("math", "law", "law", bases={"new": {"dtype": "float32"}})  # not changed: written anew
    assert "new" in file.read_text()
    changed = file.read_text().replace("float32", "bfloat16")
    file.write_text(changed)
    write("math", "law", bases={"new": {"dtype": "float32"}})
    assert file.read_text() == changed
    with pytest.raises(AtlasError, match=r"was changed by hand and has no bases\.newer; add it"):
        write("math", "law", bases={"newer": {}})


@pytest.mark.parametrize("name", ["mine.yaml", "mine.tsv"])
def test_files_of_others_are_not_replaced(here, name):
    (here / name).write_text("pools: {}\n")
    with pytest.raises(AtlasError, match=rf"{name}: is there already, and not of this command"):
        earlier_domains("mine")
    with pytest.raises(AtlasError, match="give --name and another name"):
        write("math", "law")
    assert (here / name).read_text() == "pools: {}\n"
    assert [file.name for file in here.iterdir()] == [name]
