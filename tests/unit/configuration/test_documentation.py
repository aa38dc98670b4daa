"""The schema and the page of keys are in step with the grammar, and its examples are right."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from atlas.configuration import documentation
from atlas.configuration.files import layers
from atlas.configuration.validation import validate
from atlas.plan.building import build
from atlas.plan.resolved import Plan

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "config/README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
SHEETS = re.findall(r"^```tsv\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
TITLES = re.findall(r"^### (.*)\n(?:(?!^#).*\n)*?```yaml$", PAGE, flags=re.MULTILINE)


def planned(example: str, root: Path) -> Plan:
    """An example over the default."""
    whole, default = layers([ROOT / "config/config.yaml"], yaml.safe_load(example))
    return build(whole, default=default, root=root)


def test_files_are_in_step(capsys):
    assert documentation.main(["--check"]) == 0, capsys.readouterr().err


def test_check_fails_where_a_file_differs(tmp_path, capsys):
    (tmp_path / "README.md").write_text(PAGE.replace("| `seeds` |", "| `sedes` |"))
    assert documentation.main(["--check", "--config", str(tmp_path)]) == 1
    assert "README.md differs" in (err := capsys.readouterr().err)
    assert "schema.json differs" in err
    assert documentation.main(["--config", str(tmp_path)]) == 0
    assert (tmp_path / "README.md").read_text() == PAGE
    assert documentation.main(["--check", "--config", str(tmp_path)]) == 0


def test_a_page_without_markers_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("# Configuration\n")
    with pytest.raises(SystemExit, match="the two lines"):
        documentation.main(["--config", str(tmp_path)])


def test_runs_as_a_command():
    script = ROOT / "scripts/document_config.py"
    assert subprocess.run([sys.executable, str(script), "--check"], cwd="/").returncode == 0


def test_every_key_has_a_description():
    for entry in documentation.entries():
        assert entry.__doc__, entry.__name__
        for name, field in entry.model_fields.items():
            assert field.description, f"{entry.__name__}.{name} has no description"
            assert field.description.rstrip()[-1] in ".)`", f"{entry.__name__}.{name}"


def test_every_key_stands_in_the_page_and_in_the_schema():
    schema = json.loads((ROOT / "config/schema.json").read_text())
    for entry in documentation.entries():
        title = documentation.title(entry)
        section = PAGE.split(f"\n### {title}\n", 1)[1].split("\n### ", 1)[0]
        known = schema if title == "Top level" else schema["$defs"][title]
        assert list(known["properties"]) == list(entry.model_fields)
        for name in entry.model_fields:
            assert f"\n| `{name}` | " in section, f"{title}.{name}"


def test_the_schema_knows_the_keys_of_each_kind_of_table():
    schema = json.loads((ROOT / "config/schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    right = {"a": {"pools": ["p"]}, "b": {"kind": "geometry", "comparisons": ["c"]}}
    jsonschema.validate({"tables": right}, schema)
    jsonschema.validate(layers([ROOT / "config/config.yaml"], {})[0], schema)
    for wrong in ({"comparisons": ["c"]}, {"kind": "geometry", "pools": ["p"]}, {"kind": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"tables": {"a": wrong}}, schema)


def test_every_link_of_the_page_leads_somewhere():
    anchors = {t.lower().replace(" ", "-") for t in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors


def test_there_are_examples():
    assert len(TITLES) >= 10
    assert len(EXAMPLES) >= 11
    assert len(SHEETS) == 1


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda text: next(iter(re.findall(r"  (\S+):", text)))
)
def test_an_example_is_right_alone_and_over_the_default(example, tmp_path):
    data = yaml.safe_load(example)
    validate(data, "the example", fragment=True)
    for pool in data.get("pools", {}).values():
        if "sheet" in pool:
            (tmp_path / pool["sheet"]).write_text(SHEETS[0])
    plan = planned(example, tmp_path)
    assert [p.name for p in plan.table_pools("main")] == data["tables"]["main"]["pools"]
    for name in data["tables"]["main"]["pools"]:
        assert len(plan.pools[name].models) > 2
    # Nothing that the example defines is left unused.
    used = {model.name for name in data["pools"] for model in plan.pools[name].models}
    assert set(data.get("models", {})) <= used
    recipes = {plan.models[name].recipe for name in used}
    assert set(data.get("recipes", {})) <= recipes


def test_examples_make_what_they_say(tmp_path):
    plans = {}
    for example in EXAMPLES:
        for name in yaml.safe_load(example)["pools"]:
            (tmp_path / "adapters.tsv").write_text(SHEETS[0])
            plans[name] = planned(example, tmp_path)
    assert plans["mixtures"].models["mixed-math-coding"].domain == "math+coding"
    few = plans["with-few-shot"].models["few-shot-math"]
    assert plans["with-few-shot"].recipe(few.name).rows is None
    assert (few.data[0].split, few.data[0].rows) == ("rest", 5)
    rates = plans["hyperparameters"]
    assert rates.recipe("lora-slow-math").learning_rate == 1e-4
    assert rates.recipe("lora-long-coding").epochs == 2
    assert plans["universal"].models["universal-gsm8k-first"].variant == "universal"
    assert plans["preferring"].recipe("preferring").objective == "dpo"
    assert plans["readers"].models["reader-math"].base == "model--reader"
    assert len(plans["two-bases"].pools["two-bases"].bases) == 2
    assert plans["ours-and-theirs"].models["borrowed-law"].trained is False
    assert plans["sheet"].models["tulu-code"].source == {
        "hub": {"repo": "some-lab/tulu-code-lora", "revision": "v2", "files": []}
    }
    assert (list(plans["chats"].pools), list(plans["chats"].config.tables)) == (["chats"], ["main"])
    assert len(plans["chats"].models) == 4
    seeds = {plans["repeated"].models[f"repeated-gsm8k-{seed}"].seed for seed in (1, 2, 3)}
    assert seeds == {1, 2, 3}
