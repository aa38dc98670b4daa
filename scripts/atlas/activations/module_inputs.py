"""What the linear modules of a base read on the probes, as far as it reaches its last hidden state.

One HDF5 file per base, from :mod:`atlas.activations.direct_paths`: under ``/writers/{module}`` the
tensors ``inputs``, ``scale`` and ``shares`` of a writer, under ``readers/{module}`` in it ``inputs``,
``rows``, ``columns``, ``groups`` and ``slopes`` of what it reads from; the attribute ``transposed`` of
each says how its weight is stored. A base whose paths are not known has the attribute ``reason``.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import torch

from atlas.activations.activation_files import opened
from atlas.activations.direct_paths import Reader, UnknownPathError, Writer, direct_paths
from atlas.activations.last_tokens import Probe
from atlas.activations.probes import read_probes
from atlas.networks.swap import load_base
from atlas.weights.tensors import check_finite


def record_inputs(*, probes: Path, base: list[Path], dtype: str, inputs: Path) -> None:
    """Run a base once on the probes, and write what its linear modules read.

    :param base: its files. :param dtype: the precision in which it computes.
    :raises AtlasError: where an input is NaN or Inf.
    """
    prompts = read_probes(probes)
    folder = base[0].parent
    network = load_base(folder, dtype, seq2seq=True)
    reason, writers = "", {}
    if network.config.is_encoder_decoder:
        reason = f"{folder.name} is a sequence-to-sequence model"
    else:
        try:
            writers = direct_paths(network, Probe(folder, prompts, network).inputs)
        except UnknownPathError as error:
            reason = f"the direct paths of {folder.name} are not known: {error}"
    write_inputs(inputs, reason, writers)


def write_inputs(path: Path, reason: str, writers: dict[str, Writer]) -> None:
    """Write the file of a base.

    :raises AtlasError: naming the module that reads NaN or Inf.
    """
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        if reason:
            file.attrs["reason"] = reason
        for name in sorted(writers):
            _write(file.create_group(f"writers/{name}"), writers[name], name)
            for key, reader in sorted(writers[name].readers.items()):
                _write(file.create_group(f"writers/{name}/readers/{key}"), reader, key)


def _write(group: Any, module: Writer | Reader, name: str) -> None:
    group.attrs["transposed"] = module.transposed
    for key, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            check_finite({key: value}, name)
            group.create_dataset(key, data=value.numpy(), track_times=False)


def read_inputs(path: Path) -> tuple[str, dict[str, Writer]]:
    """Why the paths of a base are not known, or nothing, and its writers.

    :raises AtlasError: where the file is damaged.
    """
    with opened(path) as file:
        writers = {}
        for name, group in file.get("writers", {}).items():
            readers = {
                key: Reader(**_read(g, Reader)) for key, g in group.get("readers", {}).items()
            }
            writers[name] = Writer(**_read(group, Writer), readers=readers)
        return str(file.attrs.get("reason", "")), writers


def _read(group: Any, kind: Any) -> dict[str, Any]:
    keys = [f.name for f in fields(kind) if f.name in group and f.name != "readers"]
    tensors = {key: torch.from_numpy(group[key][:]) for key in keys}
    return {**tensors, "transposed": bool(group.attrs["transposed"])}
