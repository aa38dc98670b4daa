"""Files of a user's own machine that jobs read: what cannot work is refused before anything runs."""

from collections.abc import Collection
from pathlib import Path

from atlas.errors import AtlasError
from atlas.files import typed_path
from atlas.guarded_json import parse_json
from atlas.plan.inputs import local_files, local_model
from atlas.weights.other_formats import gguf_hint, pickled_weights

ROWS = (".jsonl", ".gz", ".parquet", ".json", ".csv", ".tsv")


def local_rows(name: str, path: str | None) -> list[str]:
    """The file of rows of a dataset; none where they come from elsewhere.

    :raises AtlasError: for what is no file of rows, by its name and its beginning.
    """
    if path is None:
        return []
    where, file = f"datasets.{name}.source.local", typed_path(path)
    if not file.exists():
        raise AtlasError(f"{where}: there is no file {file}; {_start(file)}")
    if not file.is_file():
        raise AtlasError(f"{where}: {file} is no file; name one file of rows.")
    if file.suffix not in ROWS:
        raise AtlasError(
            f"{where}: rows are read from {', '.join(ROWS)}, and not from {file.name}."
        )
    if not file.stat().st_size:
        raise AtlasError(f"{where}: {file} is empty.")
    if file.suffix == ".jsonl":
        _refuse_first_line(where, file)
    return local_files(path)


def _refuse_first_line(where: str, file: Path) -> None:
    with file.open("rb") as handle:
        line = handle.readline(1 << 24)
    try:
        found = parse_json(line.decode("utf-8-sig"))
    except ValueError as error:
        raise AtlasError(f"{where}: the first line of {file} is no JSON ({error}).") from None
    if not isinstance(found, dict):
        raise AtlasError(f"{where}: the first line of {file} is no JSON object; a row is one.")


def local_folder(where: str, path: str | None, wanted: Collection[str]) -> list[str]:
    """Files of the folder of a model, a base or an encoder; none where it comes from elsewhere.

    :param where: its place in the configuration.
    :param wanted: names of files, of which the folder has one at least.
    :raises AtlasError: for what is no such folder.
    """
    if path is None:
        return []
    where, folder = f"{where}.source.local", typed_path(path)
    if not folder.exists():
        raise AtlasError(f"{where}: there is no folder {folder}; {_start(folder)}")
    if not folder.is_dir():
        raise AtlasError(
            f"{where}: {folder} is no folder; name the one that the model was saved to."
        )
    names = {file.name for file in folder.iterdir() if file.is_file()}
    stored = any(name.endswith(".safetensors") for name in names)
    other = "" if stored else gguf_hint(names)
    if not other and not names & set(wanted):
        raise AtlasError(
            f"{where}: {folder} has no {' or '.join(sorted(wanted))}; is it that of a model?"
        )
    if not stored:
        pickles = pickled_weights(names)
        what = f"{pickles[0]} is a pickle, which is refused" if pickles else "no weights are there"
        what = other or what
        raise AtlasError(f"{where}: {folder} has no file of safetensors, and {what}.")
    return local_model(path)


def _start(path: Path) -> str:
    if path.is_absolute():
        return "mend the path."
    return f"relative paths of a configuration start from the working folder, {Path.cwd()}."
