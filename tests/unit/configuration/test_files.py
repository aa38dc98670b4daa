"""Files of a configuration: read strictly, merged, the default beneath a user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.configuration.files import default_files, layers, library, merged, read
from atlas.errors import AtlasError

MAIN = """
bases:
  small: {source: {local: there}}
  tuned: {source: {model: a}}
recipes: {r: {rows: 1, epochs: 2}}
models: {a: {base: small}}
pools: {p: {models: ["*"]}}
tables: {main: {pools: [p]}}
seeds: [1]
"""


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture
def main(tmp_path) -> Path:
    written(tmp_path, "tables: {second: {pools: [p]}}", "experiments/02_second.yaml")
    written(tmp_path, "tables: {first: {pools: [p]}}", "experiments/01_first.yaml")
    return written(tmp_path, MAIN, "config.yaml")


@pytest.mark.parametrize(
    ("text", "key", "second", "first"),
    [
        ("pools: {}\nseeds: [1]\npools: {}\n", "pools", 3, 1),
        ("pools:\n  p: {models: [a]}\n  q: {models: [b]}\n  p: {models: [c]}\n", "p", 4, 2),
        ("models:\n  m: {data: [{dataset: d, dataset: e}]}\n", "dataset", 2, 2),
        ('{"seeds": [1],\n"seeds": [2]}', "seeds", 2, 1),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path, text, key, second, first):
    with pytest.raises(AtlasError) as caught:
        read(written(tmp_path, text))
    assert str(caught.value).startswith(
        f"{tmp_path / 'mine.yaml'}: line {second}: the key {key!r} stands in it twice "
        f"(line {first} has it too); "
    )


def test_what_is_merged_may_be_changed(tmp_path):
    text = """
recipes:
  one: &one {rows: 1, epochs: 1}
  two: {<<: *one, rows: 2}
  three: {epochs: 3, <<: *one}
  four: *one
"""
    assert read(written(tmp_path, text))["recipes"] == {
        "one": {"rows": 1, "epochs": 1}, "two": {"rows": 2, "epochs": 1},
        "three": {"rows": 1, "epochs": 3}, "four": {"rows": 1, "epochs": 1},
    }  # fmt: skip


def test_what_is_merged_of_a_merged_mapping_stands_nowhere_twice(tmp_path):
    text = """
recipes:
  one: &one {rows: 1, epochs: 1, length: &long {max_tokens: 32, policy: drop}}
  two: {<<: *one, length: &short {<<: *long, max_tokens: 16}}
  three: {<<: *one, length: {<<: *short, max_tokens: 8}}
"""
    found = read(written(tmp_path, text))["recipes"]
    assert [recipe["length"] for recipe in found.values()] == [
        {"max_tokens": tokens, "policy": "drop"} for tokens in (32, 16, 8)
    ]  # fmt: skip


def test_each_file_is_checked_by_itself(tmp_path):
    assert read(written(tmp_path, "# nothing yet\n")) == {}
    with pytest.raises(AtlasError, match=r"mine\.yaml: unknown key 'poolss' in the top level"):
        read(written(tmp_path, "poolss: {}\n"))
    with pytest.raises(AtlasError, match=r"mine\.yaml: a configuration is a mapping"):
        read(written(tmp_path, "[1]\n"))


def test_mappings_are_merged_and_all_else_is_replaced():
    one = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    other = {"a": {"y": [3], "z": 2}, "c": 3}
    assert merged([one, other]) == {"a": {"x": 1, "y": [3], "z": 2}, "b": 1, "c": 3}
    assert one == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_experiments_stand_beside_the_main_job(main, tmp_path):
    names = ["config.yaml", "experiments/01_first.yaml", "experiments/02_second.yaml"]
    assert default_files([main]) == [tmp_path / name for name in names]
    alone = written(tmp_path / "elsewhere", MAIN, "config.yaml")
    assert default_files([alone]) == [alone]


def test_a_users_keys_come_first_and_win(main):
    own = {"tables": {"mine": {"pools": ["p"]}, "first": {"pools": ["q"]}}, "seeds": [2]}
    whole, default = layers([main], own)
    assert list(whole["tables"]) == ["mine", "first", "main", "second"]
    assert whole["tables"]["first"] == {"pools": ["q"]}
    assert whole["seeds"] == [2]
    assert list(default["tables"]) == ["main", "first", "second"]
    assert default["tables"]["first"] == {"pools": ["p"]}


def test_the_default_may_be_left_out(main):
    own = {"defaults": False, "pools": {"mine": {"models": ["a"]}}}
    whole, default = layers([main], own)
    assert default == library(read(main)) == {
        "bases": {"small": {"source": {"local": "there"}}},
        "recipes": {"r": {"rows": 1, "epochs": 2}},
        "seeds": [1],
    }  # fmt: skip
    assert whole == {**default, **own}
    assert layers([main], {"defaults": True})[1] == layers([main], {})[1]


def test_there_may_be_no_default():
    assert layers([], {"seeds": [3]}) == ({"seeds": [3]}, {})


def test_a_table_of_another_kind_takes_nothing_from_the_default(main):
    own = {"tables": {"main": {"kind": "outputs", "pools": ["q"]}, "first": {"pools": ["q"]}}}
    whole, default = layers([main], own)
    assert whole["tables"]["main"] == {"kind": "outputs", "pools": ["q"]}
    assert set(default["tables"]) == {"first", "second"}
    same, _ = layers([main], {"tables": {"main": {"kind": "main", "published": {"p": "llama"}}}})
    assert same["tables"]["main"]["pools"] == ["p"]
