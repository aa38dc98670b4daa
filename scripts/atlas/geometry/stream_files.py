"""Residual streams as they are stored: one HDF5 file per model and task.

``/blocks.{i}.hook_resid_mid`` and ``/blocks.{i}.hook_resid_post`` (and ``hook_resid_pre`` where it is
asked for), named as TransformerLens names them, float16 or float32, and contiguous: compression would
save a seventh of the bytes, and take seven times as long to read. For the positions ``last_token``
and ``mean`` they are (n_prompts, d); for ``all`` (n_tokens, d), and prompt i has the rows
``offsets[i]`` to ``offsets[i + 1]``.
Beside them: ``/prompts`` (n_prompts,) text, ``/tokens`` (n_prompts,) int64, the length of each
prompt, and ``/offsets`` (n_prompts + 1,) int64. The attribute ``positions`` says which it is.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from atlas.activations.activation_files import opened
from atlas.errors import AtlasError

Array = np.ndarray[Any, Any]
POSITIONS = ("last_token", "mean", "all")
# In the order of the computation. The first of a block is the last of the block before, or the
# embeddings: it is read where it is asked for.
STREAMS = ("resid_pre", "resid_mid", "resid_post")
USUAL = ("resid_mid", "resid_post")
STREAM = "resid_post"  # of this the table and the figures are
# What goes into the first block: of the last token it may be the same for all prompts, which often
# end alike, and nothing was computed yet.
EMBEDDINGS = "blocks.0.hook_resid_pre"
_HOOK = re.compile(rf"blocks\.(\d+)\.hook_({'|'.join(STREAMS)})")


def hook_name(layer: int, stream: str) -> str:
    """The name that TransformerLens gives: ``blocks.3.hook_resid_mid``."""
    return f"blocks.{layer}.hook_{stream}"


def hook_names(layers: int, wanted: Collection[str] = USUAL) -> list[str]:
    """The hooks of a network with so many blocks, in the order of the computation.

    :param wanted: which of STREAMS, in any order.
    """
    chosen = [stream for stream in STREAMS if stream in wanted]
    return [hook_name(layer, stream) for layer in range(layers) for stream in chosen]


def hook_place(hook: str) -> tuple[int, str]:
    """Layer and stream of a hook; an AtlasError where it is no such name."""
    found = _HOOK.fullmatch(hook)
    if not found:
        raise AtlasError(f"{hook}: not the name of a hook, as blocks.0.hook_resid_post is.")
    return int(found[1]), found[2]


def _order(hook: str) -> tuple[int, int]:
    layer, stream = hook_place(hook)
    return layer, STREAMS.index(stream)


def write_streams(
    path: Path,
    prompts: Sequence[str],
    tokens: Sequence[int],
    positions: str,
    arrays: Iterable[tuple[str, Array]],
) -> None:
    """Write such a file, an array at a time; equal arrays give equal bytes.

    :param tokens: length of each prompt. :param positions: one of POSITIONS.
    :param arrays: hook and array (rows, d), in the order of the computation.
    """
    counts = tokens if positions == "all" else [1] * len(tokens)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file.attrs["positions"] = positions
        text = h5py.string_dtype("utf-8")
        file.create_dataset("prompts", data=list(prompts), dtype=text, track_times=False)
        for name, numbers in (("tokens", tokens), ("offsets", np.cumsum([0, *counts]))):
            values = np.asarray(numbers, dtype=np.int64)
            file.create_dataset(name, data=values, track_times=False)
        for hook, array in arrays:
            file.create_dataset(hook, data=array, track_times=False)


class StreamFile:
    """Such a file, open for reading; an array is read when asked for.

    :raises AtlasError: where the file is damaged or has no hooks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = opened(path)
        names = [name for name in self._file if _HOOK.fullmatch(name)]
        if not names:
            self._file.close()
            raise AtlasError(f"{path}: has no residual streams (blocks.0.hook_resid_post …).")
        self.hooks = sorted(names, key=_order)
        self.rows, self.dimensions = self._file[self.hooks[0]].shape
        self.positions = str(self._file.attrs["positions"])

    def __enter__(self) -> "StreamFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def prompts(self) -> list[str]:
        """The prompts, in the order of the rows."""
        return [prompt.decode() for prompt in self._file["prompts"][:]]

    @property
    def tokens(self) -> Array:
        """The length of each prompt, (n_prompts,) int64."""
        return np.asarray(self._file["tokens"][:])

    def last(self, hook: str) -> Array:
        """The array of a hook, a row per prompt: where all tokens are stored, of the last one."""
        rows = self.read(hook)
        return rows[self._file["offsets"][1:] - 1] if self.positions == "all" else rows

    def read(self, hook: str) -> Array:
        """The array of a hook, as stored.

        :raises AtlasError: where the hook is missing or its data are damaged.
        """
        if hook not in self._file:
            raise AtlasError(f"{self.path}: {hook} is missing.")
        try:
            return np.asarray(self._file[hook][:])
        except OSError as error:
            raise AtlasError(f"{self.path}: {hook} is damaged ({error}).") from None

    def check_same(self, other: "StreamFile") -> None:
        """Refuse a file that cannot be compared row by row with this one.

        :raises AtlasError: where prompts, positions, hooks or widths differ.
        """
        for what in ("positions", "hooks", "rows", "dimensions", "prompts"):
            if getattr(self, what) != getattr(other, what):
                raise AtlasError(
                    f"{other.path}: its {what} are not those of {self.path}; both have to be "
                    "extracted from the same prompts and architecture."
                )
