from __future__ import annotations

from atlas.files import write_csv
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
        entries=[{"name": "main", "kind": "main", "beside": ["p/silhouette.csv", "p/neighbours.csv"]},
                 {"name": "what_they_say", "kind": "outputs", "beside": []}],
        pools=[{"name": "p", "models": 2, "domains": ["a", "b"], "bases": ["x"], "recipes": []}],
        seeds=[42, 7], page=page,
    )  # fmt: skip
    text = page.read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["# Summary of findings", "## Main", "## What they say", "## What was run",
                        "## How to read this"]  # fmt: skip
    assert "* 1 model wrote 1 text to the probes" in text
    assert "Global seeds: 42 and 7." in text
    assert "| p | 2 | a, b | x | – |" in text
    assert "p is 0.05 or more" in text
