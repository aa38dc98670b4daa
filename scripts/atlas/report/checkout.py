"""Which state of the workflow writes a page: version, commit and its date."""

import re
import subprocess
from pathlib import Path

from atlas.files import WORKFLOW_FOLDER


def described(folder: Path = WORKFLOW_FOLDER) -> str:
    """`Delta Atlas 0.1.0, commit abc… of 2026-11-28`; no commit where the folder is no checkout.

    The date is that of the commit: when a job ran, its statement says. So the page has the same bytes
    whenever one state of the workflow writes it.
    """
    told = (folder / "CITATION.cff").read_text(encoding="utf-8")
    released = re.search(r"^version: (\S+)", told, re.MULTILINE)
    name = f"Delta Atlas {released[1]}" if released else "Delta Atlas"
    if not (folder / ".git").exists():
        return name
    try:
        commit, date = _git(folder, "log", "-1", "--format=%H %cs").split()
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (
        OSError,
        subprocess.CalledProcessError,
    ):  # no git, or it does not trust whose folder it is
        return f"{name}, of a checkout that git cannot read here"
    return f"{name}, commit {commit} of {date}" + (", with changes since" if changed else "")


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *words], check=True, capture_output=True, text=True
    ).stdout.strip()
