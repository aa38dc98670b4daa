"""Files of a configuration: each read strictly, then merged as Snakemake merges them.

The default is the file that the Snakefile names, with the experiments that stand beside it; what a
user gives is laid over it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

from atlas.configuration.tables import table_kinds
from atlas.configuration.validation import typed, validate
from atlas.errors import AtlasError
from atlas.experiments.entry import DEFAULT

DEFAULT_FILE = "config/config.yaml"  # in the folder of the workflow
EXPERIMENTS = "experiments"
# What `defaults: false` leaves out of the default; the rest serves every configuration.
LEFT_OUT = ("models", "grids", "pools", "tables", "comparisons", "deltas", "selections",
            "retrievals", "pushes", "summary")  # fmt: skip
MERGE_KEY = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.CSafeLoader):
    """YAML in which no key stands twice in one mapping."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._checked: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check the keys of a mapping before those of others are merged into it."""
        if node not in self._checked:
            self._checked.add(node)
            self._refuse_twice(node)
        super().flatten_mapping(node)

    def _refuse_twice(self, node: yaml.MappingNode) -> None:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE_KEY:
                line = key.start_mark.line + 1
                if (key.tag, key.value) in lines:
                    raise AtlasError(
                        f"{key.start_mark.name}: line {line}: the key {key.value!r} stands in it "
                        f"twice (line {lines[key.tag, key.value]} has it too); join the two, for "
                        "only one of them would count."
                    )
                lines[key.tag, key.value] = line


def read(file: Path, kinds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One file of a configuration, checked by itself.

    :param kinds: table -> its kind, where another file says it.
    :raises AtlasError: where a key stands twice, or the grammar refuses what is there.
    :raises yaml.YAMLError: where it is not YAML.
    """
    data = _load(file)
    validate(data, str(file), fragment=True, kinds=kinds)
    return dict(data)


def _load(file: Path) -> Any:
    with file.open(encoding="utf-8") as handle:
        return yaml.load(handle, Loader=_StrictLoader) or {}


def own_default(workflow: Path) -> list[Path]:
    """The default of a working folder that is not the workflow's: where users of Snakemake look for one.

    :param workflow: its folder.
    """
    file = Path(DEFAULT_FILE)
    return [file.absolute()] if file.is_file() and not file.samefile(workflow / file) else []


def given(files: Iterable[Path], values: Mapping[str, Any]) -> dict[str, Any]:
    """What a user gives: files, and values that `--config` sets."""
    return merged((*map(_load, files), typed(values)))


def merged(configurations: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Configurations laid over one another: mappings are merged key by key, all else is replaced."""
    found: dict[str, Any] = {}
    for configuration in configurations:
        update_config(found, configuration)
    return found


def default_files(files: Iterable[Path]) -> list[Path]:
    """Files that the Snakefile names, each with the experiments beside it, sorted by name."""
    return [
        each for file in files
        for each in (file, *sorted((file.parent / EXPERIMENTS).glob("*.yaml")))
    ]  # fmt: skip


def library(default: Mapping[str, Any]) -> dict[str, Any]:
    """What of the default stays with `defaults: false`: bases, encoders, datasets, recipes, settings.

    A base that is a model goes with the models.
    """
    kept = {key: value for key, value in default.items() if key not in LEFT_OUT}
    if "bases" in kept:
        kept["bases"] = {
            name: base
            for name, base in kept["bases"].items()
            if "model" not in base.get("source", {})
        }
    return kept


def layers(files: Iterable[Path], own: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A whole configuration, and what of it is the default.

    :param files: those that the Snakefile names.
    :param own: what a user gives, merged. Its keys come first, as Snakemake puts them.
    """
    default = merged(read(file) for file in default_files(files))
    if own.get("defaults") is False:
        default = library(default)
    tables = default.get("tables", {})
    for name, kind in table_kinds(own).items():
        if kind != tables.get(name, {}).get("kind", DEFAULT):
            tables.pop(name, None)  # a table of another kind takes nothing from it
    return merged((own, default, own)), default
