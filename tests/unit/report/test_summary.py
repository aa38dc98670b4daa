from __future__ import annotations

import re
import subprocess

from atlas.files import write_csv
from atlas.report.checkout import described
from atlas.report.summary import write_summary
from unit.experiments.finding_rows import NEAR, main_rows, rows, sure_rows


def test_the_summary_is_made_of_its_tables(tmp_path):
    main = tmp_path / "main.csv"
    columns = ("space", "distance", "pool", "silhouette", "published")
    write_csv(main, columns, main_rows({"delta_activations": 0.7}))
    pool = tmp_path / "p"
    pool.mkdir()
    sure = sure_rows({"delta_activations": (0.6, 0.8)})
    write_csv(pool / "silhouette.csv", tuple(sure[0]), sure)
    write_csv(pool / "neighbours.csv", tuple(NEAR[0]), NEAR)
    texts = rows({"pool": "p", "model": "a", "text": "x"})
    write_csv(tmp_path / "what_they_say.csv", tuple(texts[0]), texts)
    page = tmp_path / "summary.md"
    write_summary(
        tables=[main, tmp_path / "what_they_say.csv"],
        beside=[pool / "silhouette.csv", pool / "neighbours.csv"],
        entries=[{"name": "main", "kind": "main", "beside": ["p/silhouette.csv", "p/neighbours.csv"],
                  "figures": [["Main", "figures/main.svg"]],
                  "navigators": [["p", "pools/p/navigator.html"]]},
                 {"name": "what_they_say", "kind": "outputs", "beside": [],
                  "figures": [], "navigators": []}],
        pools=[{"name": "p", "models": 2, "domains": ["a", "b"], "bases": ["x"], "recipes": []}],
        seeds=[42, 7], configuration="seeds: [42, 7]\n", page=page,
    )  # fmt: skip
    text = page.read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["# Summary of findings", "## Main", "## What they say", "## What was run",
                        "## How to read this"]  # fmt: skip
    assert "* 1 model wrote 1 text to the probes" in text
    assert "Global seeds: 42 and 7." in text
    assert "| p | 2 | a, b | x | – |" in text
    assert "\n![Main](figures/main.svg)\n" in text
    assert ("Table: [`main.csv`](tables/main.csv), [as a page](tables/main.html), "
            "[navigator of p](pools/p/navigator.html).") in text  # fmt: skip
    assert "```yaml\nseeds: [42, 7]\n```" in text
    assert f"{described()}. Global seeds" in text
    assert "p is 0.05 or more" in text


def test_which_state_of_the_workflow_wrote_it_is_said(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)

    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\ntitle: x\n")
    assert described(tmp_path) == "Delta Atlas"
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 0.3.0\n")
    git("init")
    assert described(tmp_path) == "Delta Atlas 0.3.0, of a checkout that git cannot read here"
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-28T12:00:00+0000")
    git("add", "CITATION.cff")
    git("commit", "-m", "x")
    assert re.fullmatch(
        r"Delta Atlas 0.3.0, commit [0-9a-f]{40} of 2026-11-28", described(tmp_path)
    )
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 0.4.0\n")
    assert described(tmp_path).endswith("of 2026-11-28, with changes since")
