from __future__ import annotations

import io
import logging
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from atlas.job.messages import run_line
from atlas.job.messages.run_line import RunLine, Tally, attach

STATS = {"fetch": 1, "train": 4, "draw": 1, "total": 6}


class Clock:
    """A clock that tests turn by hand."""

    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tally(clock):
    tally = Tally(clock)
    clock.now = 100.0  # the workflow is planned meanwhile
    tally.note(LogEvent.RUN_INFO, {"stats": dict(STATS)})
    return tally


def begin(tally, job, rule, message=None):
    tally.note(LogEvent.JOB_INFO, {"jobid": job, "rule_name": rule, "rule_msg": message})


def work(tally, clock, job, rule, seconds):
    begin(tally, job, rule)
    clock.now += seconds
    tally.note(LogEvent.JOB_FINISHED, {"job_id": job})


def test_nothing_is_said_of_the_time_left_before_two_thirds_are_of_known_rules(tally, clock):
    assert tally.left() is None
    work(tally, clock, 1, "fetch", 4)
    assert tally.left() is None
    assert tally.line() == "1/6 jobs | 4 s spent"
    begin(tally, 2, "train", "train a")
    clock.now += 20
    assert tally.left() is None
    tally.note(LogEvent.JOB_FINISHED, {"job_id": 2})
    assert tally.left() is not None


def test_time_left_of_jobs_one_after_another(tally, clock):
    work(tally, clock, 1, "fetch", 4)
    work(tally, clock, 2, "train", 20)
    # Three trainings of 20 s; the figure as long as jobs took on average, (4 + 20) / 2.
    assert tally.left() == pytest.approx(72)
    begin(tally, 3, "train", "train b")
    clock.now += 5
    assert tally.left() == pytest.approx(67)
    assert tally.line() == "2/6 jobs | 29 s spent, about 67 s left | train b"
    clock.now += 40  # longer than the others: nothing is left of this one
    assert tally.left() == pytest.approx(52)


def test_time_left_of_jobs_side_by_side(tally, clock):
    work(tally, clock, 1, "fetch", 10)
    begin(tally, 2, "train", "train a")
    begin(tally, 3, "train", "train b")
    clock.now += 20
    for job in (2, 3):
        tally.note(LogEvent.JOB_FINISHED, {"job_id": job})
    # 50 s of work in 30 s; left are two trainings of 20 s and a figure of (10 + 20 + 20) / 3.
    assert tally.left() == pytest.approx((40 + 50 / 3) * 30 / 50)


def test_gaps_between_jobs_count(tally, clock):
    for job, rule in ((1, "fetch"), (2, "train")):
        work(tally, clock, job, rule, 10)
        clock.now += 5
    assert tally.left() == pytest.approx(4 * 10 * 30 / 20)


def test_several_at_once_and_failures(tally, clock):
    begin(tally, 1, "train", "train a")
    begin(tally, 2, "draw")
    assert tally.line() == "0/6 jobs | 0 s spent | train a and 1 more"
    tally.note(LogEvent.JOB_ERROR, {"jobid": 1})
    assert tally.line() == "0/6 jobs, 1 failed | 0 s spent | draw"
    clock.now += 200
    assert tally.result() == "0 of 6 jobs done, 1 failed in 3 min"
    begin(tally, 1, "train", "train a")
    assert tally.line() == "0/6 jobs | 3 min spent | draw and 1 more"


def test_the_number_of_jobs_may_change(tally):
    tally.note(LogEvent.PROGRESS, {"done": 0, "total": 9})
    assert tally.line() == "0/9 jobs | 0 s spent"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def logger(monkeypatch):
    monkeypatch.setattr(run_line, "REPEATED_S", 0.01)
    monkeypatch.setattr(run_line, "REDRAWN_S", 3600)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    logger = logging.Logger("snakemake")
    yield logger
    for handler in list(logger.handlers):
        handler.close()


def settings(**asked):
    plain = dict.fromkeys(("dryrun", "verbose", "printshellcmds", "debug_dag", "quiet"))
    return SimpleNamespace(**plain | asked)


def snakemakes(logger, stream):
    handler = logging.StreamHandler(stream)
    handler.name = "DefaultStreamHandler"
    logger.addHandler(handler)
    return handler


def tell(logger, event, text="", **said):
    logger.info(text, extra={"event": event, **said})


def a_run(logger):
    logger.info("Building DAG of jobs...")
    tell(logger, LogEvent.RUN_INFO, "Job stats:", stats={"train": 1, "total": 1})
    logger.info("Select jobs to execute...")
    tell(logger, LogEvent.JOB_STARTED, "Execute 1 jobs...")
    tell(logger, LogEvent.JOB_INFO, "Rule: train", jobid=1, rule_name="train",
         rule_msg="train a model of a long name")  # fmt: skip
    logger.warning("A warning.")
    logger.error("Error in rule train", extra={"event": LogEvent.ERROR})
    tell(logger, LogEvent.JOB_FINISHED, "Finished jobid: 1", job_id=1)
    logger.info("Nothing to be done")


def test_a_file_has_no_control_characters(logger):
    stream = io.StringIO()
    snakemakes(logger, stream)
    line = attach(logger, settings())
    a_run(logger)
    line.finish()
    lines = [x for x in stream.getvalue().splitlines() if not x.startswith("1/1")]
    assert lines == [
        "0/1 jobs | 0 s spent | train a model of a long name", "A warning.", "Error in rule train",
        "Nothing to be done", "1 of 1 jobs done in 0 s",
    ]  # fmt: skip


def test_a_file_has_a_line_from_time_to_time_where_something_was_done(logger):
    stream = io.StringIO()
    snakemakes(logger, stream)
    line = attach(logger, settings())
    a_run(logger)
    thread = next(t for t in run_line.threading.enumerate() if t.name == "run line")
    thread.join(0.3)  # thirty times the interval
    assert stream.getvalue().count("1/1 jobs | 0 s spent\n") == 1
    line.finish()
    thread.join(5)
    assert not thread.is_alive()


def test_a_terminal_has_one_line_below_what_is_said(logger):
    stream = Terminal()
    snakemakes(logger, stream)
    line = attach(logger, settings())
    a_run(logger)
    text = stream.getvalue()
    assert text.endswith("\r\033[K1/1 jobs | 0 s spent")
    cut = "0/1 jobs | 0 s spent | train "  # 29 of 30 columns
    assert f"\r\033[KA warning.\n\r\033[K{cut}\r" in text
    line.finish()
    logger.info("What was found.")
    logger.handlers[0].close()
    kept = [x.rpartition("\033[K")[2] for x in stream.getvalue().split("\n")]
    assert kept == ["A warning.", "Error in rule train", "Nothing to be done",
                    "1 of 1 jobs done in 0 s", "What was found.", ""]  # fmt: skip


def test_a_run_that_breaks_off_leaves_its_result(logger):
    stream = io.StringIO()
    snakemakes(logger, stream)
    attach(logger, settings())
    a_run(logger)
    logger.handlers[0].close()
    assert stream.getvalue().endswith("1 of 1 jobs done in 0 s\n")


def test_a_call_without_jobs_has_no_line(logger):
    stream = Terminal()
    snakemakes(logger, stream)
    line = attach(logger, settings())
    logger.info("Unlocked working directory.")
    line.close()
    assert stream.getvalue() == "\r\033[KUnlocked working directory.\n"


@pytest.mark.parametrize(
    "asked",
    [
        {"dryrun": True},
        {"verbose": True},
        {"printshellcmds": True},
        {"debug_dag": True},
        {"quiet": {0}},
    ],
)
def test_snakemakes_own_account_is_left_where_it_is_asked_for(logger, asked):
    handler = snakemakes(logger, io.StringIO())
    assert attach(logger, settings(**asked)) is None
    assert logger.handlers == [handler]


def test_a_logger_plugin_is_left_alone(logger):
    plugin = logging.StreamHandler(io.StringIO())
    logger.addHandler(plugin)
    assert attach(logger, settings()) is None
    assert logger.handlers == [plugin]


def test_a_dumb_terminal_is_written_to_like_a_file(logger, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    line = RunLine(snakemakes(logger, stream))
    logger.handlers[:] = [line]
    a_run(logger)
    assert "\033" not in stream.getvalue()


def test_a_record_that_is_not_understood_ends_no_run(logger, capsys):
    snakemakes(logger, io.StringIO())
    attach(logger, settings())
    tell(logger, LogEvent.JOB_FINISHED)
    assert "KeyError: 'job_id'" in capsys.readouterr().err


def test_every_event_that_is_kept_back_is_one_of_snakemakes():
    assert set(run_line.EVENTS) <= set(LogEvent)
