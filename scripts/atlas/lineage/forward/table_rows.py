"""Which rows of a table a bad file reached: where a row names its pool, its space or its checkpoint."""

from collections import defaultdict
from collections.abc import Callable, Container, Mapping
from pathlib import Path

from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.job.records import Records
from atlas.job.statements import RESULTS, Statement
from atlas.job.withdrawn.reach import File
from atlas.job.withdrawn.things import Thing

POOLS, CHECKPOINTS = f"{RESULTS}/pools/", f"{RESULTS}/evaluations/"
COLUMNS = ("pool", "space", "checkpoint")


def touched_rows(
    records: Records, path: str, thing: Thing, held: Container[File]
) -> list[int] | None:  # fmt: skip
    """Rows of a table that hang on a thing, counted from 1; None where all do, or none can be told apart.

    :param held: files that do.
    """
    made, place = records.statement(path), records.path(path)
    if made is None or (path, made.outputs[path]) not in held or not place.is_file():
        return None
    itself = thing.is_of(made) or thing.is_file(path, made.outputs[path])
    if itself or not _tells_apart(place):
        return None
    try:
        rows = read_csv(place)
    except (OSError, ValueError):
        return None
    known: dict[tuple[str, ...], bool] = {}
    touched = []
    for number, row in enumerate(rows, start=1):
        key = tuple(str(row.get(name) or "") for name in COLUMNS)
        if key not in known:
            known[key] = _is_touched(records, made, thing, held, key)
        if known[key]:
            touched.append(number)
    return None if len(touched) == len(rows) else touched


def _tells_apart(place: Path) -> bool:
    """Whether rows name what they were made of."""
    with place.open("rb") as handle:
        names = handle.readline(4096).decode(errors="replace").strip().split(",")
    return not set(COLUMNS).isdisjoint(names)


def _is_touched(
    records: Records, made: Statement, thing: Thing, held: Container[File], key: tuple[str, ...]
) -> bool:
    if thing.is_of(made):
        return True
    for path in _of_row(made, *key):
        file = (path, made.inputs[path])
        if file not in held:
            continue
        above = _table_of_pool(records, *file)
        if above is None or thing.is_file(*file) or _is_touched(records, above, thing, held, key):
            return True
    return False


def _table_of_pool(records: Records, path: str, digest: str) -> Statement | None:
    """The job of a table of a pool, whose rows have a space each."""
    if not (path.startswith(POOLS) and path.endswith(".csv")):
        return None
    try:
        return records.maker(path, digest)
    except AtlasError:
        return None


def _of_row(made: Statement, pool: str, space: str, checkpoint: str) -> list[str]:
    """Inputs that a row can have been made of: of those that one name of the rule has, where some are of
    its pool (space, checkpoint), only these. The average over pools names no pool.
    """
    groups: Mapping[str, list[str]] = defaultdict(list)
    for path in made.inputs:
        groups[made.input_names[path]].append(path)
    found: list[str] = []
    for paths in groups.values():
        for part, value in ((_pool, pool), (_space, space), (_checkpoint, checkpoint)):
            paths = _those(paths, part, value)
        found += paths
    return found


def _those(paths: list[str], part: Callable[[str], str | None], value: str) -> list[str]:
    chosen = [path for path in paths if value and part(path) == value]
    rest = [path for path in paths if part(path) is None]
    return [*chosen, *rest] if chosen else paths


def _pool(path: str) -> str | None:
    return path.removeprefix(POOLS).partition("/")[0] if path.startswith(POOLS) else None


def _space(path: str) -> str | None:
    parts = path.removeprefix(POOLS).split("/")
    return parts[1] if path.startswith(POOLS) and parts[2:] == ["embeddings.npz"] else None


def _checkpoint(path: str) -> str | None:
    return Path(path).stem if path.startswith(CHECKPOINTS) else None
