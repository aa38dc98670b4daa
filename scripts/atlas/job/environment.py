"""The environment of a job: what the rule gives to the libraries that it calls."""

import os
from pathlib import Path
from typing import Any

from atlas import deployment

WORK = Path(".snakemake/atlas")
NETWORK = "network"  # param of a rule that may reach a network


def environment_of(snakemake: Any) -> dict[str, str]:
    """The variables that a job sees, made of those that this process sees and of its rule."""
    known = dict(os.environ)
    threads = str(max(1, snakemake.threads))
    found = known | {
        "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "FLASH_ATTENTION_DETERMINISTIC": "1",
        "DELTA_ATLAS_DEVICE": snakemake.config.get("device", "auto"),
        "DELTA_ATLAS_STREAM": snakemake.config.get("stream", "auto"),
        "DELTA_ATLAS_ATTENTION": snakemake.config.get("attention", "auto"),
    }  # fmt: skip
    if root := deployment.of_job(snakemake.config).root:
        found[deployment.ROOT] = root
    found.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # The caches of Hugging Face libraries belong to the workflow; a token stays where it was given.
    # Named from the working folder, so that jobs of any folder can start from one process.
    home = known.get("HF_HOME", str(Path.home() / ".cache" / "huggingface"))
    found.setdefault("HF_TOKEN_PATH", str(Path(home) / "token"))
    found.setdefault("HF_HOME", str(WORK / "huggingface"))
    if not snakemake.params.get(NETWORK):
        found["HF_HUB_OFFLINE"] = "1"
    return found
