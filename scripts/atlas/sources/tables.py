"""Tables that strangers wrote: looked through before they are read whole; nothing beside them is opened."""

import contextlib
import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import read_object
from atlas.limits import LimitError, bounded
from atlas.sources.archives import Allowance, refuse_endless

Row = dict[str, Any]
BUILDERS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv"}
# What pandas calls cells for which the first line of a file has no name.
NAMELESS = "__index_level_0__"
ROWS, SECONDS, GIGABYTES = 1024, 600.0, 2.0  # rows that are looked at at a time, within bounds


def table_rows(name: str, file: Path, suffix: str, scratch: Path) -> Iterator[Row]:
    """Rows of a file of Parquet, or of text in columns.

    :param name: of the dataset. :param suffix: as of :func:`check_table`.
    :raises AtlasError: where it is damaged, or more comes out of it than may.
    """
    import datasets

    options = {"sep": "\t"} if suffix == ".tsv" else {}
    try:
        check_table(file, suffix)
        table = datasets.load_dataset(
            BUILDERS[suffix], data_files=[str(file)], split="train", cache_dir=str(scratch),
            **options,
        )  # fmt: skip
        if suffix != ".parquet" and NAMELESS in table.column_names:
            raise AtlasError(f"{name}: {file.name} has rows of more cells than its first line.")
        rows = list(_undecoded(table))
    except AtlasError:
        raise
    except Exception as error:  # each reader has exceptions of its own
        reason = _first_line(error.__cause__ or error)
        raise AtlasError(
            f"{name}: {file.name} cannot be read as {BUILDERS[suffix]} ({reason}); is it whole?"
        ) from None
    yield from rows


def saved_rows(folder: Path) -> Iterator[Row]:
    """Rows of a data set as `datasets` saves it.

    :raises AtlasError: where it is none, or names files that are not in its folder.
    """
    import datasets
    import pyarrow

    try:
        for part in read_object(folder / "state.json")["_data_files"]:
            file = folder / Path(part["filename"]).name
            if file.name != part["filename"]:
                raise AtlasError(
                    f"{folder.name}: names {str(part['filename'])[:80]!r}, which is not in it."
                )
            with _swelling(file), pyarrow.ipc.open_stream(file.open("rb")) as batches:
                _check_batches(file, batches)
        yield from _undecoded(datasets.load_from_disk(str(folder)).with_format(None))
    except AtlasError:
        raise
    except Exception as error:  # whatever a damaged one makes of its readers
        raise AtlasError(
            f"{folder.name}: is no data set that `datasets` saved ({_first_line(error)})."
        ) from None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]


def _undecoded(table: Any) -> Any:
    """A data set whose images, sounds and the like stay closed: a row may name any file or address."""
    for column, feature in table.features.items():
        closed = copy.deepcopy(feature)
        if media := [part for part in _parts(closed) if getattr(part, "decode", False)]:
            for part in media:
                part.decode = False
            table = table.cast_column(column, closed)
    return table


def _parts(feature: Any) -> Iterator[Any]:
    """What a column is made of, but for JSON, which has a decoder, too."""
    from datasets import Json

    if isinstance(feature, dict | list | tuple):
        for part in feature.values() if isinstance(feature, dict) else feature:
            yield from _parts(part)
    elif hasattr(feature, "feature"):
        yield from _parts(feature.feature)
    elif not isinstance(feature, Json):
        yield feature


def check_table(file: Path, suffix: str) -> None:
    """Refuse a table that is packed as a whole, which its reader would unpack, or is endless.

    A few bytes of Parquet stand for any number of rows.

    :param suffix: what its name ends in; what a hub sent is called by its digest.
    :raises AtlasError: where more comes out of it than may.
    """
    from datasets.utils.extract import Extractor

    if packed := Extractor.infer_extractor_format(file):
        raise AtlasError(f"{file.name}: is a file of {packed}; give the table that is in it.")
    if suffix != ".parquet":
        return
    from pyarrow import parquet

    with _swelling(file), parquet.ParquetFile(file) as table:
        _check_batches(file, table.iter_batches(ROWS, use_threads=False))


@contextlib.contextmanager
def _swelling(file: Path) -> Iterator[None]:
    """Within this context, a file is read that may stand for more than fits into memory."""
    try:
        with bounded(SECONDS, GIGABYTES):
            yield
    except LimitError:
        refuse_endless(file)


def _check_batches(file: Path, batches: Iterable[Any]) -> None:
    left = Allowance(file)
    for batch in batches:
        left.take(batch.num_rows + sum(map(_plain_bytes, batch.columns)))


def _plain_bytes(array: Any) -> int:
    """Bytes of an array of arrow, were each value written out."""
    import pyarrow

    if isinstance(array, pyarrow.DictionaryArray):
        return _plain_bytes(array.dictionary_decode())
    if isinstance(array, pyarrow.StructArray):
        return sum(map(_plain_bytes, array.flatten()))
    if isinstance(array, pyarrow.MapArray):
        return _plain_bytes(array.keys) + _plain_bytes(array.items)
    if pyarrow.types.is_nested(array.type) and hasattr(array, "flatten"):
        return len(array) + _plain_bytes(array.flatten())
    return int(array.nbytes)
