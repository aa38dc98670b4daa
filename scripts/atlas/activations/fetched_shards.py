"""Shards of adapters made elsewhere: fetched, hashed, checked; where they are not kept, embedded and deleted.

An adapter that cannot be used is no failure of its shard: it is a row of the shard's report, with the
reason. What is no fault of the adapter (the hub is away, the disk is full) stops the job.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from atlas.activations.activation_files import Array, write_activations
from atlas.activations.last_tokens import Probe
from atlas.activations.probes import read_probes
from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import by_folder, by_name, read_json, write_csv
from atlas.networks.swap import adapter_applied, load_base
from atlas.prefetch import worked_ahead
from atlas.progress import Progress
from atlas.sources import hub
from atlas.sources.fetched_models import bring, pinned
from atlas.weights.adapters import Adapter, check_base, check_fits, load_adapter
from atlas.weights.tensors import Weights

REPORT_COLUMNS = ("model", "base", "commit", "sha256", "bytes", "reason")
FILES = ("adapter_config.json", "adapter_model.safetensors")
# Adapters that are fetched while others are embedded: at once, and on this machine at a time.
THREADS, AHEAD = 4, 8


@dataclass(frozen=True)
class Fetched:
    """An adapter on this machine.

    :param digests: file name -> SHA-256 and size in bytes.
    """

    folder: Path
    commit: str
    digests: dict[str, tuple[str, int]]


def compute_fetched_shard(
    *,
    probes: Path,
    bases: list[Path],
    models: list[dict[str, Any]],
    dtypes: dict[str, str],
    base_names: dict[str, list[str]],
    cache: str,
    gone: dict[str, tuple[str, int]],
    activations: Path,
    report: Path,
) -> None:
    """Activations of the adapters of one shard, of which nothing else is kept, and of their bases.

    :param bases: files of all bases. :param dtypes: base -> precision.
    :param models: name, base and source (hub: repo, revision; or local) of each adapter.
    :param cache: beside which adapters stand for a moment.
    :param gone: takes path -> SHA-256 and bytes of the files that were embedded and deleted.
    :param report: a row per adapter: its commit, digest and size, or why it has no activations.
    :raises AtlasError: where the hub cannot be reached.
    """
    prompts = read_probes(probes)
    progress = Progress(len(models), "adapter")
    found_bases: dict[str, Array] = {}
    found: dict[str, Array] = {}
    rows: list[dict[str, Any]] = []
    for base, files in sorted(by_folder(bases).items()):
        folder = files[0].parent
        network = load_base(folder, dtypes[base], seq2seq=True)
        probe = Probe(folder, prompts, network)
        found_bases[base] = probe.last_token(network, base)
        record = read_json(folder / "base.json")
        mine = sorted((m for m in models if m["base"] == base), key=lambda m: m["name"])
        with (
            hub.beside(cache) as scratch,
            _coming(mine, Path(scratch), None) as coming,
        ):
            for model, future in coming:
                name = model["name"]
                with _reported(model, Path(scratch), rows) as row:
                    fetched, adapter = _usable(row, future, record, base_names[base])
                    with adapter_applied(network, adapter):
                        found[name] = probe.last_token(network, name)
                    for file, told in fetched.digests.items():
                        gone[f"results/models/{name}/{file}"] = told
                progress.step(name)
        del network
    write_activations(activations, prompts, found_bases, found)
    _write_report(report, rows)


def check_shard(
    *,
    bases: list[Path],
    models: list[dict[str, Any]],
    base_names: dict[str, list[str]],
    cache: str,
    report: Path,
) -> None:
    """The same report of adapters that are kept, without activations: which of a shard can be used.

    :param bases: records and weights of all bases. :param cache: where what a hub sends stays.
    :param models, base_names, report: as of :func:`compute_fetched_shard`.
    :raises AtlasError: where the hub cannot be reached.
    """
    progress = Progress(len(models), "adapter")
    rows: list[dict[str, Any]] = []
    for base, files in sorted(by_folder(bases).items()):
        record = read_json(by_name(files)["base.json"])
        weights = Weights(files)
        shapes = {name: weights.shape(name) for name in weights}
        mine = sorted((m for m in models if m["base"] == base), key=lambda m: m["name"])
        with (
            hub.beside(cache) as scratch,
            _coming(mine, Path(scratch), Path(cache)) as coming,
        ):
            for model, future in coming:
                with _reported(model, Path(scratch), rows) as row:
                    _, adapter = _usable(row, future, record, base_names[base])
                    check_fits(adapter, shapes)
                progress.step(model["name"])
    _write_report(report, rows)


@contextlib.contextmanager
def _reported(
    model: Mapping[str, Any], scratch: Path, rows: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The row of an adapter, which gets the reason where it cannot be used; its files go."""
    row = dict.fromkeys(REPORT_COLUMNS) | {
        "model": model["name"],
        "base": model["base"],
        "reason": "",
    }
    rows.append(row)
    try:
        yield row
    except (hub.UnreachableError, OSError):
        raise
    except AtlasError as error:
        row["reason"] = str(error).replace(f"{scratch}/", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        row["reason"] = f"the adapter is damaged ({type(error).__name__}: {error})"
    shutil.rmtree(scratch / model["name"], ignore_errors=True)


def _usable(
    row: dict[str, Any], future: Future[Fetched], record: Mapping[str, Any], names: list[str]
) -> tuple[Fetched, Adapter]:
    """A fetched adapter, read and found to be of its base; its row tells what was fetched."""
    fetched = future.result()
    weights, size = fetched.digests[FILES[1]]
    row |= {"commit": fetched.commit, "sha256": weights, "bytes": size}
    adapter = load_adapter([fetched.folder / file for file in FILES])
    check_base(adapter, record, names)
    return fetched, adapter


def _write_report(report: Path, rows: list[dict[str, Any]]) -> None:
    write_csv(report, REPORT_COLUMNS, sorted(rows, key=lambda row: row["model"]))


def _coming(
    models: Iterable[dict[str, Any]], scratch: Path, cache: Path | None
) -> contextlib.closing[Generator[tuple[dict[str, Any], Future[Fetched]], None, None]]:
    """Models in their order, each with what fetches it; the next ones are on their way."""
    fetch = partial(_fetch, scratch=scratch, cache=cache)
    return contextlib.closing(worked_ahead(fetch, models, threads=THREADS, at_most=AHEAD))


def _fetch(model: dict[str, Any], scratch: Path, cache: Path | None) -> Fetched:
    """Bring an adapter into a folder of its own, and hash it.

    :param cache: where what a hub sends stays; None: it goes with the folder.
    """
    folder = scratch / model["name"]
    folder.mkdir()
    source, commit = pinned(model["source"])
    bring(source, cache or folder / "cache", folder, list(FILES))
    digests = {f: (sha256_file(folder / f), (folder / f).stat().st_size) for f in FILES}
    return Fetched(folder, commit, digests)
