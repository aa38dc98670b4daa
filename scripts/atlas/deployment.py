"""Where the workflow and its results lie, seen from the working folder.

Most often all three are one folder. With ``--directory`` or ``--snakefile`` from elsewhere, and as a
module of another workflow, they are not: results/ may be below a prefix, rules may have other names.
Statements are the same wherever they lie: in these, files are named from the folder that holds
results/, those of the workflow from its own folder, and rules as the workflow calls them.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KEY = "deployment"  # in the configuration that jobs see, unless all three are one folder
ROOT = "DELTA_ATLAS_ROOT"  # variable of a job: the folder that holds results/
FILES = (
    ".snakemake/atlas/workflow"  # files of a workflow that lies elsewhere, for jobs that read them
)


@dataclass(frozen=True)
class Deployment:
    """How a working folder has the workflow.

    :param root: the folder that holds results/; "" for the working folder.
    :param rules: how rules are called, * being the workflow's own name of one; or the name of one.
    :param rule: that one's own name.
    :param elsewhere: whether the workflow lies in another folder than results/.
    """

    root: str = ""
    rules: str = "*"
    rule: str = ""
    elsewhere: bool = False

    def told(self) -> dict[str, Any]:
        """What jobs have to be told, as an entry of the configuration that they see."""
        return {} if self == Deployment() else {KEY: asdict(self)}

    def file_name(self, path: str) -> str:
        """What statements call a file of the working folder."""
        if path.startswith(f"{FILES}/"):
            return path.removeprefix(f"{FILES}/")
        if not self.root or Path(path).is_absolute():
            return path
        return Path(os.path.relpath(path, self.root)).as_posix()

    def path(self, name: str) -> str:
        """Where a file below results/ is, by its name."""
        return f"{self.root}/{name}" if self.root else name

    def rule_name(self, name: str) -> str:
        """What the workflow calls a rule."""
        if "*" not in self.rules:
            return self.rule
        before, _, after = self.rules.partition("*")
        return name.removeprefix(before).removesuffix(after)


def of_job(configuration: Mapping[str, Any]) -> Deployment:
    """The deployment of a job, by the configuration that it sees."""
    return Deployment(**configuration.get(KEY, {}))


def results_root() -> Path:
    """In a job: the folder that holds results/."""
    return Path(os.environ.get(ROOT, ""))
