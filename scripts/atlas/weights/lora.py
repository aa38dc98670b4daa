"""LoRA (arXiv 2106.09685): dW = scale * B A, scale = alpha / r, or alpha / sqrt(r) for rsLoRA."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from atlas.errors import AtlasError
from atlas.guarded_patterns import valued
from atlas.weights.adapted_module import AdaptedModule, Turn


@dataclass(frozen=True)
class LoraModule(AdaptedModule):
    """One adapted matrix: ``a`` (r, in), ``b`` (out, r), float32."""

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
    def by_module(
        cls, config: Mapping[str, Any], modules: Sequence[str], where: str
    ) -> Mapping[str, Mapping[str, Any]]:
        """Rank and alpha of each, and whether the scale is that of rsLoRA."""
        # Where they are not written down, PEFT takes these.
        ranks = valued(config.get("rank_pattern"), modules, config.get("r", 8), where)
        alphas = valued(config.get("alpha_pattern"), modules, config.get("lora_alpha", 8), where)
        root = bool(config.get("use_rslora"))
        return {m: {"rank": ranks[m], "alpha": alphas[m], "root": root} for m in modules}

    @classmethod
    def read(
        cls, name: str, parts: Mapping[str, torch.Tensor], own: Mapping[str, Any], where: str
    ) -> "LoraModule":
        """One matrix; its rank is the one that the configuration says."""
        if set(parts) != {"A", "B"}:
            raise AtlasError(f"{where}: {name} has only one of lora_A and lora_B.")
        a, b = parts["A"], parts["B"]
        if a.dim() != 2 or b.dim() != 2:
            raise AtlasError(f"{where}: lora_A and lora_B of {name} are not both matrices.")
        rank = a.shape[0]
        if b.shape[1] != rank or rank != own["rank"]:
            raise AtlasError(
                f"{where}: {name} has the rank {rank} (A) and {b.shape[1]} (B), and its "
                f"configuration says {own['rank']}."
            )
        return cls(a, b, own["alpha"] / (math.sqrt(rank) if own["root"] else rank))

    def misfit(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape of B A, where it is another one."""
        found = self.b.shape[0], self.a.shape[1]
        return None if found == shape else found

    def delta(self, weight: torch.Tensor | None) -> torch.Tensor:
        """Scale * B A."""
        return (self.b @ self.a) * self.scale

    def rows(self, first: int, after: int) -> "LoraModule":
        """These rows of B."""
        return LoraModule(self.a, self.b[first:after], self.scale)

    def attach(self, module: torch.nn.Module) -> Any:
        """Add scale * B A x to what the module gives."""

        def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            return self._add(inputs[0], output)

        return module.register_forward_hook(hook)

    @classmethod
    def attach_all(
        cls, module: torch.nn.Module, parts: Sequence["LoraModule | None"], turn: Turn
    ) -> Sequence[Any]:
        """Add scale * B A x, with an A and a B for each nth of the rows: ranks are filled up with zeros."""
        kept = [part for part in parts if part is not None]
        rank, count = max(len(part.a) for part in kept), len(parts)
        a = kept[0].a.new_zeros(count, rank, kept[0].a.shape[1])
        b = kept[0].b.new_zeros(count, len(kept[0].b), rank)
        # Float32: a bfloat16 of alpha / sqrt(r) would be off in all rows alike.
        scales = torch.zeros(count, 1, 1, device=a.device)
        for i, part in enumerate(parts):
            if part is not None:
                a[i, : len(part.a)], b[i, :, : len(part.a)], scales[i] = part.a, part.b, part.scale

        def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            if turn.only is not None:
                part = parts[turn.only]
                return output if part is None else part._add(inputs[0], output)
            low = (inputs[0].reshape(count, -1, a.shape[-1]) @ a.mT * scales).to(a.dtype)
            output.view(count, -1, output.shape[-1]).baddbmm_(low, b.mT)
            return output

        return [module.register_forward_hook(hook)]

    def _add(self, given: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        # In place: the output is new in each forward pass, and nobody else holds it.
        low = torch.nn.functional.linear(given, self.a)
        flat = output.view(-1, output.shape[-1])
        flat.addmm_(low.view(-1, low.shape[-1]), self.b.t(), alpha=self.scale)
        return output
