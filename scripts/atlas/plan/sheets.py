"""Sheets: TSV files of models that were made elsewhere."""

import codecs
import csv
import io
from collections import Counter
from pathlib import Path

from pydantic import ValidationError

from atlas.configuration.config import Config
from atlas.configuration.models import ModelSource
from atlas.configuration.sources import HubSource
from atlas.errors import AtlasError
from atlas.files import typed_path
from atlas.grammar import NAMES, is_valid_name
from atlas.plan.resolved import PlannedModel, model_seed
from atlas.references import known

SHEET_COLUMNS = ("model", "source", "base", "domain")
OPTIONAL = ("kind", "subfolder")


def read_sheet(config: Config, path: str, root: Path) -> dict[str, PlannedModel]:
    """Models of a TSV: made elsewhere, fetched from a hub or a folder.

    :raises AtlasError: where it is no sheet, naming the line.
    """
    try:
        return _models(config, path, root)
    except csv.Error as error:
        raise AtlasError(f"{path}: cannot be read as a sheet ({error}).") from None


def _models(config: Config, path: str, root: Path) -> dict[str, PlannedModel]:
    file = root / typed_path(path)
    if not file.is_file():
        raise AtlasError(f"{path}: there is no such sheet.")
    with io.StringIO(_text(file, path), newline="") as handle:
        reader = csv.DictReader(handle, delimiter="\t")
        columns = reader.fieldnames or []
        twice = [column for column, times in Counter(columns).items() if times > 1]
        if twice:
            raise AtlasError(f"{path}: the column {twice[0]!r} is there twice.")
        missing = [column for column in SHEET_COLUMNS if column not in columns]
        if missing:
            marks = [mark for mark in ",;" if len(columns) == 1 and mark in columns[0]]
            hint = f"; its columns are separated by {marks[0]!r}" if marks else ""
            raise AtlasError(
                f"{path}: the column {missing[0]!r} is missing; a sheet has the tab-separated "
                f"columns {', '.join(SHEET_COLUMNS)}{hint}."
            )
        found: dict[str, PlannedModel] = {}
        for line, row in enumerate(reader, start=2):
            where = f"{path}, line {line}"
            if None in row:
                raise AtlasError(
                    f"{where}: has more cells than the header has columns ({len(columns)})."
                )
            empty = [column for column in SHEET_COLUMNS if not (row[column] or "").strip()]
            if empty:
                raise AtlasError(f"{where}: {empty[0]!r} is empty.")
            values = {column: row[column].strip() for column in SHEET_COLUMNS}
            name = values["model"].replace("/", "--")
            for column in ("model", "domain"):
                value = name if column == "model" else values[column]
                if not is_valid_name(value):
                    raise AtlasError(f"{where}: {value!r} is not a name; {NAMES}")
            if name in found:
                raise AtlasError(f"{where}: the model {name!r} stands in the sheet twice.")
            known(values["base"], config.bases, where, "base")
            seed = model_seed(config.seeds[0], name)
            kind, subfolder = ((row.get(column) or "").strip() for column in OPTIONAL)
            if kind not in ("", "adapter", "full"):
                raise AtlasError(f"{where}: the kind {kind!r} is neither adapter nor full.")
            source = sheet_source(values["source"], subfolder, root, where)
            found[name] = PlannedModel(
                name, values["base"], values["domain"], kind != "full", seed,
                source=source.model_dump(exclude_none=True),
                more={c: (v or "").strip() for c, v in row.items() if c not in SHEET_COLUMNS + OPTIONAL},
            )  # fmt: skip
    if not found:
        raise AtlasError(f"{path}: the sheet has no models.")
    return found


def _text(file: Path, path: str) -> str:
    """The text of a sheet, which is UTF-8."""
    data = file.read_bytes()
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data
    try:
        if not marked:
            return data.decode("utf-8-sig")
        what = "it is UTF-16"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"line {line} is not, as when it is saved as Latin-1"
    raise AtlasError(f"{path}: a sheet is UTF-8, and {what}; save it as UTF-8.")


def sheet_source(text: str, subfolder: str, root: Path, where: str) -> ModelSource:
    """`org/name`, `org/name@revision`, or a folder (absolute, or starting with a dot)."""
    if text.startswith((".", "/", "~")) or typed_path(root / text).is_dir():
        return ModelSource(local=str(Path(text, subfolder)) if subfolder else text)
    repo, _, revision = text.partition("@")
    try:
        return ModelSource(
            hub=HubSource(repo=repo, revision=revision or "main", subfolder=subfolder or None)
        )
    except ValidationError:
        raise AtlasError(
            f"{where}: the source {text!r} is neither a folder nor a repository (org/name)."
        ) from None
