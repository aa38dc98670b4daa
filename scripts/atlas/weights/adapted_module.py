"""What every family of adapters has: one module of a base, as an adapter changes it.

A family is a file beside this one with a subclass of :class:`AdaptedModule`, and its place in
``FAMILIES`` of :mod:`atlas.weights.adapters`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch

from atlas.errors import AtlasError

PREFIX = "base_model.model."


@dataclass
class Turn:
    """Whose turn it is, of n adapters that are on one base: all, each in its rows, or one in all rows."""

    only: int | None = None


@dataclass(frozen=True)
class AdaptedModule(ABC):
    """One module of a base with the tensors, float32, that an adapter has for it."""

    # As people write it; PEFT's peft_type has the same letters.
    NAME: ClassVar[str]
    # Pattern of what follows a module in the name of a tensor; its group is the part of the module.
    PART: ClassVar[str]
    # Whether dW hangs on W.
    NEEDS_WEIGHT: ClassVar[bool]
    # Settings that it reads, of those that PEFT writes for its kind alone.
    SETTINGS: ClassVar[frozenset[str]]

    @classmethod
    def read_all(
        cls, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any], where: str
    ) -> dict[str, Self]:
        """All modules of an adapter, by their names in the base.

        :param weights: as PEFT names them.
        :raises AtlasError: for tensors of another family, and those that do not fit the configuration.
        """
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name in weights:
            match = re.fullmatch(rf"{re.escape(PREFIX)}(.+)\.{cls.PART}", name)
            if match is None:
                article = "an" if cls.NAME[0] in "AEIOU" else "a"
                raise AtlasError(
                    f"{where}: the tensor {name} is not part of {article} {cls.NAME} adapter."
                )
            module = parts.setdefault(match[1], {})
            if match[2] in module:
                raise AtlasError(
                    f"{where}: the tensor {name} stands there twice, as of one adapter."
                )
            module[match[2]] = weights[name].float()
        if not parts:
            raise AtlasError(f"{where}: the adapter has no tensors.")
        own = cls.by_module(config, sorted(parts), where)
        return {name: cls.read(name, parts[name], own[name], where) for name in sorted(parts)}

    @classmethod
    def by_module(
        cls, config: Mapping[str, Any], modules: Sequence[str], where: str
    ) -> Mapping[str, Mapping[str, Any]]:
        """What the configuration says of each module: all of it, where it has no patterns of modules.

        :raises AtlasError: where a pattern is none, or never ends.
        """
        return dict.fromkeys(modules, config)

    @classmethod
    @abstractmethod
    def read(
        cls, name: str, parts: Mapping[str, torch.Tensor], own: Mapping[str, Any], where: str
    ) -> Self:
        """One module.

        :param parts: part, as ``PART`` finds it -> tensor. :param own: of :meth:`by_module`.
        :raises AtlasError: where a part is missing, or is not what the configuration says.
        """

    @abstractmethod
    def misfit(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape that it is made for, as far as it shows, where it cannot change one of `shape`."""

    @abstractmethod
    def delta(self, weight: torch.Tensor | None) -> torch.Tensor:
        """DW, float32 (out, in).

        :param weight: W; None will do where ``NEEDS_WEIGHT`` is false.
        """

    @abstractmethod
    def rows(self, first: int, after: int) -> Self:
        """The part that changes these rows of the matrix."""

    @abstractmethod
    def attach(self, module: torch.nn.Module) -> Any:
        """Let a module of a network compute as PEFT computes it.

        The tensors are on the device and in the dtype of the module's weight.

        :returns: a handle, whose ``remove`` undoes it.
        """

    @classmethod
    def attach_all(
        cls, module: torch.nn.Module, parts: Sequence[Self | None], turn: Turn
    ) -> Sequence[Any]:
        """Let a module compute as the first of n in the first nth of the rows of a batch, and so on.

        While it is the turn of one only, it computes as :meth:`attach` has it, operation by operation.

        Only families that have it can be side by side.

        :param parts: as there; none where an adapter leaves the module as it is.
        :returns: handles, as there.
        """
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(v.nbytes for v in vars(self).values() if isinstance(v, torch.Tensor))

    def with_tensors(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """The same with each of its tensors changed, for instance moved."""
        tensors = {k: v for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return replace(self, **{key: change(value) for key, value in tensors.items()})
