"""Captions of the report, for every table, comparison and delta of the committed configurations."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import Environment

from atlas.configuration.files import layers, read
from rule_blocks import RULES

ROOT = Path(__file__).resolve().parents[2]
CAPTIONS = ROOT / "resources/captions"
DEFAULT, _ = layers([ROOT / "config/config.yaml"], {})
PARAMS = {
    "pool": "p", "models": [{"base": "b"}], "spaces": ["delta_activations"], "query": "few",
    "low": 1.0, "high": 9.0, "documents": 20, "max_tokens": 512, "seeds": [42],
    "entries": [{"name": "main"}],
}  # fmt: skip


def merged(name: str) -> dict:
    """A configuration laid over the default."""
    return layers([ROOT / "config/config.yaml"], read(ROOT / "config" / name))[0]


def rendered(caption: str, config: dict, **wildcards: str) -> str:
    """A caption as Snakemake renders it: Jinja with its settings, then reStructuredText."""
    environment = Environment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string((CAPTIONS / f"{caption}.rst").read_text()).render(
        snakemake=SimpleNamespace(
            config=config, wildcards=SimpleNamespace(**wildcards), params=SimpleNamespace(**PARAMS)
        )
    )
    html = publish_parts(text, writer="html")["body"]
    assert "system-message" not in html, text
    words = " ".join(re.sub(r"<[^>]+>", "", html).split())
    assert len(words.split()) >= 8
    assert not re.search(
        r"``|\{[{%]|Undefined|\(\)|\( | \)| ,|\b(by|of|on|in|are) [,.;:]", words
    ), words
    return words


@pytest.mark.parametrize("name", sorted(file.name for file in (ROOT / "config").glob("*.yaml")))
def test_tables_and_comparisons_have_captions_with_their_parameters(name):
    config = merged(name)
    for table, entry in config["tables"].items():
        kind = entry.get("kind", "main")
        text = rendered(f"{kind}_table", config, table=table)
        keys = ("comparisons", "selections", "models", "pools")
        stated = [name for key in keys for name in entry.get(key, [])[:1]]
        assert stated[0] in text
        if kind == "temporal":
            rendered("temporal_distances", config, table=table)
    for comparison, entry in config["comparisons"].items():
        for caption in (
            "preservation",
            "effective_rank",
            "spectra",
            "comparison_layers",
            "comparison_weights",
            "comparison_drift",
        ):
            assert entry["base"] in rendered(caption, config, comparison=comparison)
        rendered("reward", config, comparison=comparison)
        rendered("comparison_quality", config, comparison=comparison)
        if entry.get("rl"):
            rendered("comparison_tests", config, comparison=comparison)
    for delta in config["deltas"]:
        rendered("delta_layers", config, delta=delta)


def test_pools_and_what_is_asked_for_by_itself():
    for space in ("delta_activations", "output_sentences"):
        for caption in ("map", "similarity", "silhouette"):
            text = rendered(caption, DEFAULT, pool="smollm2", space=space)
            assert f"smollm2 by {space.replace('_', ' ')}" in text
    for caption in ("silhouettes", "neighbours", "analysis", "curves", "navigator"):
        rendered(caption, DEFAULT, pool="smollm2")
    rendered("perplexity", DEFAULT, model="law-reports")
    rendered("rank_models", DEFAULT, task="sst2")
    assert "Tables: main" in rendered("summary", DEFAULT)
    config = {**DEFAULT, "retrievals": {"mine": {"pool": "smollm2", "dataset": "d", "recipe": "r"}}}
    assert "dataset d, recipe r" in rendered("retrieve_models", config, retrieval="mine")


def test_published_figures_are_told_of_pools_of_the_table_only():
    tables = {"main": {"pools": ["mine"], "published": {"smollm2": "llama"}}}
    assert "llama" not in rendered("main_table", {**DEFAULT, "tables": tables}, table="main")
    assert "Beside smollm2: llama." in rendered("main_table", DEFAULT, table="main")


def test_every_caption_is_used_and_every_file_that_is_reported_has_one():
    kinds = set(re.findall(r'table_(?:files?|figure)\(\s*"(\w+)"', RULES))
    named = set(re.findall(r'caption="(\w+)"', RULES)) | {f"{kind}_table" for kind in kinds}
    named |= set(re.findall(r'other_table\(\s*"[^"]+",\s*"(\w+)"', RULES))
    named |= set(re.findall(r'(?:pool|comparison)_figure\("(\w+)"', RULES))
    named |= set(re.findall(r'pool_table\(\s*"\w+", "[\w ]+", "(\w+)"', RULES))
    named |= set(re.findall(r'pool_table\(\s*"(\w+)", "[\w ]+"\s*\)', RULES))
    named |= {f"comparison_{name}" for name in re.findall(r'comparison_table\("(\w+)"\)', RULES)}
    assert named | {"workflow"} == {file.stem for file in CAPTIONS.glob("*.rst")}
