"""Networks that PEFT wraps, because an adapter acts before their modules do: virtual tokens, invocations."""

from __future__ import annotations

import sys
from typing import Any

from atlas.errors import AtlasError


def is_wrapped(network: Any) -> bool:
    """Whether a network is PEFT's own, around one of transformers."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(network, peft.PeftModel)


def virtual_tokens(network: Any) -> int:
    """Hidden states and logits of a network that stand before those of the first real token."""
    if not is_wrapped(network):
        return 0
    config = network.active_peft_config
    return config.num_virtual_tokens if _stands_before(config) else 0


def _stands_before(config: Any) -> bool:
    # A prefix is keys and values, which have neither.
    return bool(config.is_prompt_learning) and config.peft_type not in (
        "PREFIX_TUNING",
        "CARTRIDGE",
    )


def refuse_wrapped(network: Any, what: str) -> None:
    """Refuse such a network where the modules of transformers are asked by themselves.

    :param what: what cannot be read.
    """
    if is_wrapped(network):
        raise AtlasError(
            f"{network.active_peft_config.peft_type.value.lower()}: an adapter that acts before the "
            f"modules of its base has no {what} of its own; leave this model out."
        )
