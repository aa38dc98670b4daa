"""Shards of adapters made elsewhere: fetched, hashed, checked; where they are not kept, embedded and deleted.

An adapter that cannot be used is no failure of its shard: it is a row of the shard's report, with the
reason. What is no fault of the adapter (the hub is away, the disk is full) stops the job.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping
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
from atlas.prefetch import prefetched
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
    *, probes: Path, bases: list[Path], models: list[dict[str, Any]], dtypes: dict[str, str],
    base_names: dict[str, list[str]], cache: str, gone: dict[str, tuple[str, int]],
    activations: Path, report: Path
) -> None:  # fmt: skip
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
        use = partial(_embed, network, probe, found, gone)
        record = read_json(folder / "base.json")
        rows += _reported(models, record, base_names[base], Path(cache), False, progress, use)
        del network, use
    write_activations(activations, prompts, found_bases, found)
    write_csv(report, REPORT_COLUMNS, sorted(rows, key=lambda row: row["model"]))


def _embed(
    network: Any, probe: Probe, found: dict[str, Array], gone: dict[str, tuple[str, int]],
    fetched: Fetched, adapter: Adapter,
) -> None:  # fmt: skip
    with adapter_applied(network, adapter):
        found[fetched.folder.name] = probe.last_token(network, fetched.folder.name)
    for file, told in fetched.digests.items():
        gone[f"results/models/{fetched.folder.name}/{file}"] = told


def check_shard(
    *, bases: list[Path], models: list[dict[str, Any]], base_names: dict[str, list[str]],
    cache: str, report: Path
) -> None:  # fmt: skip
    """The same report of adapters that are kept, without activations: which of a shard can be used.

    :param bases: records and weights of all bases. :param cache: where what a hub sends stays.
    :param models, base_names, report: as of :func:`compute_fetched_shard`.
    :raises AtlasError: where the hub cannot be reached.
    """
    progress = Progress(len(models), "adapter")
    rows: list[dict[str, Any]] = []
    for base, files in sorted(by_folder(bases).items()):
        weights = Weights(files)
        shapes = {name: weights.shape(name) for name in weights}
        record = read_json(by_name(files)["base.json"])
        use = partial(_check, shapes)
        rows += _reported(models, record, base_names[base], Path(cache), True, progress, use)
    write_csv(report, REPORT_COLUMNS, sorted(rows, key=lambda row: row["model"]))


def _check(shapes: Mapping[str, tuple[int, ...]], _: Fetched, adapter: Adapter) -> None:
    check_fits(adapter, shapes)


def _reported(
    models: Iterable[dict[str, Any]], record: Mapping[str, Any], names: list[str], cache: Path,
    keep: bool, progress: Progress, use: Callable[[Fetched, Adapter], None],
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of the adapters of one base, each fetched, read and used; its files go.

    :param record, names: base.json of the base, and the names under which it may be recorded.
    :param keep: whether what a hub sends stays in the cache. :param use: it may refuse an adapter.
    """
    mine = sorted((m for m in models if m["base"] == record["name"]), key=lambda m: m["name"])
    rows = []
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(hub.beside(str(cache))))
        fetch = partial(_fetch, scratch=scratch, cache=cache if keep else None)
        coming = prefetched(fetch, mine, threads=THREADS, at_most=AHEAD)
        for model, future in stack.enter_context(contextlib.closing(coming)):
            row = dict.fromkeys(REPORT_COLUMNS) | {
                "model": model["name"], "base": model["base"], "reason": "",
            }  # fmt: skip
            rows.append(row)
            try:
                fetched = future.result()
                weights, size = fetched.digests[FILES[1]]
                row |= {"commit": fetched.commit, "sha256": weights, "bytes": size}
                adapter = load_adapter([fetched.folder / file for file in FILES])
                check_base(adapter, record, names)
                use(fetched, adapter)
            except (hub.UnreachableError, OSError):
                raise
            except AtlasError as error:
                row["reason"] = str(error).replace(f"{scratch}/", "")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                row["reason"] = f"the adapter is damaged ({type(error).__name__}: {error})"
            shutil.rmtree(scratch / model["name"], ignore_errors=True)
            progress.step(model["name"])
    return rows


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
