"""SHA-256 of files and of weights."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb", buffering=0) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def weights_digest(files: Sequence[Path]) -> str:
    """One digest of a model's weights, whatever the number of its files.

    A single file has its own SHA-256; several have the SHA-256 of the lines
    ``digest  name`` in the order of their names (the index is not weights).
    """
    weights = sorted((f for f in files if f.suffix == ".safetensors"), key=lambda f: f.name)
    return joint_digest({file.name: sha256_file(file) for file in weights})


def joint_digest(digests: Mapping[str, str]) -> str:
    """The weights digest of files whose SHA-256 is known, by name."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
