"""Tables that strangers wrote, looked through before they are read whole."""

from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.limits import LimitError, bounded
from atlas.sources.archives import most_from, refuse_endless

ROWS, SECONDS, GIGABYTES = 1024, 600.0, 2.0  # rows that are looked at at a time, within bounds


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

    left = most_from(file)
    try:
        with bounded(SECONDS, GIGABYTES), parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(ROWS, use_threads=False):
                left -= batch.num_rows + sum(map(_plain_bytes, batch.columns))
                if left < 0:
                    refuse_endless(file)
    except LimitError:
        refuse_endless(file)


def _plain_bytes(array: Any) -> int:
    """Bytes of an array of arrow, were each value written out."""
    import pyarrow

    if isinstance(array, pyarrow.DictionaryArray):
        return _plain_bytes(array.dictionary_decode())
    if isinstance(array, pyarrow.StructArray):
        return sum(map(_plain_bytes, array.flatten()))
    if pyarrow.types.is_nested(array.type) and hasattr(array, "flatten"):
        return len(array) + _plain_bytes(array.flatten())
    return int(array.nbytes)
