"""Whether a model was trained from the base of a delta: by what it records, else by its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from atlas.deltas.blocks import refuse_shapes, square_sum
from atlas.errors import AtlasError
from atlas.weights.adapters import Adapter
from atlas.weights.base_names import check_base, is_name, recorded_name
from atlas.weights.row_blocks import Buffers, Digests, WeightStream
from atlas.weights.tensor_kinds import kind

# |model - base| / |base| over all matrices. Fine-tuning moves weights by some hundredths, long
# continued pre-training by some tenths; two models trained apart are 1.4 away from each other.
RELATED = 0.5


def recorded_origin(
    what: str,
    model: Adapter | dict[str, str],
    record: dict[str, Any],
    base_names: Sequence[str],
    meta: dict[str, Any],
) -> bool:
    """Whether a model records that it was trained from the base of a delta, or nothing.

    :param what: how messages call the model.
    :param model: the adapter, or what the files of a full model record.
    :param record: base.json of the base that the model was trained from, which an adapter may
        record under `base_names`. :param meta: what delta_meta.json says of the delta.
    :raises AtlasError: where it records another base.
    """
    wanted, own = meta["base"]["weights_sha256"], record["weights_sha256"]
    belongs = wanted in (own, record.get("origin", {}).get("base_sha256"))
    if isinstance(model, Adapter):
        check_base(model, record, base_names)
        recorded = own
        says = bool(model.metadata.get("base_sha256"))
        says = says or is_name(recorded_name(model.config.get("base_model_name_or_path")))
    else:
        recorded = model.get("base_sha256", wanted)
        says = "base_sha256" in model
        belongs = recorded == wanted or (recorded == own and belongs)
    if not belongs:
        raise AtlasError(
            f"{what}: was trained from a base with the digest {recorded[:12]}…, and the delta "
            f"{meta['name']} is of {meta['base']['name']} ({wanted[:12]}…); make a delta of its "
            "own base."
        )
    return says


def judge_origin(what: str, distance: Distance | None, meta: dict[str, Any], force: bool) -> str:
    """Whether a model that records no base may have the delta, once its weights were read.

    :param distance: from the base of the delta; None of an adapter.
    :returns: a warning for the card, or nothing.
    :raises AtlasError: for a model that is too far from the base of the delta, without force.
    """
    reason = "it is an adapter, whose weights say nothing of their base"
    if distance is not None:
        found = distance.finish(meta)
        if found <= RELATED:
            return ""
        reason = (
            f"its weights are {found:.2f} of their norm away from those of the base (a "
            f"model trained from it is at most {RELATED} away)"
        )
    if not force:
        raise AtlasError(
            f"{what}: records no base, and {reason}; apply the delta {meta['name']} to a model of "
            "its own base, or set force if you know that this is one."
        )
    return (
        f"Warning: this model records no base, and {reason}; the delta was applied because "
        "force is set."
    )


class Distance:
    """|model - base| / |base| over all matrices of a model whose blocks pass by."""

    def __init__(self, base: Sequence[Path], meta: dict[str, Any], digests: Digests | None) -> None:
        self.base = WeightStream(base, str(meta["base"]["name"]), digests)
        self._buffers = Buffers()
        self._moved = self._norm = 0.0

    def check(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Refuse a base that does not have the tensors of the delta.

        :raises AtlasError: naming the tensor.
        """
        for name, shape in shapes.items():
            if name not in self.base.tensors:
                raise AtlasError(
                    f"{self.base.what}: has no tensor {name}; it is not the delta's base."
                )
            refuse_shapes(name, shape, "the delta", self.base.tensors[name].shape, self.base.what)

    def add(self, name: str, first: int, after: int, model: torch.Tensor) -> None:
        """Take in rows of the model, (rows, columns) float32."""
        stored = self.base.rows(name, first, after)
        if kind(name, self.base.tensors[name].shape) in ("norm", "bias"):
            return
        begin = self._buffers.single("begin", stored)
        self._norm += square_sum(begin)
        self._moved += square_sum(begin.sub_(model))

    def finish(self, meta: dict[str, Any]) -> float:
        """The distance, once all of the model was taken in.

        :raises AtlasError: where the base is not that of the delta.
        """
        if self.base.digest() != meta["base"]["weights_sha256"]:
            raise AtlasError(
                f"{self.base.what}: is not the base that the delta {meta['name']} was made of; "
                "give that base, or make the delta again."
            )
        return math.sqrt(self._moved / self._norm) if self._norm else 0.0
