from __future__ import annotations

import pytest
import scipy.stats

from atlas.errors import AtlasError
from atlas.experiments.selection.table import interval, scores, selection_table, summary
from atlas.files import read_csv, write_csv


def answers(method, *rights, truths=("yes", "no", "yes", "yes")):
    return [{"method": method, "row": str(i), "answer": "", "truth": t, "exact_match": str(int(r))}
            for i, (r, t) in enumerate(zip(rights, truths, strict=True))]  # fmt: skip


def test_scores_with_what_can_be_had_without_a_model():
    found = scores(answers("lorahub", 1, 0, 1, 0) + answers("ties", 0, 0, 0, 1))
    shared = {"rows": 4, "chance": 0.5, "majority": 0.75}
    assert found == [{"method": "lorahub", "exact_match": 0.5, **shared},
                     {"method": "ties", "exact_match": 0.25, **shared}]  # fmt: skip


def test_the_interval_is_student_s():
    values = [0.2, 0.3, 0.25, 0.4, 0.35]
    low, high = scipy.stats.t.interval(0.95, 4, loc=0.3, scale=scipy.stats.sem(values))
    assert interval(values) == pytest.approx((0.3, low, high))
    assert interval([0.3]) == (0.3, 0.3, 0.3)


def run(task, seed, value):
    return {"selection": "s", "task": task, "strategy": "random", "seed": seed, "method": "lorahub",
            "rows": 10, "exact_match": value, "chance": 0.5, "majority": 0.6}  # fmt: skip


def test_the_mean_over_tasks_has_its_interval_over_seeds():
    found = summary([run("a", 1, 0.2), run("a", 2, 0.4), run("b", 1, 0.6), run("b", 2, 0.6)])
    by_task = {row["task"]: row for row in found}
    assert by_task["a"]["exact_match"] == pytest.approx(0.3)
    assert by_task["mean"]["exact_match"] == pytest.approx(0.45)
    assert (by_task["mean"]["low"], by_task["mean"]["high"]) == pytest.approx(
        interval([0.4, 0.5])[1:]
    )
    assert (by_task["mean"]["rows"], by_task["mean"]["seeds"]) == (20, 2)


@pytest.fixture
def made(tmp_path):
    """Two seeds of two strategies on one task, and the base."""
    published = tmp_path / "published.csv"
    published.write_text("table,setting,quantity,published\nselection,bbh,random,0.343\n")
    entries, files = [], []
    for strategy, seed in (
        (None, None),
        ("random", 1),
        ("random", 2),
        ("similar", 1),
        ("similar", 2),
    ):
        entries.append({"selection": "s", "task": "t", "strategy": strategy, "seed": seed})
        files.append(tmp_path / f"{strategy}{seed}.csv")
        rows = answers("base", 1, 1, 0, 0) if strategy is None else answers("lorahub", 1, 1, 1, 0)
        write_csv(files[-1], list(rows[0]), rows)

    def table(settings):
        selection_table(
            answers=files, entries=entries, sizes={"s": {"models": 20, "examples": 5}},
            settings=settings, published=published, name="selection", table=tmp_path / "t.csv",
            page=tmp_path / "t.md", figure=[tmp_path / "t.svg", tmp_path / "t.png"],
        )  # fmt: skip
        return read_csv(tmp_path / "t.csv"), (tmp_path / "t.md").read_text()

    return table


def test_the_published_figure_stands_beside_the_mean_of_lorahub_only(made):
    rows, page = made({"s": "bbh"})
    beside = [r for r in rows if r["published"]]
    assert [(r["task"], r["strategy"], r["published"]) for r in beside] == [
        ("mean", "random", "0.343")
    ]
    assert "| random | lorahub | 75.0 | 75.0 (34.3) | 75.0 to 75.0 |" in page
    assert "| – | the commonest answer | 75.0 | 75.0 | – |" in page
    assert [(r["models"], r["seeds"]) for r in rows if r["method"] == "base"] == [("", "")] * 2
    rows, page = made({})
    assert not any(r["published"] for r in rows)
    assert "(34.3)" not in page


def test_a_setting_of_which_nothing_was_published(made):
    with pytest.raises(AtlasError, match="nothing was published of 'bb'"):
        made({"s": "bb"})
