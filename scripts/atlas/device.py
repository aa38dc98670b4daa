"""Where numeric work runs: one place that decides, the same code on CPU and GPU."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.errors import AtlasError

if TYPE_CHECKING:
    import torch

FLASH = "flash_attention_2"
_attentions: set[str] = set()  # of the networks that this process has loaded


def gpu_visible() -> bool:
    """Whether this machine shows an NVIDIA GPU to this process; torch is not needed to ask."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*"))


def choose() -> torch.device:
    """The device of this job, from the configuration's `device` (auto, cpu, cuda).

    :raises AtlasError: where cuda was asked for and torch has none.
    """
    import torch

    wanted = os.environ.get("DELTA_ATLAS_DEVICE", "auto")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise AtlasError(
            "device is cuda, and torch sees no GPU; set device to auto, or install a CUDA build."
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def prepare(seed: int = 0) -> torch.device:
    """Set torch up for a job that gives the same bytes each time, and return its device."""
    import torch

    set_threads()
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Every new tensor would be filled with NaN first, which costs time and finds nothing here.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.manual_seed(seed)
    return choose()


def set_threads() -> None:
    """Give torch the threads that the rule was given: results do not depend on --cores."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def attention(dtype: str, device: torch.device) -> str | None:
    """How a network is to compute attention, from the configuration's `attention`.

    :param dtype: precision in which its weights are loaded.
    :returns: the name that transformers has for it; None: what transformers chooses.
    :raises AtlasError: where flash attention was asked for and cannot be had.
    """
    wanted = os.environ.get("DELTA_ATLAS_ATTENTION", "auto")
    if wanted == FLASH:
        if device.type != "cuda":
            raise AtlasError(
                f"attention is {wanted}, and the job runs on a CPU; set attention to auto, or run "
                "it on a GPU."
            )
        if dtype == "float32":
            raise AtlasError(
                f"attention is {wanted}, which has no float32, in which the base is loaded; set "
                "attention to auto, or the dtype of the base to bfloat16."
            )
        if find_spec("flash_attn") is None:
            raise AtlasError(
                f"attention is {wanted}, and flash-attn is not installed; set attention to auto, "
                "or install it (pip install flash-attn)."
            )
    return None if wanted == "auto" else wanted


def note_attention(name: str) -> None:
    """Remember how a network that was loaded computes attention."""
    _attentions.add(name)


def attention_used() -> str | None:
    """How the networks of this process compute attention; None where none was loaded."""
    return ", ".join(sorted(_attentions)) or None


def describe() -> str:
    """The device in words."""
    import torch

    return torch.cuda.get_device_name() if choose().type == "cuda" else "cpu"
