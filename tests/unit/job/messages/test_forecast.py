from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from atlas.job.attempts import open_run
from atlas.job.messages.forecast import Forecast, duration, replaced_tables
from unit.job.runs import Run

MAIN = "results/tables/main.csv"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def benchmark(here, rule, *seconds):
    for number, value in enumerate(seconds):
        file = here / f"benchmarks/{rule}/{number}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{value}\t0:00:01\n")


def test_as_long_as_the_jobs_before_them(here):
    benchmark(here, "train_adapter", 90, 110)
    benchmark(here, "fetch_base", 1200, "NA")
    jobs = {"train_adapter": 40, "fetch_base_1": 2}
    said = duration(jobs, 2)  # (40 x 100 + 2 x 1200) / 2 = 3200 s
    assert said.startswith(
        "42 jobs, about 53 min on 2 cores if they are like those before them here;"
    )
    assert "about 1 h 47 min on 1 core if" in duration(jobs, 1)


def test_else_as_those_of_the_default_configuration(here):
    said = duration({"train_policy": 10, "no_such_rule": 3}, 1)
    assert "13 jobs" in said and "those of the default configuration" in said


def test_a_short_run_is_not_spoken_of(here):
    benchmark(here, "train_adapter", 10)
    assert duration({"train_adapter": 89}, 1) is None
    assert duration({"train_adapter": 180}, 2) is not None


@pytest.mark.parametrize("dry", [False, True])
def test_it_is_said_once(dry):
    logger, said = logging.Logger("x"), []
    logger.addHandler(Forecast(lambda jobs: said.append(dict(jobs)) or [], dry=dry))
    for event in ("job_info", "run_info", "run_info"):
        logger.info("x", extra={"event": event, "stats": {"a": 2, "total": 2}})
        if event == "run_info" and not dry:
            assert said == [{"a": 2}]
    assert said == [{"a": 2}]


def job(**params):
    return SimpleNamespace(output=[MAIN, "results/tables/main.md"], params={"code": {}, **params})


def test_a_table_of_another_configuration(here):
    run = Run(here)
    run.job({MAIN: "table"}, params={"pools": [["mine", 42, "x"]], "published": {}})
    given = ["config/config.yaml", "mine.yaml"]
    assert replaced_tables([job(pools=[("mine", 42, "x")], published={})]) == []
    (said,) = replaced_tables([job(pools=[("other", 42, "x")], published={})])
    assert said.startswith(f"{MAIN} is replaced: it was made with the default configuration on 2026-01-01, "
                           "and its pools were others.")  # fmt: skip
    open_run("1.2.host.", {}, given)
    (said,) = replaced_tables([job(pools=[], published={"x": 1})])
    assert "made with mine.yaml on" in said and "its pools and published were others" in said
    (here / MAIN).unlink()
    assert replaced_tables([job(pools=[])]) == []
