"""How far a run is, in one line that stays, where Snakemake tells of every job in ten.

:func:`attach` puts the line in the place of Snakemake's own account on the terminal. Warnings,
errors and whatever is not known to be scaffolding are shown as before, and the log file of
Snakemake has all. Who asks Snakemake for its output (``-p``, ``--verbose``, ``--quiet``, a logger
plug-in, a dry run) gets it.
"""

import logging
import os
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from atlas.progress import CLEAR, lasting

# What the line stands for: events of Snakemake, and beginnings of texts that have no event.
EVENTS = ("workflow_started", "run_info", "resources_info", "job_info", "group_info", "shellcmd",
          "job_started", "job_finished", "progress")  # fmt: skip
TEXTS = ("Building DAG of jobs", "Using shell: ", "Group jobs: inactive", "Conda environments: ignored",
         "Singularity containers: ignored", "Select jobs to execute", "Elapsed time: ")  # fmt: skip
STREAM_HANDLER = "DefaultStreamHandler"  # name of the handler that writes Snakemake's account
REDRAWN_S, REPEATED_S = 0.5, 60.0  # on a terminal; in a file


def attach(logger: logging.Logger, settings: Any) -> "RunLine | None":
    """Show the line in the place of Snakemake's account, unless that was asked for.

    :param logger: that of Snakemake.
    :param settings: its settings of output.
    :returns: what shows it, or None where Snakemake's account is left as it is.
    """
    asked = (settings.dryrun, settings.verbose, settings.printshellcmds, settings.debug_dag)
    stream = next((h for h in logger.handlers if h.name == STREAM_HANDLER), None)
    if any(asked) or settings.quiet or not isinstance(stream, logging.StreamHandler):
        return None
    line = RunLine(stream)
    logger.removeHandler(stream)
    logger.addHandler(line)
    return line


class Tally:
    """Jobs of a run: how many there are, which are going on, and how long those took that are done."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.total = self.done = 0
        self._failed: set[int] = set()
        self._planned: Counter[str] = Counter()  # jobs of each rule
        self._finished: Counter[str] = Counter()  # of these, and the seconds that they took
        self._seconds: dict[str, float] = defaultdict(float)
        self._running: dict[int, tuple[str, str, float]] = {}  # job -> rule, message, start
        self._start = clock()

    def note(self, event: str | None, said: Mapping[str, Any]) -> None:
        """Take notice of an event of Snakemake.

        :param said: the attributes of its record.
        """
        match event:
            case "run_info":
                self._planned = Counter(said["stats"])
                self.total = self._planned.pop("total")
                self._start = self.clock()
            case "job_info":
                job, rule = said["jobid"], said["rule_name"]
                self._running[job] = (rule, said["rule_msg"] or rule, self.clock())
                self._failed.discard(job)  # it is tried again
            case "job_finished":
                self.done += 1
                rule, _, start = self._running.pop(said["job_id"], ("", "", 0.0))
                if rule:
                    self._finished[rule] += 1
                    self._seconds[rule] += self.clock() - start
            case "job_error":
                self._failed.add(said["jobid"])
                self._running.pop(said["jobid"], None)
            case "progress":
                self.total = said["total"]

    def left(self) -> float | None:
        """Seconds that the rest will take, if jobs go on side by side as they did.

        A job takes as long as those of its rule did, or as jobs did on average. None until rules of
        which a job is done make up two thirds of all jobs: before, there is little to judge by.
        """
        known = sum(n for rule, n in self._planned.items() if self._finished[rule])
        if not known or 3 * known < 2 * sum(self._planned.values()):
            return None
        mean = {rule: self._seconds[rule] / n for rule, n in self._finished.items() if n}
        average = sum(self._seconds.values()) / sum(self._finished.values())
        now = self.clock()
        spent = [(rule, now - start) for rule, _, start in self._running.values()]
        rest = self._planned - self._finished
        work = sum(n * mean.get(rule, average) for rule, n in rest.items())
        work -= sum(min(seconds, mean.get(rule, average)) for rule, seconds in spent)
        worked = sum(self._seconds.values()) + sum(seconds for _, seconds in spent)
        return work * (now - self._start) / worked if worked else None

    def line(self) -> str:
        """Jobs done of all, the time, and what is going on."""
        spent, left = f"{lasting(self.clock() - self._start)} spent", self.left()
        times = f"{spent}, about {lasting(left)} left" if left else spent
        parts = [f"{self.done}/{self.total} jobs{self._failures()}", times]
        if self._running:
            _, message, _ = next(iter(self._running.values()))
            more = len(self._running) - 1
            parts.append(message + (f" and {more} more" if more else ""))
        return " | ".join(parts)

    def result(self) -> str:
        """The line of a run that is over."""
        spent = lasting(self.clock() - self._start)
        return f"{self.done} of {self.total} jobs done{self._failures()} in {spent}"

    def _failures(self) -> str:
        return f", {len(self._failed)} failed" if self._failed else ""


class RunLine(logging.Handler):
    """Shows the line at the foot of a terminal; in a file, a line a minute where something was done.

    :param stream: the handler that writes Snakemake's account: it shows what is not scaffolding.
    """

    def __init__(self, stream: logging.StreamHandler[Any]) -> None:
        super().__init__()
        self.tally = Tally()
        self._stream = stream
        self._terminal = stream.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._begun, self._told = False, 0
        self._over = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Count what Snakemake says, and show it where it is more than scaffolding."""
        try:
            self._emit(record)
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        self.tally.note(event, record.__dict__)
        if event == "job_info" and not self._begun:
            self._begun = True
            self._show()
            threading.Thread(target=self._repeat, name="run line", daemon=True).start()
        if not is_scaffolding(record):
            self._write(CLEAR if self._terminal else "")
            self._stream.handle(record)
            if self._terminal:
                self._show()

    def finish(self) -> None:
        """Leave the result of the run in the place of the line."""
        with self.lock:
            if self._begun and not self._over.is_set():
                self._over.set()
                self._write((CLEAR if self._terminal else "") + self.tally.result() + "\n")

    def close(self) -> None:
        """End the line, however the run ended."""
        self.finish()
        self._stream.close()
        super().close()

    def _repeat(self) -> None:
        while not self._over.wait(REDRAWN_S if self._terminal else REPEATED_S):
            with self.lock:
                if self._terminal or self.tally.done > self._told:
                    self._show()

    def _show(self) -> None:
        if not self._begun or self._over.is_set():
            return
        self._told, line = self.tally.done, self.tally.line()
        if self._terminal:
            self._write(CLEAR + line[: shutil.get_terminal_size().columns - 1])
        else:
            self._write(line + "\n")

    def _write(self, text: str) -> None:
        self._stream.stream.write(text)
        self._stream.flush()


def is_scaffolding(record: logging.LogRecord) -> bool:
    """Whether the line, or what is said at the end of a run, stands for a record."""
    if getattr(record, "event", None) in EVENTS:
        return True
    return record.levelno <= logging.INFO and str(record.msg).startswith(TEXTS)
