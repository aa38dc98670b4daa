"""LoRA (arXiv 2106.09685): dW = scale * B A, scale = alpha / r, or alpha / sqrt(r) for rsLoRA."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from atlas.errors import AtlasError
from atlas.weights.adapted_module import AdaptedModule


@dataclass(frozen=True)
class LoraModule(AdaptedModule):
    """One adapted matrix: ``a`` (r, in), ``b`` (out, r), float32.

    Side by side: ``a`` (n, r, in), ``b`` (n, out, r), each for an nth of the rows of a batch.
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    NAME: ClassVar[str] = "LoRA"
    PART: ClassVar[str] = r"lora_([AB])(?:\.default)?\.weight"
    NEEDS_WEIGHT: ClassVar[bool] = False
    SETTINGS: ClassVar[frozenset[str]] = frozenset(
        {
            "alpha_pattern",
            "eva_config",
            "lora_alpha",
            "lora_dropout",
            "r",
            "rank_pattern",
            "use_rslora",
        }
    )

    @classmethod
    def read(
        cls, name: str, parts: Mapping[str, torch.Tensor], config: Mapping[str, Any], where: str
    ) -> "LoraModule":
        """One matrix; its rank is the one that the configuration says."""
        if set(parts) != {"A", "B"}:
            raise AtlasError(f"{where}: {name} has only one of lora_A and lora_B.")
        a, b = parts["A"], parts["B"]
        rank = a.shape[0]
        # Where they are not written down, PEFT takes these.
        expected = _pattern(config.get("rank_pattern"), name, config.get("r", 8))
        if b.shape[1] != rank or rank != expected:
            raise AtlasError(
                f"{where}: {name} has the rank {rank} (A) and {b.shape[1]} (B), and its "
                f"configuration says {expected}."
            )
        alpha = _pattern(config.get("alpha_pattern"), name, config.get("lora_alpha", 8))
        if not isinstance(alpha, int | float):
            raise AtlasError(
                f"{where}: its configuration says lora_alpha: {alpha}, which is no number."
            )
        return cls(a, b, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))

    def misfit(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape of B A, where it is another one."""
        found = self.b.shape[-2], self.a.shape[-1]
        return None if found == shape else found

    def delta(self, weight: torch.Tensor | None) -> torch.Tensor:
        """Scale * B A."""
        return (self.b @ self.a) * self.scale

    def rows(self, first: int, after: int) -> "LoraModule":
        """These rows of B."""
        return LoraModule(self.a, self.b[first:after], self.scale)

    def attach(self, module: torch.nn.Module) -> Any:
        """Add scale * B A x to what the module gives."""
        a, b, scale = self.a, self.b, self.scale
        linear = torch.nn.functional.linear

        def hook_of_all(
            _: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
        ) -> torch.Tensor:
            low = inputs[0].reshape(len(a), -1, a.shape[-1]) @ a.mT
            output.view(len(b), -1, output.shape[-1]).baddbmm_(low, b.mT, alpha=scale)
            return output

        def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            # In place: the output is new in each forward pass, and nobody else holds it.
            low = linear(inputs[0], a)
            flat = output.view(-1, output.shape[-1])
            flat.addmm_(low.view(-1, low.shape[-1]), b.t(), alpha=scale)
            return output

        return module.register_forward_hook(hook_of_all if a.dim() == 3 else hook)


def _pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return default
