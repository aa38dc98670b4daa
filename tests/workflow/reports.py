"""Reading what `snakemake --report` makes."""

import json
import re
import zipfile
from pathlib import Path

from micro import snakemake


def make_report(folder: Path, *targets: str, config: str | None = "micro.yaml") -> Path:
    """A report of targets that are made; the folder in which it is unpacked."""
    snakemake(folder, *targets, "--report", "made.zip", config=config)
    with zipfile.ZipFile(folder / "made.zip") as archive:
        archive.extractall(folder)
    (folder / "made.zip").unlink()
    return folder / "made"


def part(report: Path, name: str):
    """One of the things that the page of a report holds: results, categories, workflow-desc."""
    text = (report / "report.html").read_text()
    variable = name.replace("-", "_")
    found = re.search(
        rf'<script id="{name}">\s*var {variable} = (.*?);\s*</script>', text, re.DOTALL
    )
    assert found, name
    return json.loads(found[1])


def words(html: str) -> str:
    """The text of a piece of HTML, spaces made one."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def check_report(report: Path, *expected: str) -> dict[str, dict]:
    """All that is expected is there, and whatever is there has a caption, a place and a name."""
    results, categories = part(report, "results"), part(report, "categories")
    assert set(expected) <= set(results)
    placed = {}
    for category, parts in categories.items():
        for subcategory, files in parts.items():
            placed |= dict.fromkeys(files, (category, subcategory))
    assert placed.keys() == results.keys()
    for file, result in results.items():
        assert "Other" not in placed[file], file
        assert len(words(result["caption"]).split()) >= 8, file
        for wrong in ("system-message", "{{", "{%", "Undefined", "``"):
            assert wrong not in words(result["caption"]), (file, wrong)
        assert "system-message" not in result["caption"], file
        assert result["labels"] and all(map(str, result["labels"].values())), file
        assert (report / result["data_uri"]).stat().st_size > 0
    return results


def check_summary(folder: Path, *tables: str, drawn: bool = True) -> str:
    """The summary of a configuration's tables is made, and a report of it has all of them.

    :param drawn: whether each table has a figure. :returns: the text of the summary.
    """
    snakemake(folder, "results/summary.html", "--cores", "2", "--resources", "gpu=1")
    text = (folder / "results/summary.md").read_text()
    for table in tables:
        heading = f"## {table.replace('_', ' ').capitalize()}\n\n* "
        assert heading in text, text
    files = [f"results/tables/{table}.{suffix}" for table in tables for suffix in ("csv", "html")]
    files += [f"results/figures/{table}.svg" for table in tables if drawn]
    check_report(make_report(folder, "results/summary.html"), "results/summary.md", *files)
    return text
