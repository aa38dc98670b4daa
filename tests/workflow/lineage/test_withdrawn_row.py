"""What is said to hang on a thing, against runs without it; docs/provenance.md, from a row to the table."""

import json
import re
import shlex
import subprocess

import pytest

from documents import blocks
from micro import digests, small_config, snakemake, write_config
from workflow.lineage.test_tampering import MAIN, lineage

pytestmark = pytest.mark.workflow
# Words of the page -> those of the micro configuration: row 4 is line 5 there, too.
WORDS = {"riddles.jsonl": "data/alpha.jsonl", "riddles.yaml": "micro.yaml", "riddles:4": "alpha:4"}


def affected(folder, what):
    """Artefacts that have the thing in them, and all that are listed."""
    done = lineage(folder, "affected", what, "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["artefacts"]
    return {one["file"] for one in listed if one["holds"]}, {one["file"] for one in listed}


def changed(before, folder):
    now = digests(folder)
    return {file for file, digest in before.items() if now.get(file) != digest}


def drawn(folder, model):
    lines = (folder / f"results/models/{model}/rows.jsonl").read_text().splitlines()
    return {json.loads(line)["row"] for line in lines}


def test_the_page_is_followed(small_copy):
    """A row of alpha is withdrawn and taken out, one of beta is altered in its place."""
    assert 4 in drawn(small_copy, "micro-alpha-first")
    altered = min(drawn(small_copy, "micro-beta-first"))
    of_alpha, of_beta = (
        affected(small_copy, "alpha:4")[1],
        affected(small_copy, f"beta:{altered}")[0],
    )
    assert not {file for file in of_beta if "micro-beta-second" in file}
    before, table = digests(small_copy), (small_copy / MAIN).read_bytes()
    (block,) = (block for block in blocks("docs/provenance.md") if block.mark == "run")
    text = block.text
    for word, own in WORDS.items():
        assert word in text
        text = text.replace(word, own)
    said = []
    for line in text.splitlines():
        program, *arguments = shlex.split(line)
        if program == "sed":
            refused = snakemake(
                small_copy, MAIN, "--cores", "1", "--forcerun", "assemble_activations", check=False
            )
            assert re.search(r"hangs on alpha:4, which was\s+withdrawn on", refused.stdout)
            rows = (small_copy / "data/beta.jsonl").read_text().splitlines(keepends=True)
            rows[altered] = rows[altered].replace("away", "off")
            (small_copy / "data/beta.jsonl").write_text("".join(rows))
            subprocess.run([program, *arguments], cwd=small_copy, check=True)
        elif program == "snakemake":
            snakemake(small_copy, *arguments, config=None)
        else:
            said.append(lineage(small_copy, *arguments[1:]))
    first, withdrawn, verified, listed = said
    assert f"table  {MAIN}: all rows" in first.stdout
    assert withdrawn.returncode == 0
    assert verified.returncode == 1
    assert "withdrawn  results/sources/datasets/alpha.jsonl hangs on alpha:4" in verified.stdout
    assert re.search(r"alpha:4 +met", listed.stdout)
    assert lineage(small_copy, "verify").returncode == 0
    assert (small_copy / MAIN).read_bytes() != table
    found = changed(before, small_copy)
    assert found <= of_alpha | of_beta
    assert {MAIN, "results/models/micro-beta-first/adapter_model.safetensors"} <= found
    assert not {file for file in found if "micro-beta-second" in file}


def test_a_bill_and_a_card_tell_of_it_and_an_upload_is_refused(small_copy):
    push = {"path": "models/micro-alpha-first", "repo": "org/mine"}
    write_config(small_copy, {**small_config(), "pushes": {"mine": push}})
    told = ["results/models/micro-alpha-first/bom.cdx.json", "results/pushed/mine.md"]
    assert lineage(small_copy, "withdraw", "alpha:4", "--reason", "asked for").returncode == 0
    refused = snakemake(small_copy, "results/pushed/mine.json", "--cores", "1", check=False)
    assert refused.returncode == 1
    assert re.search(r"push mine: \S+ hangs on alpha:4, which was\s+withdrawn on", refused.stdout)
    for file in told:
        assert "hangs on alpha:4, which was withdrawn on" in (small_copy / file).read_text()
    done = lineage(small_copy, "verify", "--json", *told)
    assert {fault["kind"] for fault in json.loads(done.stdout)["findings"]} == {"withdrawn"}


def test_nothing_that_another_function_makes_otherwise_is_missing(small_copy):
    """Distances are a tenth longer, and with them is all that hangs on the module."""
    module, old = "atlas.clusters.silhouettes", "np.clip(1.0 - similarity"
    file = small_copy / f"scripts/{module.replace('.', '/')}.py"
    text = file.read_text()
    assert old in text
    found, _ = affected(small_copy, module)
    file.write_text(text.replace(old, "np.clip(1.1 - similarity", 1))
    before = digests(small_copy)
    times = {path: (small_copy / path).stat().st_mtime_ns for path in before}
    snakemake(small_copy, MAIN, "--cores", "1")
    again = {path for path, time in times.items() if (small_copy / path).stat().st_mtime_ns != time}
    others = changed(before, small_copy)
    assert {"results/pools/micro/silhouette.csv", MAIN} <= others <= again <= found
