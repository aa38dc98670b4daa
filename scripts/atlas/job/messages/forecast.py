"""What is said of a run before its first job: how long it may take, and which tables it replaces."""

import csv
import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from atlas.files import WORKFLOW_FOLDER, read_csv
from atlas.job.attempts import read_record, run_file
from atlas.job.records import BrokenRecordError, Records
from atlas.progress import lasting

# Seconds of the processor that a job takes, by its rule, and half a second between jobs: means of the default
# configuration.
MEASURED = WORKFLOW_FOLDER / "resources/job_seconds.csv"
LONG = 900  # seconds that are worth a word
TABLE = re.compile(r"results/tables/[^/]+\.csv")


class Forecast(logging.Handler):
    """Says it where Snakemake has told its jobs: in a dry run too, at its end.

    :param tell: jobs of each rule -> sentences.
    """

    def __init__(self, tell: Callable[[Mapping[str, int]], Iterable[str]], *, dry: bool) -> None:
        super().__init__()
        self._tell, self._waiting = tell, 1 if dry else 0

    def emit(self, record: logging.LogRecord) -> None:
        """Take notice of the numbers of jobs, once."""
        if getattr(record, "event", None) != "run_info":
            return
        self._waiting -= 1
        if self._waiting == -1:
            jobs = {rule: n for rule, n in record.__dict__["stats"].items() if rule != "total"}
            for sentence in self._tell(jobs):
                logging.getLogger(record.name).info(sentence)


def duration(jobs: Mapping[str, int], cores: int) -> str | None:
    """How long jobs may take, in a sentence; None where that is no time worth a word.

    :param jobs: number of jobs of each rule.
    :param cores: that work at once, a job on each.
    """
    own, measured = _benchmarks(), {r["rule"]: float(r["seconds"]) for r in read_csv(MEASURED)}
    known = {rule: own.get(rule, measured.get(rule)) for rule in map(_family, jobs)}
    seconds = sum(n * (known[_family(rule)] or 1.0) for rule, n in jobs.items()) / max(1, cores)
    if seconds < LONG:
        return None
    like = (
        "those before them here"
        if own.keys() >= known.keys()
        else "those of the default configuration"
    )
    on = f"{cores} core" if cores == 1 else f"{cores} cores"
    return (f"{sum(jobs.values())} jobs, about {lasting(seconds)} on {on} if they are like {like}; "
            "each table can be asked for alone (results/tables/NAME.csv), and a run that was stopped goes "
            "on where it was.")  # fmt: skip


def _family(rule: str) -> str:
    """A rule by the folder of its benchmarks: rules by number of files are one."""
    return re.sub(r"_\d+$", "", rule)


def _benchmarks(folder: Path = Path("benchmarks")) -> dict[str, float]:
    """Mean seconds of the jobs of each rule that were run in this folder."""
    found: dict[str, list[float]] = defaultdict(list)
    for file in folder.glob("*/**/*.tsv"):
        with file.open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle, delimiter="\t"):
                if re.fullmatch(r"[\d.]+", seconds := str(row.get("s"))):
                    found[file.relative_to(folder).parts[0]].append(float(seconds))
    return {rule: sum(seconds) / len(seconds) for rule, seconds in found.items()}


def replaced_tables(jobs: Iterable[Any]) -> list[str]:
    """Which tables of another configuration jobs replace, a sentence for each.

    :param jobs: that will run, as Snakemake has them.
    """
    records, found = Records(Path()), []
    for job in jobs:
        for file in filter(TABLE.fullmatch, map(str, job.output)):
            if Path(file).is_file() and (sentence := _replaced(records, file, job)):
                found.append(sentence)
    return sorted(found)


def _replaced(records: Records, file: str, job: Any) -> str | None:
    try:
        made = records.statement(file)
    except BrokenRecordError:
        return None
    params = json.loads(json.dumps({k: v for k, v in job.params.items() if k != "code"}))
    if made is None or made.params == params:
        return None
    keys = sorted(k for k in {*made.params, *params} if made.params.get(k) != params.get(k))
    given = read_record(run_file(made.run)).get("configfiles")
    own = [str(name) for name in given or [] if not str(name).endswith("config/config.yaml")]
    by = f"with {', '.join(own)}" if own else "with the default configuration"
    return (f"{file} is replaced: it was made {by} on {made.finished[:10]}, and its {' and '.join(keys)} "
            "were others. To keep both, copy it first, or give a table a name of its own.")  # fmt: skip
