"""What the pages say of files, versions, defaults and limits is what the files say."""

import json
import re

import pytest
import yaml

from atlas.clusters import maps, neighbours
from atlas.configuration.config import Config
from atlas.configuration.files import layers
from atlas.lineage import command
from atlas.plan.job_sizes import memory_mb, runtime_minutes, weight_bytes
from documents import PAGES, ROOT, blocks, text_of
from rule_blocks import RULES, rule_blocks, said

DEFAULT, _ = layers([ROOT / "config/config.yaml"], {})
SCHEMA = json.loads((ROOT / "config/schema.json").read_text(encoding="utf-8"))["$defs"]


def rows(page: str) -> list[list[str]]:
    """Cells of all tables of a page."""
    return [row.split(" | ") for row in re.findall(r"^\| (.+) \|$", text_of(page), re.MULTILINE)]


def default_of(entry: str, key: str) -> object:
    return SCHEMA[entry]["properties"][key]["default"]


def pins(file: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "envs" / file).read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


def test_every_package_has_its_reason():
    shown = {
        name.strip().lower().replace("_", "-")
        for cells in rows("docs/dependencies.md") for name in cells[0].split(",")
    } - {"package"}  # fmt: skip
    wanted = set(pins("requirements.in"))
    assert wanted <= shown
    assert shown - wanted <= set(pins("requirements-test.txt"))


def test_every_configuration_is_described():
    shown = {cells[0].strip("`") for cells in rows("docs/models.md") if "config/" in cells[0]}
    there = {f"config/{file.name}" for file in (ROOT / "config").glob("*.yaml")}
    assert shown == there | {"config/experiments/"}


def test_every_table_of_the_default_is_described():
    text = "\n".join(text_of(page) for page in PAGES if page.startswith("docs/"))
    shown = set(re.findall(r"results/tables/(\w+)\.csv", text)) - {"two_splits", "nearest"}
    assert shown == set(DEFAULT["tables"])


def test_paths_are_those_of_the_rules():
    """Each path that a page puts below results/ begins as an output of a rule does."""
    outputs = re.sub(r"\{[^{}]*\}", "{}", RULES.replace("{{", "{").replace("}}", "}"))
    for page in PAGES:
        for path in re.findall(r"`(results/[^`\s]*)`", text_of(page)):
            wanted = re.sub(r"\{[^{}]*\}", "{}", path).replace("{}+{}", "{}")
            if wanted.startswith("results/provenance") or wanted in (
                "results/",
                "results/sources/",
            ):
                continue
            known = any(
                re.search(pattern, outputs)
                for pattern in (re.escape(wanted), generic(wanted), "(?!)")
            )
            assert known, f"{page}: {path}"


def generic(path: str) -> str:
    """A pattern of a path in which names of tables, pools and others stand as wildcards."""
    parts = path.split("/")
    kinds = {"tables", "pools", "models", "crates", "pushed", "retrieval", "figures", "merged"}
    if len(parts) > 2 and parts[1] in kinds:
        stem, dot, suffix = parts[2].partition(".") if len(parts) == 3 else (parts[2], "", "")
        parts[2] = f"{{}}{dot}{suffix}" if stem else ""
    return re.escape("/".join(parts[:3]))


def test_numbers_of_the_method():
    method, tasks, navigator = (text_of(f"docs/{n}.md") for n in ("method", "tasks", "navigator"))
    probes = (ROOT / "resources/probes.txt").read_text().splitlines()
    assert len(probes) == 5
    assert "token of five probes" in method.replace("\n", " ")
    assert f"(greedy, {default_of('Pool', 'new_tokens')} tokens)" in method
    assert f"largest {default_of('Pool', 'salient_share'):.0%}".replace("%", " %") in method
    assert f"beyond {maps.EXACT:,} models" in navigator
    assert neighbours.RANKS == 10
    assert "its ten nearest" in navigator
    assert f"{default_of('Selection', 'budget')} evaluations" in tasks
    assert "five examples" in tasks
    assert default_of("Selection", "examples") == 5


def test_exit_status_of_lineage():
    text = text_of("docs/provenance.md").replace("\n", " ")
    assert (command.WHOLE, command.BROKEN, command.WRONG) == (0, 1, 2)
    assert "0 for whole, identical or up to date, 1 for broken" in text


def test_the_profile_is_as_described():
    profile = yaml.safe_load((ROOT / "slurm/profile.yaml").read_text())
    text = text_of("docs/cluster.md").replace("\n", " ")
    assert profile["retries"] == 2
    assert "tried again, at most twice" in text
    gpu = profile["default-resources"]["gpu_type"]
    assert f"--gpus={gpu}:1" in text
    assert profile["slurm-logdir"] in text


def test_every_page_is_led_to():
    lead = text_of("docs/README.md")
    linked = set(re.findall(r"\]\(([\w./-]+\.md)\)", lead))
    assert linked >= {file.name for file in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert "docs/README.md" in text_of("README.md")
    for page in PAGES:
        for link in re.findall(
            r"(?:\]\(|src=\")([\w./-]+\.(?:md|png|cff))(?:#[\w-]+)?[)\"]", text_of(page)
        ):
            assert (ROOT / page).parent.joinpath(link).is_file(), f"{page}: {link}"


def test_python_is_one_version():
    assert "python3.11 -m venv" in text_of("README.md")
    assert 'target-version = "py311"' in (ROOT / "pyproject.toml").read_text()


def resources(rule: str) -> str:
    """What a rule asks for; of rules made in a loop, by what their names have in common."""
    return said(
        next(b for name, b in rule_blocks().items() if name.partition("_{")[0] == rule), "resources"
    )


def limits(rule: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Fixed and per-size arguments of memory and minutes of a rule."""
    found = []
    for function in ("memory", "minutes"):
        size = r"(?:, \w+, (?:copies_in_memory\()?([\d.]+)\)?)?"
        call = re.search(rf"{function}\((\d+){size}\)", resources(rule))
        found.append((float(call[1]), float(call[2] or 0)))
    return found[0], found[1]


def test_what_jobs_ask_for_is_what_the_rules_say():
    paper = yaml.safe_load((ROOT / "config/paper.yaml").read_text())["bases"]["llama-3.1-8b"]
    weights = weight_bytes(paper["billions"], paper["dtype"], [])
    asked = [cells for cells in rows("docs/costs.md") if len(cells) == 4 and "`" in cells[0]]
    assert len(asked) > 8
    for names, gigabytes, hours, gpu in asked:
        models = 15 if "15 models" in names else 1
        for rule in re.findall(r"`(\w+)`", names):
            (fixed, copies), (least, each) = limits(rule)
            assert memory_mb(1, int(fixed), weights, copies) / 1000 == pytest.approx(
                float(gigabytes), abs=0.06
            ), rule
            assert runtime_minutes(1, int(least), weights * models, each) / 60 == pytest.approx(
                float(hours), abs=0.06
            ), rule
            assert ("**on_gpu(" in resources(rule)) == (gpu == "yes"), rule


def test_sizes_at_eight_billion():
    width, key_value, inner, layers, rank = 4096, 1024, 14336, 32, 8
    numbers = layers * rank * (2 * width + 2 * (width + key_value) + 3 * (width + inner))
    sizes = {cells[0]: cells[1] for cells in rows("docs/costs.md") if len(cells) == 2}
    assert float(next(v for k, v in sizes.items() if k.startswith("an adapter"))) == pytest.approx(
        numbers * 4 / 1e9, abs=5e-4
    )
    assert float(next(v for k, v in sizes.items() if k.startswith("base"))) == pytest.approx(
        8.03e9 * 2 / 1e9, abs=0.05
    )


def test_citation_and_catalogue_are_well_formed():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    urls = [entry["url"] for entry in citation["references"]]
    assert all(url in "".join(map(text_of, PAGES)) for url in urls)
    titles = set(re.findall(r"title  = \{(.+)\},", text_of("README.md")))
    assert titles == {citation["title"], citation["references"][0]["title"]}
    paper = citation["references"][0]["identifiers"][0]["value"]
    assert paper == "arXiv:" + re.search("eprint = {(.+)}", text_of("README.md"))[1]
    catalogue = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert set(catalogue) == {"usage"}
    assert catalogue["usage"]["software-stack-deployment"]["conda"] is True


def test_defaults_are_those_of_the_grammar():
    assert Config.model_fields["seeds"].get_default(call_default_factory=True) == [42]
    assert "`seeds: [42, 7, 11]`" in text_of("docs/paper.md")


def test_a_file_that_pages_let_write_is_of_one_page():
    """Who follows two pages in one folder would join what is not meant to stand together."""
    pages = [f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md"))]
    pages += ["README.md", "config/README.md"]
    places = {
        (block.file, page) for page in pages for block in blocks(page) if block.mark and block.file
    }
    assert len(places) == len({file for file, _ in places}) > 10
