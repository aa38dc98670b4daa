"""DW of one tensor of a base: two factors where it is of low rank, else read when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from atlas.weights.lora import LoraModule


@dataclass(frozen=True)
class LowRank:
    """scale * B A of LoRA, which is not formed unless it is asked for."""

    module: LoraModule
    is_vector = False

    @property
    def values(self) -> torch.Tensor:
        """DW, float32 (out, in)."""
        return self.module.delta(None)

    def of(self, inputs: torch.Tensor, *, transposed: bool = False) -> torch.Tensor:
        """What it adds to the output of its module, (…, out), for inputs (…, in)."""
        return (inputs @ self.module.a.mT) @ self.module.b.mT * self.module.scale


@dataclass(frozen=True)
class Dense:
    """A change of any rank.

    :param shape: of the tensor in the base; of a vocabulary that grew or shrank, of what both have.
    :param read: gives DW, float32. :param held: whether that is in memory already.
    """

    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]
    held: bool = False

    @property
    def is_vector(self) -> bool:
        """Whether it is no matrix, for instance a bias."""
        return len(self.shape) == 1

    @property
    def values(self) -> torch.Tensor:
        """DW, float32."""
        return self.read()

    def of(self, inputs: torch.Tensor, *, transposed: bool = False) -> torch.Tensor:
        """What it adds to the output of its module, (…, out), for inputs (…, in).

        :param transposed: whether the base stores the matrix as (in, out).
        """
        return inputs @ (self.values if transposed else self.values.mT)


Change = LowRank | Dense
