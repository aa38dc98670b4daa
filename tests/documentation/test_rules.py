"""Rules stand where their functions do, and say nothing that another says for them."""

from __future__ import annotations

import re

import pytest

from rule_blocks import FILES, ROOT, rule_blocks, said

OWN = r"(?<!workflow_file\()(?<!workflow_file\(f)"
SHARED = {"checkout", "common", "resources"}
BLOCKS = rule_blocks()
JOBS = {name: block for name, block in BLOCKS.items() if name != "job"}


def test_the_snakefile_is_the_table_of_contents():
    included = re.findall(r'^include: "rules/(\w+)\.smk"$', (ROOT / "Snakefile").read_text(), re.M)
    assert sorted(included) == [file.stem for file in FILES]
    rooms = {folder.name for folder in (ROOT / "scripts/atlas").iterdir() if folder.is_dir()}
    assert set(included) - SHARED <= rooms
    assert {block.file.stem for block in BLOCKS.values()} == set(included) - SHARED
    assert len(JOBS) > 60


@pytest.mark.parametrize("name", JOBS)
def test_a_rule_stands_in_the_room_of_its_function(name):
    block = JOBS[name]
    while not (code := re.search(r'code\("atlas\.(\w+)\.[\w.]+:\w+"\)', block.text)):
        block = BLOCKS[block.origin]
    assert code[1] == JOBS[name].file.stem


@pytest.mark.parametrize("name", JOBS)
def test_a_rule_logs_under_its_name(name):
    block = JOBS[name]
    own = re.escape(name.partition("_{")[0] if name.startswith(("fetch", "apply")) else name)
    if name == "train_full_temporary":
        own = "train_full"
    for directive, folder, suffix in (("log", "logs", "log"), ("benchmark", "benchmarks", "tsv")):
        text = said(block, directive)
        assert re.match(rf'f?"{folder}/{own}(/.+)?\.{suffix}"', text), text


@pytest.mark.parametrize("name", JOBS)
def test_no_two_jobs_have_one_log(name):
    """`{a}-{b}` is the same for a, b-c and a-b, c: each wildcard has a folder of its own."""
    for directive in ("log", "benchmark"):
        text = re.sub(r"{(strategy|seed|split|variant)}", "", said(JOBS[name], directive))
        assert not re.search(r"}[^/{]*{", text.replace("{{", "{").replace("}}", "}")), text


def test_files_of_the_workflow_are_found_from_its_folder():
    for name, block in BLOCKS.items():
        bare = re.findall(rf'{OWN}"((?:resources|notebooks)/[^"]*)"', block.directive("input"))
        assert not bare, f"{name}: {bare}"


def test_the_rule_that_others_take_from_makes_nothing():
    text = BLOCKS["job"].text
    assert "{nothing,(?!)}" in text
    assert not BLOCKS["job"].directive("output")
    assert {block.origin for block in BLOCKS.values()} <= set(BLOCKS) | {""}
