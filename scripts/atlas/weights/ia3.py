"""IA3 (arXiv 2205.05638): dW = (l - 1) * W, by output rows, or by input columns where feed-forward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from atlas.guarded_patterns import matches
from atlas.weights.adapted_module import AdaptedModule, Turn


@dataclass(frozen=True)
class Ia3Module(AdaptedModule):
    """One scaled module: ``l`` is (out, 1), or (1, in) where the module is feed-forward."""

    l: torch.Tensor  # noqa: E741 - the paper's letter
    feedforward: bool

    NAME: ClassVar[str] = "IA3"
    PART: ClassVar[str] = r"ia3_(l)(?:\.default)?"
    NEEDS_WEIGHT: ClassVar[bool] = True
    SETTINGS: ClassVar[frozenset[str]] = frozenset({"feedforward_modules", "init_ia3_weights"})

    @classmethod
    def by_module(
        cls, config: Mapping[str, Any], modules: Sequence[str], where: str
    ) -> Mapping[str, Mapping[str, Any]]:
        """Whether each is feed-forward: the configuration has names, or a pattern."""
        forward = config.get("feedforward_modules") or []
        if isinstance(forward, str):
            (found,) = matches([(forward, modules)], where)
        else:
            found = {m for m in modules if any(m == f or m.endswith(f".{f}") for f in forward)}
        return {module: {"feedforward": module in found} for module in modules}

    @classmethod
    def read(
        cls, name: str, parts: Mapping[str, torch.Tensor], own: Mapping[str, Any], where: str
    ) -> "Ia3Module":
        """One module."""
        return cls(parts["l"], own["feedforward"])

    def misfit(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The number of elements of ``l``, where it is not that of rows, or columns."""
        fits = len(shape) == 2 and self.l.numel() == shape[1 if self.feedforward else 0]
        return None if fits else (self.l.numel(),)

    def delta(self, weight: torch.Tensor | None) -> torch.Tensor:
        """(l - 1) * W."""
        assert weight is not None
        scaled = self.l.reshape(1, -1) if self.feedforward else self.l.reshape(-1, 1)
        return (scaled - 1.0) * weight.float()

    def rows(self, first: int, after: int) -> "Ia3Module":
        """The factors of these rows; all factors where they are of columns."""
        if self.feedforward:
            return self
        return Ia3Module(self.l.reshape(-1, 1)[first:after], feedforward=False)

    def attach(self, module: torch.nn.Module) -> Any:
        """Scale what the module gives, or what it takes where it is feed-forward."""
        return self._attach(module, lambda values: values * self.l.reshape(-1), self.feedforward)

    @classmethod
    def attach_all(
        cls, module: torch.nn.Module, parts: Sequence["Ia3Module | None"], turn: Turn
    ) -> Sequence[Any]:
        """Scale each nth of the rows by factors of its own."""
        handles = []
        for feedforward in (True, False):
            own = [p if p is not None and p.feedforward == feedforward else None for p in parts]
            kept = [part.l.reshape(-1) for part in own if part is not None]
            if kept:
                ones = torch.ones_like(kept[0])
                factors = [ones if part is None else part.l.reshape(-1) for part in own]
                scale = _scaler(torch.stack(factors)[:, None], turn)
                handles.append(cls._attach(module, scale, feedforward))
        return handles

    @staticmethod
    def _attach(
        module: torch.nn.Module, scale: Callable[[torch.Tensor], torch.Tensor], feedforward: bool
    ) -> Any:
        def scale_input(_: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return (scale(inputs[0]), *inputs[1:])

        def scale_output(_: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            return scale(output)

        if feedforward:
            return module.register_forward_pre_hook(scale_input)
        return module.register_forward_hook(scale_output)


def _scaler(factors: torch.Tensor, turn: Turn) -> Callable[[torch.Tensor], torch.Tensor]:
    """Multiplies by factors (n, 1, width), each for an nth of the rows, or by one's."""

    def scale(values: torch.Tensor) -> torch.Tensor:
        if turn.only is not None:
            return values * factors[turn.only, 0]
        rows = values.reshape(len(factors), -1, values.shape[-1])
        return (rows * factors).reshape(values.shape)

    return scale
