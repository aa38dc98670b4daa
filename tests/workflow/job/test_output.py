"""What one sees of a run: a line of progress, whole errors, and at the end what was found."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from micro import MAIN_JOBS, TASKS, command, environment, micro, snakemake

pytestmark = pytest.mark.workflow

SPLITS = tuple(f"results/datasets/{name}/first.jsonl" for name in TASKS)
SCAFFOLDING = (
    r"^(Select jobs|Execute \d|Finished jobid|Job \d+:|Job stats|Building DAG|\d+ of \d+ steps)"
)


@pytest.fixture
def folder(tmp_path):
    return micro(tmp_path / "checkout")


def make(folder, *args, **options):
    return snakemake(folder, *SPLITS, "--cores", "1", *args, **options)


def test_the_end_of_a_run_says_what_was_found_and_what_to_open(finished, said):
    assert not re.findall(SCAFFOLDING, said, re.MULTILINE)
    assert "\r" not in said
    assert "\033" not in said
    *begin, result, first, second, page, tables, figures, log = said.splitlines()
    assert len(begin) < 60
    assert re.fullmatch(rf"{MAIN_JOBS} of {MAIN_JOBS} jobs done in \d+ \w+", result)
    for sentence in (first, second):
        assert re.match(
            r"\* .*domains of `micro` .*stand .*apart by .*silhouette [-−]?\d\.\d{3}", sentence
        )
    assert page == "Open in a browser: results/pools/micro/navigator.html"
    assert tables == "Tables: results/tables/main.md"
    assert figures == "Figures: results/pools/micro/figures/"
    assert log.startswith("Complete log(s): ")
    for place in (page, tables, figures):
        assert (finished / place.split(": ")[1]).exists()
    account = (finished / ".snakemake/log" / Path(log).name).read_text()  # Snakemake's own
    assert account.count("Finished jobid") == MAIN_JOBS


def test_an_error_is_whole(folder):
    rows = folder / "data/beta.jsonl"
    rows.write_text(rows.read_text().replace('"answer"', '"reply"'))
    text = make(folder, check=False).stdout
    assert "Error in make_split beta first : beta, row 0: there is no column 'item.answer'" in text
    assert "Error in rule make_split:" in text
    assert "log: logs/make_split/beta/first.log (check log file(s) for error details)" in text
    assert re.search(r"^\d of 4 jobs done, 1 failed in \d+ s$", text, re.MULTILINE)
    assert "At least one job did not complete successfully." in text
    assert "Open in a browser" not in text


@pytest.mark.parametrize("asked", [("-n",), ("-p",)])
def test_snakemakes_own_account_is_there_where_it_is_asked_for(folder, asked):
    text = make(folder, *asked).stdout
    assert re.search(r"^make_split +2$", text, re.MULTILINE)
    assert re.findall(r"^Job \d+: cut (\w+) into first$", text, re.MULTILINE)
    assert ("4 of 4 steps (100%) done" in text) == (asked != ("-n",))
    assert "jobs done in" not in text


def test_a_terminal_keeps_the_result_only(folder):
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        command(*SPLITS, "--cores", "1"), cwd=folder, env=environment(TERM="xterm", COLUMNS="80"),
        stdout=inside, stderr=inside,
    )  # fmt: skip
    os.close(inside)
    read = b""
    try:
        while part := os.read(terminal, 4096):
            read += part
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert process.wait(60) == 0
    drawn = re.findall(r"\r\x1b\[K(\d/4 jobs \| [^\r]*)", read.decode())
    assert drawn[0].startswith("0/4 jobs | 0 s spent | ")
    assert len({line[0] for line in drawn}) > 1
    assert all(len(line) < 80 for line in drawn)
    lines = [
        line.rpartition("\x1b[K")[2] for line in read.decode().replace("\r\n", "\n").split("\n")
    ]
    assert not re.findall(SCAFFOLDING, "\n".join(lines), re.MULTILINE)
    assert sum(bool(re.match(r"\d+/\d+ jobs", line)) for line in lines) == 0
    assert any(re.match(r"4 of 4 jobs done in \d+ s", line) for line in lines)
