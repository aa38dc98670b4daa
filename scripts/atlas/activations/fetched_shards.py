"""Shards of models made elsewhere: fetched, hashed, checked; where they are not kept, embedded and deleted.

A model that cannot be used is no failure of its shard: it is a row of the shard's report, with the
reason. What is no fault of the model (the hub is away, the disk or the memory is full) stops the job.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from atlas.activations.activation_files import Array, kept_activations, write_activations
from atlas.activations.last_tokens import Probe
from atlas.activations.probes import read_probes
from atlas.digests import joint_digest, sha256_file
from atlas.errors import AtlasError
from atlas.files import by_folder, by_name, read_csv, read_json, write_csv
from atlas.kept import NOTHING, Kept
from atlas.networks.architectures import blank
from atlas.networks.shards import Model, applied, base_network, read_model
from atlas.prefetch import prefetched
from atlas.progress import Progress
from atlas.sources import hub
from atlas.sources.fetched_models import (
    ADAPTER,
    SETTINGS,
    bring_adapter,
    bring_full,
    fit,
    most_bytes,
    pinned,
    told_as,
)

REPORT_COLUMNS = ("model", "base", "commit", "sha256", "bytes", "reason")
# Models that are fetched while others are embedded: at once, and on this machine at a time.
THREADS, AHEAD = 4, 8


@dataclass(frozen=True)
class Fetched:
    """A model on this machine.

    :param digests: file name -> SHA-256 and size in bytes, of the files that it is loaded from.
    """

    folder: Path
    commit: str
    digests: dict[str, tuple[str, int]]

    @property
    def files(self) -> list[Path]:
        """Its files."""
        return [self.folder / name for name in self.digests]


def compute_fetched_shard(
    *, probes: Path, bases: list[Path], models: list[dict[str, Any]], dtypes: dict[str, str],
    base_names: dict[str, list[str]], cache: str, gone: dict[str, tuple[str, int]],
    activations: Path, report: Path, kept: Kept = NOTHING
) -> None:  # fmt: skip
    """Activations of the adapters of one shard, of which nothing else is kept, and of their bases.

    :param bases: files of all bases. :param dtypes: base -> precision.
    :param models: name, base and source (hub: repo, revision; or local) of each adapter.
    :param cache: beside which adapters stand for a moment.
    :param gone: takes path -> SHA-256 and bytes of the files that were embedded and deleted.
    :param kept: adapters that were embedded before, and are not fetched again.
    :param report: a row per adapter: its commit, digest and size, or why it has no activations.
    :raises AtlasError: where the hub cannot be reached.
    """
    prompts = read_probes(probes)
    kept, rows = _usable(kept)
    found = kept_activations(kept)
    gone |= kept.gone
    models = kept.others(models)
    progress = Progress(len(models), "adapter")
    needed = {model["base"] for model in models}
    for base, files in sorted(by_folder(bases).items()):
        if base not in needed:
            continue
        network = base_network(files[0].parent, dtypes[base], seq2seq=True)
        probe = Probe(files[0].parent, prompts, network)
        found["bases"][base] = probe.last_token(network, base)
        use = partial(_embed, network, probe, found["models"], gone)
        rows += _reported(
            models, files, base_names[base], Path(cache), False, progress, use, most_bytes(network)
        )
        del network, use
    write_activations(activations, prompts, **found)
    write_csv(report, REPORT_COLUMNS, sorted(rows, key=lambda row: row["model"]))


def _usable(kept: Kept) -> tuple[Kept, list[dict[str, Any]]]:
    """Those of the adapters that could be embedded, and their rows of the report."""
    if not kept.models:
        return kept, []
    rows = [row for row in read_csv(kept.files["report"]) if row["model"] in kept.models]
    kept = kept.without({row["model"] for row in rows if row["reason"]})
    return kept, [row for row in rows if row["model"] in kept.models]


def _embed(
    network: Any, probe: Probe, found: dict[str, Array], gone: dict[str, tuple[str, int]],
    fetched: Fetched, model: Model,
) -> None:  # fmt: skip
    with applied(network, model) as changed:
        found[fetched.folder.name] = probe.last_token(changed, fetched.folder.name)
    for file, told in fetched.digests.items():
        gone[f"results/models/{fetched.folder.name}/{file}"] = told


def check_shard(
    *, bases: list[Path], models: list[dict[str, Any]], base_names: dict[str, list[str]],
    cache: str, report: Path
) -> None:  # fmt: skip
    """The same report of models that are kept, without activations: which of a shard can be used.

    :param bases: records, configurations and tokenizers of all bases.
    :param models: name, base, source and whether it is an adapter, of each.
    :param cache: where what a hub sends stays. :param base_names, report: as of
        :func:`compute_fetched_shard`.
    :raises AtlasError: where the hub cannot be reached.
    """
    progress = Progress(len(models), "model")
    rows: list[dict[str, Any]] = []
    for base, files in sorted(by_folder(bases).items()):
        network = blank(files[0].parent)

        def use(_: Fetched, model: Model, network: Any = network) -> None:
            fit(network, model)

        rows += _reported(
            models, files, base_names[base], Path(cache), True, progress, use, most_bytes(network)
        )
    write_csv(report, REPORT_COLUMNS, sorted(rows, key=lambda row: row["model"]))


def _reported(
    models: Iterable[dict[str, Any]], base: Sequence[Path], names: list[str], cache: Path,
    keep: bool, progress: Progress, use: Callable[[Fetched, Model], None], most: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of the models of one base, each fetched, read and used; its files go.

    :param base, names: files of the base, and the names under which it may be recorded.
    :param keep: whether what a hub sends stays in the cache. :param use: it may refuse a model.
    """
    record = read_json(by_name(base)["base.json"])
    mine = sorted((m for m in models if m["base"] == record["name"]), key=lambda m: m["name"])
    rows = []
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(hub.beside(str(cache))))
        fetch = partial(
            _fetch, scratch=scratch, cache=cache if keep else None, base=base, most=most
        )
        coming = prefetched(fetch, mine, threads=THREADS, at_most=AHEAD)
        for model, future in stack.enter_context(contextlib.closing(coming)):
            row = dict.fromkeys(REPORT_COLUMNS) | {
                "model": model["name"], "base": model["base"], "reason": "",
            }  # fmt: skip
            rows.append(row)
            try:
                fetched = future.result()
                row |= _described(fetched)
                with told_as(model["source"], fetched.folder):
                    use(fetched, read_model(fetched.files, record, names))
            except (hub.UnreachableError, OSError, MemoryError, torch.OutOfMemoryError):
                raise
            except AtlasError as error:
                row["reason"] = str(error)
            shutil.rmtree(scratch / model["name"], ignore_errors=True)
            progress.step(model["name"])
    return rows


def _described(fetched: Fetched) -> dict[str, Any]:
    weights = {n: told for n, told in fetched.digests.items() if n.endswith(".safetensors")}
    digest = joint_digest({name: digest for name, (digest, _) in weights.items()})
    return {"commit": fetched.commit, "sha256": digest,
            "bytes": sum(size for _, size in weights.values())}  # fmt: skip


def _fetch(
    model: dict[str, Any], scratch: Path, cache: Path | None, base: Sequence[Path], most: int
) -> Fetched:
    """Bring a model into a folder of its own, and hash it.

    :param cache: where what a hub sends stays; None: it goes with the folder.
    :param most: bytes that one of its files may have.
    """
    folder = scratch / model["name"]
    source, commit = pinned(model["source"])
    names: Sequence[str] = ADAPTER
    with told_as(source, folder):
        if model.get("adapter", True):
            bring_adapter(source, cache or folder / "cache", folder, most)
        else:
            names = (
                *SETTINGS,
                *bring_full(source, cache or folder / "cache", folder, base, most)[1],
            )
    digests = {f: (sha256_file(folder / f), (folder / f).stat().st_size) for f in names}
    return Fetched(folder, commit, digests)
