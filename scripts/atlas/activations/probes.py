"""The five generic probe prompts (arXiv 2509.04442)."""

from pathlib import Path

from atlas.errors import AtlasError

TASK = "Please provide a response."
INPUT = "Input."


def read_probes(file: Path) -> list[str]:
    """Probe prompts from a file with one opening per line.

    :raises AtlasError: where the file has none.
    """
    openings = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    openings = [line for line in openings if line]
    if not openings:
        raise AtlasError(f"{file}: has no probe openings, one per line.")
    return [f"{o}\n\n### Instruction:\n{TASK} Input:{INPUT}\n\n### Response:" for o in openings]
