"""The models of one shard in memory, one after another: each base is loaded once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas import device as devices
from atlas.adapters import check_base, load_adapter
from atlas.files import by_folder, read_json
from atlas.progress import Progress, say
from atlas.swap import adapter_applied, load_base, weights_applied
from atlas.tensors import Weights


@contextlib.contextmanager
def model_applied(
    network: Any, files: Sequence[Path], record: dict[str, Any], base_names: Sequence[str]
) -> Iterator[None]:
    """Within this context, the base in memory computes as a model: adapter or full weights.

    :param files: files of the model.
    :param record: the record of the base (base.json).
    :raises AtlasError: where the model is not one of this base.
    """
    names = {file.name for file in files}
    if "adapter_config.json" in names:
        adapter = load_adapter(files)
        check_base(adapter, record, base_names)
        with adapter_applied(network, adapter):
            yield
    else:
        weights = Weights([f for f in files if "safetensors" in f.name])
        with weights_applied(network, weights, files[0].parent.name):
            yield


@dataclass
class LoadedBase:
    """A base in memory, and the models of a shard that are trained from it.

    :param network: computes as the base, or as the model that :meth:`models` is at.
    """

    name: str
    folder: Path
    network: Any
    files: dict[str, list[Path]]
    recorded_names: Sequence[str]
    progress: Progress

    def models(self) -> Iterator[str]:
        """Names of its models, sorted; while one is current, the network computes as that model.

        :raises AtlasError: where a model is not one of this base.
        """
        record = read_json(self.folder / "base.json")
        for name in sorted(self.files):
            with model_applied(self.network, self.files[name], record, self.recorded_names):
                yield name
            self.progress.step(name)


def loaded_bases(
    bases: Sequence[Path],
    weights: Sequence[Path],
    models: Sequence[dict[str, Any]],
    dtypes: dict[str, str],
    base_names: dict[str, list[str]],
    *,
    seq2seq: bool = False,
) -> Iterator[LoadedBase]:
    """The bases of a shard, one in memory at a time.

    :param bases: files of all bases. :param weights: files of all models.
    :param models: name and base of each model, in any order.
    :param dtypes: base -> precision. :param base_names: base -> names that adapters may record.
    :param seq2seq: whether sequence-to-sequence bases may be among them.
    """
    device = devices.prepare()
    base_files, model_files = by_folder(bases), by_folder(weights)
    progress = Progress(len(models), "model")
    for base in sorted(base_files):
        folder = base_files[base][0].parent
        say(f"loads {base} on {device}")
        files = {m["name"]: model_files[m["name"]] for m in models if m["base"] == base}
        network = load_base(folder, dtypes[base], device, seq2seq=seq2seq)
        yield LoadedBase(base, folder, network, files, base_names[base], progress)
        del network
