"""Which models of a job an earlier execution of it has done already, by its statement.

Outputs of such jobs are flagged ``update`` in their rules, so that Snakemake leaves the earlier ones in
their place until the job replaces them.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from atlas import device
from atlas.files import typed_path
from atlas.job.records import BrokenRecordError, Records
from atlas.job.statements import Statement
from atlas.kept import Kept

# Inputs of which each base and each model has a folder of its own, or of the user's.
BASES, WEIGHTS, LOCAL = "bases", "weights", "local"
# Params that are mappings with an entry for each base.
OF_BASES = ("dtypes", "base_names")


def kept(
    now: Statement, records: Records, sha256: Callable[[Path], str]
) -> tuple[Kept, Statement | None]:
    """What need not be computed again, and the statement of the execution that made it.

    :param now: what the job is about to make, without digests of outputs. :param sha256: of a file.
    """
    earlier = _earlier(now, records, sha256)
    if earlier is None or _rest(earlier) != _rest(now):
        return Kept(), None
    old, new = _of_models(earlier, records.root), _of_models(now, records.root)
    models = {m["name"]: m["base"] for m in now.params["models"]
              if old.get(m["name"]) == new[m["name"]]}  # fmt: skip
    files = {name: records.path(path) for path, name in now.output_names.items()}
    gone = {path: (earlier.outputs[path], earlier.temporary[path])
            for path, name in earlier.output_names.items()
            if name == "gone" and Path(path).parent.name in models}  # fmt: skip
    return Kept(models, files, gone), earlier


def _earlier(now: Statement, records: Records, sha256: Callable[[Path], str]) -> Statement | None:
    """The statement of all outputs as they stand in their places, or None."""
    found = set()
    for path in now.outputs:
        try:
            made = records.statement(path)
        except BrokenRecordError:
            return None
        file = records.path(path)
        if made is None or not file.is_file() or sha256(file) != made.outputs[path]:
            return None
        found.add(made.digest)
    return made if len(found) == 1 else None


def _rest(made: Statement) -> str:
    """All that concerns every model."""
    params = {k: v for k, v in made.params.items() if k not in ("models", *OF_BASES)}
    inputs = {path: digest for path, digest in made.inputs.items()
              if made.input_names[path] not in (BASES, WEIGHTS, LOCAL)}  # fmt: skip
    return _plain([made.rule, params, made.code, inputs, device.describe()
                   if not made.execution else made.execution.get("device")])  # fmt: skip


def _of_models(made: Statement, root: Path) -> dict[str, str]:
    """Of each model, all that it is computed from.

    :param root: from which the statement names files.
    """
    files: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for path, name in made.input_names.items():
        folder = Path(path).parent
        place = str((root / typed_path(folder)).resolve()) if name == LOCAL else folder.name
        files[name, place][path] = made.inputs[path]

    def told(model: Mapping[str, Any]) -> Iterable[Any]:
        base = model["base"]
        yield model
        yield from (made.params.get(param, {}).get(base) for param in OF_BASES)
        yield from (files[BASES, base], files[WEIGHTS, model["name"]])
        if folder := (model.get("source") or {}).get("local"):
            yield files[LOCAL, str(typed_path(folder).resolve())]

    return {model["name"]: _plain(list(told(model))) for model in made.params["models"]}


def _plain(value: Any) -> str:
    """A value as it is stored."""
    return json.dumps(value, sort_keys=True)
