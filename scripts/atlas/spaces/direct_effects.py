"""Direct effects: what the changed weights of a model add to the last hidden state of its base.

A space of ours, which no paper has. Delta activations are the total effect of a change: the model is run.
This is its direct effect: each changed matrix is applied to what the base's own matrix reads on the probes
at the last token, and what comes out goes to the last hidden state by the direct path
(:mod:`atlas.activations.direct_paths`). The base is run once and no model is; it is linear in dW.
Matrices that reach no writer of the residual stream (queries and keys, whose pattern is that of the base;
experts; embeddings) and the weights of norms add nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from atlas.activations.direct_paths import Reader, Writer
from atlas.activations.module_inputs import read_inputs
from atlas.files import by_folder
from atlas.kept import NOTHING, Kept
from atlas.networks.named_weights import NamedWeights, matrix_changes, unchanged
from atlas.progress import Progress
from atlas.spaces.space import Found, Nothing, kept_vectors, space, stacked
from atlas.weights.matrix_changes import Change

# Models that share a product with a matrix of the base. The product always has as many rows, so that a model
# has the same bits in any company.
BLOCK = 128
Tensor = torch.Tensor


@space
def embed(
    *, bases: list[Path], weights: list[Path], inputs: list[Path], models: list[dict[str, Any]],
    kept: Kept = NOTHING,
) -> Found:  # fmt: skip
    """The mean over probes of the direct effect, (n, d) float32.

    :param inputs: what :func:`atlas.activations.module_inputs.record_inputs` wrote of each base.
    :param kept: models that are embedded already.
    """
    files, base_files = by_folder(weights), by_folder(bases)
    rows = kept_vectors(kept)
    others = kept.others(models)
    for model in others:
        if reason := unchanged(files[model["name"]]):
            return Nothing(f"{model['name']}: {reason}")
    progress = Progress(len(others), "model")
    for base, recorded in by_folder(inputs).items():
        reason, writers = read_inputs(recorded[0])
        if reason:
            return Nothing(reason)
        effects = DirectEffects(writers, NamedWeights(base_files[base]))
        names = [model["name"] for model in others if model["base"] == base]
        found = effects.of([files[name] for name in names], names, progress)
        rows |= zip(names, found.numpy(), strict=True)
    for model in models:
        if not rows[model["name"]].any():
            return Nothing(
                f"{model['name']}: none of the matrices that it changes has a direct path to the "
                "last hidden state"
            )
    return stacked((rows[model["name"]] for model in models), len(models), "hidden states")


class DirectEffects:
    """A base on the probes, to which changes of its weights are applied.

    :param writers: of :func:`atlas.activations.direct_paths.direct_paths`.
    """

    def __init__(self, writers: Mapping[str, Writer], base: NamedWeights) -> None:
        self._writers, self._base = writers, base
        self._paths: dict[str, list[_Path]] = {}
        for name, writer in writers.items():
            # What stands before a product that is linear is averaged over the probes once.
            shares = writer.shares / len(writer.shares)
            inputs = shares @ writer.inputs
            self._add(name, _Write(name, writer.transposed, inputs, writer.scale, shares.sum()))
            for key, reader in writer.readers.items():
                self._add(key, _Move(name, reader, shares[:, None] * reader.slopes))

    def _add(self, module: str, path: "_Path") -> None:
        for part in ("weight", "bias"):
            self._paths.setdefault(f"{module}.{part}", []).append(path)

    @torch.inference_mode()
    def of(
        self, models: Sequence[Sequence[Path]], names: Sequence[str], progress: Progress
    ) -> Tensor:
        """Direct effects (n, d) float32 of models.

        :param models: files of each.
        """
        width = len(next(iter(self._writers.values())).scale)
        found = torch.zeros(len(models), width)
        for start in range(0, len(models), BLOCK):
            place = slice(start, start + BLOCK)
            some = self._block(models[place], names[place], progress, width)
            found[place] = some[: len(models[place])]
        return found

    def _block(
        self, models: Sequence[Sequence[Path]], names: Sequence[str], progress: Progress, width: int
    ) -> Tensor:
        found = torch.zeros(BLOCK, width)
        moved = {
            name: torch.zeros(BLOCK, writer.inputs.shape[1])
            for name, writer in self._writers.items() if writer.readers
        }  # fmt: skip
        for place, (files, model) in enumerate(zip(models, names, strict=True)):
            for tensor, change in matrix_changes(files, self._base, self._paths):
                for path in self._paths[tensor]:
                    into = found if isinstance(path, _Write) else moved[path.writer]
                    path.add(change, into[place])
            progress.step(model)
        for name, inputs in moved.items():
            if inputs.any():
                writer = self._writers[name]
                weight = self._base[f"{name}.weight"].float()
                found += inputs @ (weight if writer.transposed else weight.mT) * writer.scale
        return found


@dataclass(frozen=True)
class _Write:
    """From the output of a writer to the last hidden state.

    :param inputs: what the writer reads (in,), :param share: by how much its output is added, both as
        means over the probes.
    """

    writer: str
    transposed: bool
    inputs: Tensor
    scale: Tensor
    share: Tensor

    def add(self, change: Change, found: Tensor) -> None:
        """Add what a changed weight or bias writes to the last hidden state (d,)."""
        if change.is_vector:
            found += change.values * self.share * self.scale
        else:
            found += change.of(self.inputs, transposed=self.transposed) * self.scale


@dataclass(frozen=True)
class _Move:
    """From the output of a reader to the input of its writer.

    :param slopes: of the reader, times the share of each probe, (n_probes, edges).
    """

    writer: str
    reader: Reader
    slopes: Tensor

    def add(self, change: Change, moved: Tensor) -> None:
        """Add by how much a changed weight or bias moves the writer's input (in,), mean over probes."""
        reader = self.reader
        if change.is_vector:
            moves = change.values[reader.rows] * self.slopes.sum(dim=0)
        else:
            given = change.of(reader.inputs, transposed=reader.transposed)
            moves = (given[:, reader.groups, reader.rows] * self.slopes).sum(dim=0)
        moved.index_add_(0, reader.columns, moves)


_Path = _Write | _Move
