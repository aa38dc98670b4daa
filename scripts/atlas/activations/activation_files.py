"""Activations as they are stored, and the shards of a pool joined into one file."""

import contextlib
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from atlas.errors import AtlasError
from atlas.kept import Kept

Array = np.ndarray[Any, np.dtype[np.float32]]


def write_activations(
    path: Path, prompts: Sequence[str], bases: dict[str, Array], models: dict[str, Array]
) -> None:
    """Write /probes, /bases/{base}/last_token and /models/{model}/last_token, sorted by name."""
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        _write_probes(file, prompts)
        for group, arrays in (("bases", bases), ("models", models)):
            for name in sorted(arrays):
                file.create_dataset(
                    f"{group}/{name}/last_token", data=arrays[name], chunks=arrays[name].shape,
                    compression="gzip", shuffle=True, track_times=False,
                )  # fmt: skip


def kept_activations(kept: Kept) -> dict[str, dict[str, Array]]:
    """Arrays of models that are kept (models) and of their bases (bases), by name."""
    if not kept.models:
        return {"bases": {}, "models": {}}
    with opened(kept.files["activations"]) as file:
        return {group: {name: file[f"{group}/{name}/last_token"][:] for name in names}
                for group, names in kept.groups().items()}  # fmt: skip


def _write_probes(file: Any, prompts: Sequence[str]) -> None:
    text = h5py.string_dtype("utf-8")
    file.create_dataset("probes", data=list(prompts), dtype=text, track_times=False)


def assemble(*, shards: list[Path], models: list[str], activations: Path) -> None:
    """Join the shards of a pool into one file.

    :param models: names that must be there, all of them.
    :raises AtlasError: where a model is missing, or two shards disagree on a base.
    """
    _allow_open_files(len(shards))
    with contextlib.ExitStack() as stack:
        files = {shard: stack.enter_context(opened(shard)) for shard in shards}
        prompts = _common_probes(files)
        bases = _places(files, "bases")
        for name, places in bases.items():
            place = f"bases/{name}/last_token"
            first = files[places[0]][place][:]
            for other in places[1:]:
                if not np.array_equal(first, files[other][place][:]):
                    raise AtlasError(
                        f"{other}: the base {name} differs from that of another shard."
                    )
        found = _places(files, "models")
        missing = sorted(set(models) - set(found))
        if missing:
            raise AtlasError(f"{activations.parent}: the activations of {missing[0]} are missing.")
        with h5py.File(activations, "w", libver=("v110", "v110")) as joined:
            _write_probes(joined, prompts)
            for group, places in (("bases", bases), ("models", {m: found[m] for m in models})):
                for name in sorted(places):
                    _copy_chunk(files[places[name][0]], joined, f"{group}/{name}/last_token")


def deltas(
    activations: Path, models: Sequence[Mapping[str, Any]]
) -> Iterator[np.ndarray[Any, np.dtype[np.float64]]]:
    """Activations of each model of a pool minus those of its base, (n_probes, d) float64.

    :param models: name and base of each; one is in memory at a time, and the bases.
    :raises AtlasError: where the file is damaged.
    """
    with opened(activations) as file:
        bases = {base: file[f"bases/{base}/last_token"][:].astype(np.float64)
                 for base in {model["base"] for model in models}}  # fmt: skip
        for model in models:
            read = file[f"models/{model['name']}/last_token"][:]
            yield read.astype(np.float64) - bases[model["base"]]


def opened(file: Path) -> h5py.File:
    """An HDF5 file, open for reading; an AtlasError where it is damaged."""
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise AtlasError(f"{file}: not a whole HDF5 file ({error}).") from None


def _allow_open_files(count: int) -> None:
    """Let this process hold so many files at once, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256 if hard == resource.RLIM_INFINITY else min(count + 256, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _common_probes(files: Mapping[Path, Any]) -> list[str]:
    """The probes of all shards."""
    prompts: list[str] = []
    for shard, file in files.items():
        found = [p.decode() for p in file["probes"][:]]
        if prompts and found != prompts:
            raise AtlasError(f"{shard}: its probes are not those of the other shards.")
        prompts = found
    return prompts


def _places(files: Mapping[Path, Any], group: str) -> dict[str, list[Path]]:
    """Name of each base or model -> shards that have it."""
    found: dict[str, list[Path]] = {}
    for shard, file in files.items():
        for name in file.get(group, {}):
            found.setdefault(name, []).append(shard)
    return found


def _copy_chunk(source: Any, target: Any, name: str) -> None:
    """Copy a dataset of one chunk as it is stored: compressing it again would take far longer."""
    stored = source[name]
    made = target.create_dataset(
        name, shape=stored.shape, dtype=stored.dtype, chunks=stored.shape, compression="gzip",
        shuffle=True, track_times=False,
    )  # fmt: skip
    start = (0,) * stored.ndim
    filters, data = stored.id.read_direct_chunk(start)
    made.id.write_direct_chunk(start, data, filters)
