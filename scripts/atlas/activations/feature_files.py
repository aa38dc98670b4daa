"""Features of bases and models on the probes, as they are stored, shard by shard.

One HDF5 file per shard: ``/probes`` and ``/continuations`` (text), ``/continuation_probes`` (the
probe of each continuation, from 0) and, under ``/bases/{base}`` and ``/models/{model}``, float32:

* ``layers`` (n_layers + 1, n_probes, d): hidden states at the last token, embeddings first;
* ``weighted`` (n_probes, d): position-weighted mean of the last layer over the tokens;
* ``logits`` (n_probes, vocabulary): next-token logits at the last token;
* ``meaning`` (n_continuations,): mean log-probability per token of each continuation, in nats.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from atlas.activations.activation_files import Array, opened
from atlas.errors import AtlasError
from atlas.kept import Kept

FEATURES = ("layers", "weighted", "logits", "meaning")
Write = Callable[[str, dict[str, Array]], None]


@contextlib.contextmanager
def feature_file(
    path: Path, prompts: Sequence[str], continuations: Sequence[dict[str, Any]]
) -> Iterator[Write]:
    """A file to write a base or a model to at a time: ``write("models/x", features)``.

    The bytes depend on what is written and in which order.

    :param continuations: rows with ``probe`` and ``text``, in the order of ``meaning``.
    """
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        text = h5py.string_dtype("utf-8")
        texts = {"probes": list(prompts), "continuations": [c["text"] for c in continuations]}
        for key, values in texts.items():
            file.create_dataset(key, data=values, dtype=text, track_times=False)
        of = np.array([c["probe"] for c in continuations], dtype=np.int64)
        file.create_dataset("continuation_probes", data=of, track_times=False)

        def write(place: str, features: dict[str, Array]) -> None:
            for key in FEATURES:
                array = features[key]
                # One layer, or the logits of one probe, is read at a time.
                rows = 1 if key in ("layers", "logits") else array.shape[0]
                file.create_dataset(
                    f"{place}/{key}", data=array, chunks=(rows, *array.shape[1:]),
                    compression="gzip", shuffle=True, track_times=False,
                )  # fmt: skip

        yield write


@contextlib.contextmanager
def kept_features(kept: Kept) -> Iterator[Callable[[str, str], dict[str, Array]]]:
    """What reads the features of a model that is kept, or of its base, by group and name."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened(kept.files["features"])) if kept.models else {}
        yield lambda group, name: {key: file[group][name][key][:] for key in FEATURES}


class FeatureShards:
    """The shards of a pool, open for reading; one array is in memory at a time, and its base.

    :raises AtlasError: where a file is damaged, or the shards are not of the same probes and
        continuations.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._bases: dict[str, list[Any]] = {}
        self._models: dict[str, Any] = {}
        self._known: tuple[Any, Array | None] = (None, None)

    def __enter__(self) -> "FeatureShards":
        with contextlib.ExitStack() as stack:
            first: Any = None
            for path in self._files:
                file = stack.enter_context(opened(path))
                first = first or file
                for key in ("probes", "continuations", "continuation_probes"):
                    if not np.array_equal(file[key][:], first[key][:]):
                        raise AtlasError(f"{path}: its {key} are not those of the other shards.")
                for name, group in file.get("bases", {}).items():
                    self._bases.setdefault(name, []).append(group)
                self._models |= dict(file.get("models", {}).items())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _model(self, name: str) -> Any:
        if name not in self._models:
            raise AtlasError(f"{name}: its features are missing from the pool.")
        return self._models[name]

    def _base(self, name: str, key: str, layer: int | None) -> Array:
        mark = (name, key, layer)
        if self._known[0] != mark:
            place = slice(None) if layer is None else layer
            arrays = [group[key][place] for group in self._bases[name]]
            for group, array in zip(self._bases[name], arrays, strict=True):
                if not np.array_equal(array, arrays[0]):
                    raise AtlasError(
                        f"{group.file.filename}: the base {name} differs from that of another shard."
                    )
            self._known = (mark, arrays[0])
        assert self._known[1] is not None
        return self._known[1]

    def shape(self, model: dict[str, Any], key: str) -> tuple[int, ...]:
        """Shape of a feature of a model."""
        return tuple(self._model(model["name"])[key].shape)

    def delta(
        self, model: dict[str, Any], key: str, layer: int | None = None
    ) -> np.ndarray[Any, Any]:
        """A feature of a model minus that of its base, float64.

        :param model: name and base. :param layer: which of ``layers``.
        :raises AtlasError: where the model is missing, or two shards disagree on its base.
        """
        found = self._model(model["name"])[key][slice(None) if layer is None else layer]
        base = self._base(model["base"], key, layer)
        return np.asarray(found.astype(np.float64) - base.astype(np.float64))
