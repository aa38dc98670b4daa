"""An adapter whose tensors are read one module at a time, for what holds no whole model in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from atlas.files import read_json
from atlas.weights.adapted_module import AdaptedModule
from atlas.weights.adapters import adapter_files, adapter_from
from atlas.weights.row_blocks import Digests, WeightStream
from atlas.weights.tensors import check_finite


class AdapterStream:
    """An adapter whose tensors are read one module at a time.

    :raises AtlasError: for tensors that do not fit its configuration, before any is read.
    """

    def __init__(self, files: Sequence[Path], digests: Digests | None) -> None:
        named = adapter_files(files)
        config = read_json(named["adapter_config.json"])
        self.stream = WeightStream(
            [named["adapter_model.safetensors"]], files[0].parent.name, digests
        )
        shapes = {name: torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
                  for name, tensor in self.stream.tensors.items()}  # fmt: skip
        try:
            self.adapter = adapter_from(self.stream.what, config, shapes, self.stream.metadata)
        except BaseException:
            self.stream.__exit__()
            raise
        self._tensors: dict[str, list[str]] = {}
        for name in self.stream.tensors:
            if place := self.adapter.family.split(name):
                self._tensors.setdefault(place[0], []).append(name)

    def module(self, name: str) -> AdaptedModule | None:
        """One adapted module with its tensors, float32; None where the adapter has none.

        :raises AtlasError: for NaN or Inf.
        """
        if name not in self.adapter.modules:
            return None
        parts = {n: self.stream.whole(n) for n in self._tensors[name]}
        check_finite(parts, self.stream.what)
        return adapter_from(self.stream.what, self.adapter.config, parts, {}).modules[name]
