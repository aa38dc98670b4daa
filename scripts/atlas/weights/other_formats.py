"""Weights in formats that are not read, known by the names of their files; nothing is opened."""

import re
from collections.abc import Iterable

from atlas.files import PICKLES

# What else ends like them, as optimizer.pt, a trainer leaves beside the weights.
_PICKLED = re.compile(rf"(adapter_model|pytorch_model)[\w.-]*({'|'.join(map(re.escape, PICKLES))})")


def pickled_weights(present: Iterable[str]) -> list[str]:
    """Pickles that hold weights, of the names of files in a folder."""
    return sorted(name for name in present if _PICKLED.fullmatch(name))


def gguf_hint(present: Iterable[str]) -> str:
    """What to do with a GGUF file, as the end of a sentence; empty where there is none."""
    found = sorted(name for name in present if name.lower().endswith(".gguf"))
    if not found:
        return ""
    return (
        f"{found[0]} is GGUF, which is not read: convert it with AutoModelForCausalLM.from_pretrained("
        f'folder, gguf_file="{found[0]}").save_pretrained(…), and AutoTokenizer in the same way'
    )
