"""DW of one tensor of a base: two factors where it is of low rank, else all of it."""

from dataclasses import dataclass

import torch

from atlas.weights.lora import LoraModule


@dataclass(frozen=True)
class LowRank:
    """scale * B A of LoRA, which is never formed unless it is asked for."""

    module: LoraModule
    is_vector = False

    @property
    def left(self) -> torch.Tensor:
        """Scale * B, (out, r)."""
        return self.module.b * self.module.scale

    @property
    def right(self) -> torch.Tensor:
        """A, (r, in)."""
        return self.module.a

    @property
    def values(self) -> torch.Tensor:
        """DW, float32 (out, in)."""
        return self.module.delta(None)

    def of(self, inputs: torch.Tensor, *, transposed: bool = False) -> torch.Tensor:
        """What it adds to the output of its module, (…, out), for inputs (…, in)."""
        return (inputs @ self.module.a.mT) @ self.module.b.mT * self.module.scale


@dataclass(frozen=True)
class Dense:
    """A change as a tensor of float32, shaped as the tensor of the base."""

    values: torch.Tensor

    @property
    def is_vector(self) -> bool:
        """Whether it is no matrix, for instance a bias."""
        return self.values.dim() == 1

    def of(self, inputs: torch.Tensor, *, transposed: bool = False) -> torch.Tensor:
        """What it adds to the output of its module, (…, out), for inputs (…, in).

        :param transposed: whether the base stores the matrix as (in, out).
        """
        return inputs @ (self.values if transposed else self.values.mT)


Change = LowRank | Dense
