"""Figures of the documentation: made from results/, with what of the configuration made them.

A page is its own template: what stands between ``<!-- results of TABLE (DIGEST): HOW -->``, or
``<!-- results of TABLE with CONFIGFILE (DIGEST): HOW -->``, and ``<!-- end of results -->`` is generated,
all else is written by hand and kept. HOW is ``spaces`` (spaces of a main table, with what is published),
``findings`` (the sentences of the summary) or ``page`` (the page beside the table). The digest is of
what the table names in the configuration: where it has changed, the figures are those of another one.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from atlas.configuration.files import layers, read
from atlas.errors import AtlasError
from atlas.experiments.wording import Beside, Rows, number
from atlas.files import read_csv
from atlas.plan.building import build
from atlas.plan.resolved import Plan, PlannedModel
from atlas.publishing.picture import picture_of, told_by
from atlas.report.summary import findings
from atlas.spaces.names import space_title

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(
    r"<!-- results of (?P<table>\S+)(?: with (?P<config>\S+))? \((?P<digest>\w*)\): (?P<how>\w+) -->\n"
    r"(?P<text>.*?)<!-- end of results -->",
    re.DOTALL,
)
# Picture of the documentation -> the table with which it is made, the pool whose navigator it shows, the
# space that this opens with, and what is chosen in it.
PICTURES = {"docs/navigator.png": ("main", "smollm2", "delta_activations", "")}
NOT_NAMED = ("grids", "models", "pushes", "tables")


def signature(plan: Plan, table: str) -> str:
    """Digest of all that a table names, directly or through others: twelve hexadecimal digits.

    Values that are the defaults of their keys are not part of it: a further key changes nothing.
    """
    sections: dict[str, dict[str, Any]] = {
        key: {
            name: entry.model_dump(mode="json", exclude_defaults=True)
            for name, entry in value.items()
        }
        for key, value in plan.config
        if isinstance(value, dict) and key not in NOT_NAMED
    }
    sections["models"] = {name: _dumped(model) for name, model in plan.models.items()}
    for name, pool in plan.pools.items():
        members = [model.origin or model.name for model in pool.listed]
        sections["pools"][name] = {**sections["pools"].get(name, {}), "models": members}
    asked = plan.config.tables[table].model_dump(mode="json", exclude_defaults=True)
    found: dict[tuple[str, str], Any] = {}
    todo = [asked]
    while todo:
        for text in set(_texts(todo.pop())):
            name = text.removeprefix("model--")  # a base that is a model
            for section, named in sections.items():
                if name in named and (section, name) not in found:
                    found[section, name] = named[name]
                    todo.append(named[name])
    whole = {"table": asked, "seeds": plan.config.seeds,
             "named": [[*key, found[key]] for key in sorted(found)]}  # fmt: skip
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]


def _dumped(model: PlannedModel) -> dict[str, Any]:
    values = {field.name: value for field in fields(model)
              if (value := getattr(model, field.name)) != field.default and value != {}}  # fmt: skip
    return values | {"data": [data.model_dump(exclude_defaults=True) for data in model.data]}


def _texts(entry: Any) -> Iterator[str]:
    """Every text of an entry; what the keys of a mapping name, others name, too."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for value in entry.values():
            yield from _texts(value)
    elif isinstance(entry, list | tuple):
        for value in entry:
            yield from _texts(value)


def block(plan: Plan, table: str, how: str, results: Path) -> str:
    """What stands in a page about a table.

    :param results: folder of the results, with the table and the files that its findings read.
    """
    entry = plan.config.tables[table]
    file = results / f"tables/{table}.csv"
    if how == "page":
        text = file.with_suffix(".md").read_text(encoding="utf-8")
        page = text.split("\n", 1)[1].strip()  # without its title
        return re.sub(r"^##", "###", page, flags=re.MULTILINE)
    beside = {name: read_csv(results.parent / path) for name, path in entry.beside(table).items()}
    if how == "spaces":
        return "\n".join(_spaces(read_csv(file), beside))
    return "\n".join(f"* {sentence}" for sentence in findings(entry.kind, read_csv(file), beside))


def _spaces(table: Rows, beside: Beside) -> list[str]:
    """Spaces of the pools of a main table, with what is published and the nearest neighbours."""
    lines = ["| space | dimension | silhouette (published) | nearest neighbour has the model's domain |",
             "|---|--:|--:|--:|"]  # fmt: skip
    for row in table:
        if row["distance"] == "cosine_clipped" and f"{row['pool']}/neighbours.csv" in beside:
            first = [near for near in beside[f"{row['pool']}/neighbours.csv"]
                     if (near["space"], near["rank"]) == (row["space"], "1")]  # fmt: skip
            same = sum(near["domain"] == near["neighbour_domain"] for near in first)
            found, published = (row[key] and number(float(row[key]), 3)
                                for key in ("silhouette", "published"))  # fmt: skip
            beside_it = f" ({published})" if published else ""
            lines.append(f"| {space_title(row['space'])} | {int(row['dimension']):,} | "
                         f"{found}{beside_it} | {same} of {len(first)} |")  # fmt: skip
    return lines


def pages(root: Path) -> list[Path]:
    """Pages that may have figures."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def planned(root: Path, configfile: str | None) -> Plan:
    """The plan of the default configuration, with a file laid over it."""
    own = read(root / configfile) if configfile else {}
    whole, beneath = layers([root / "config/config.yaml"], own)
    return build(whole, default=beneath, root=root)


def renew_pictures(root: Path, results: Path, made: Sequence[str]) -> bool:
    """Make the pictures of tables that have just been made, and say which are of another configuration.

    :returns: whether all are up to date.
    """
    fine, plan = True, planned(root, None)
    for picture, (table, pool, space, view) in PICTURES.items():
        place, folder, digest = root / picture, results / "pools" / pool, signature(plan, table)
        try:
            if table in made:
                places = folder / space / "map.csv"
                picture_of(folder / "navigator.html", places, digest, place, view)
            elif not place.is_file() or told_by(place)["configuration"] != digest:
                raise AtlasError(f"{place}: is of another configuration; {remedy(table)}")
        except AtlasError as error:  # the pages are written all the same
            print(error, file=sys.stderr)
            fine = False
    return fine


def remedy(table: str) -> str:
    """What brings the figures of a table up to date."""
    return f"make results/tables/{table}.csv, then: python scripts/document_results.py {table}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring blocks up to date, or say which are of another configuration.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("tables", nargs="*", help="tables that have just been made")
    parser.add_argument(
        "--configfile", help="the file that was laid over the default configuration"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where one is stale")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of README.md and docs/")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results")
    options = parser.parse_args(arguments)
    if not options.check and not options.tables:
        parser.error("name the tables that have just been made, or ask for --check")
    made = [] if options.check else options.tables
    plans: dict[str | None, Plan] = {}
    stale: list[str] = []
    failed = False

    def renewed(match: re.Match[str]) -> str:
        table, config, how = match["table"], match["config"], match["how"]
        if config not in plans:
            plans[config] = planned(options.root, config)
        digest = signature(plans[config], table)
        if table in made and config == options.configfile:
            beside = f" with {config}" if config else ""
            text = block(plans[config], table, how, options.results)
            return (f"<!-- results of {table}{beside} ({digest}): {how} -->\n{text}\n"
                    "<!-- end of results -->")  # fmt: skip
        if digest != match["digest"]:
            stale.append(table)
        return match[0]

    if not renew_pictures(options.root, options.results, () if options.configfile else made):
        failed = True
    for page in pages(options.root):
        current = page.read_text(encoding="utf-8")
        stale.clear()
        text = BLOCK.sub(renewed, current)
        for table in stale:
            print(f"{page}: the figures of {table} are those of another configuration; {remedy(table)}",
                  file=sys.stderr)  # fmt: skip
        failed |= bool(stale)
        if text != current:
            page.write_text(text, encoding="utf-8")
            print(f"{page} written")
    return int(options.check and failed)
