"""The benchmarks run and print what they promise; nothing is asserted about times."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

import programs
from browser.conftest import needs_browser
from unit.conftest import make_base

BENCH = Path(__file__).resolve().parents[2] / "bench"
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def program(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(BENCH / script), *arguments]


def run(script: str, *arguments: str, status: int = 0) -> str:
    done = programs.run(program(script, *arguments), env=ENVIRONMENT, libraries=["trl"])
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def test_embedding_speed():
    shown = run("embedding_speed.py", "--random", "tiny", "--adapters", "2", "--repetitions", "2")
    assert re.search(r"^ratio +[\d.]+ times faster \(median of pairs; ", shown, re.MULTILINE)
    assert re.search(r"^published +[\d.]+ ms per adapter", shown, re.MULTILINE)
    assert re.search(r"^ours +[\d.]+ ms per adapter", shown, re.MULTILINE)
    assert re.search(r"^ours, parts +read [\d.]+ ms, apply [\d.]+ ms", shown, re.MULTILINE)
    assert shown.count("repetition ") == 2
    assert "peft" in shown
    found = re.search(
        r"^deviation +(\S+) of the largest element, cosine (\S+)", shown, re.MULTILINE
    )
    assert float(found[1]) < 1e-4
    assert float(found[2]) > 0.99999


def test_embedding_speed_says_what_is_missing(tmp_path):
    shown = run("embedding_speed.py", "--base", str(tmp_path), "--models", str(tmp_path / "x"),
                status=1)  # fmt: skip
    assert "not there yet" in shown


def test_older_transformers():
    shown = run("older_transformers.py", "--small")
    rows = re.findall(
        r"^(\S.*?) +least 4\.46 +logits 0\.0e\+00  tokens equal$", shown, re.MULTILINE
    )
    assert len(rows) == 7
    assert "trained: sft-ia3" in rows


def test_lineage_questions():
    shown = run("lineage_questions.py", "--statements", "150")
    (count,) = re.findall(r"^(\d+) statements$", shown, re.MULTILINE)
    assert int(count) >= 150
    assert len(re.findall(r"\d\.\d\d s .* (?:again|nothing kept yet)$", shown, re.MULTILINE)) == 6


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_hashing():
    shown = run("hashing.py", "--megabytes", "2", "--repetitions", "2")
    assert (
        len(re.findall(r"^ours +\d+ MB/s   openssl +\d+ MB/s   ratio [\d.]+$", shown, re.MULTILINE))
        == 2
    )
    assert re.search(r"^median ratio \(above 1: ours is faster\) [\d.]+$", shown, re.MULTILINE)


def test_salient_mask_memory():
    shown = run("salient_mask_memory.py", "--models", "2", "3", "--hidden", "32", "--layers", "1")
    assert re.search(r"^models +plain: time, peak +ours: time, peak +ratio", shown, re.MULTILINE)
    rows = re.findall(r"^ +(\d) +[\d.]+ s +[\d.]+ MB +[\d.]+ s +[\d.]+ MB +([\d.]+)$", shown,
                      re.MULTILINE)  # fmt: skip
    assert [count for count, _ in rows] == ["2", "3"]
    assert "similarities   identical" in shown


def test_salient_mask_memory_fails_where_similarities_differ(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCH))
    import salient_mask_memory as bench

    def off(_: object, way: str, *more: object) -> dict:
        return {
            "seconds": 1.0,
            "peak_bytes": 1,
            "similarity": [[1.0, 0.5 if way == "ours" else 0.4]],
        }

    monkeypatch.setattr(bench, "alone", off)
    assert bench.main(["--models", "2", "--hidden", "32", "--layers", "1"]) == 1
    assert "NOT identical" in capsys.readouterr().out


def test_geometry_speed():
    shown = run("geometry_speed.py", "--hooks", "2", "--models", "2", "--prompts", "30",
                "--width", "120")  # fmt: skip
    for label in ("both against both", "both against uncentred"):
        assert re.search(rf"^ratio, {label} +[\d.]+ times faster", shown, re.MULTILINE)
    found = re.search(r"^deviation +(\S+) \(relative", shown, re.MULTILINE)
    assert float(found[1]) < 1e-6
    assert re.search(r"^memory +\d+ MB", shown, re.MULTILINE)


def test_training_speed():
    shown = run("training_speed.py", "--random", "tiny", "--dtype", "float32", "--batch", "2",
                "--accumulation", "2", "--steps", "3", "--warm-up", "1", "--rounds", "1",
                "--at-once", "2")  # fmt: skip
    ways = ("plain", "plain, kept", "ours", "ours, padding_free")
    speed = r" +[\d,]+ tokens/s, [\d.]+ GB, [\d.]+ times plain \([\d.]+ to [\d.]+\)$"
    off = r" +losses (\S+), adapter (\S+) of its norm, element \S+$"
    for way in ways:
        assert re.search(f"^{way}{speed}", shown, re.MULTILINE)
        assert re.search(rf"^processor, {way} +[\d.]+ times plain$", shown, re.MULTILINE)
        found = re.search(f"^deviation, {way}{off}", shown, re.MULTILINE)
        assert float(found[1]) < 1e-5
        assert float(found[2]) < 1e-3
    assert re.search(r"^ours, liger +left out: needs liger-kernel and a GPU$", shown, re.MULTILINE)
    for count in (1, 2):
        line = rf"^at once {count} +[\d.]+ s per adapter, [\d.]+ GB, [\d.]+ times one after another"
        assert re.search(line, shown, re.MULTILINE)


def test_extraction_speed(tmp_path):
    base = make_base(tmp_path / "tiny")[0].parent
    shown = run("extraction_speed.py", "--base", str(base), "--prompts", "6", "--tokens",
                "4", "9", "--repetitions", "2")  # fmt: skip
    assert shown.count("repetition ") == 2
    assert re.search(r"^ratio +[\d.]+ \([\d.]+ by processor time", shown, re.MULTILINE)
    assert re.search(
        r"^prompts +6 of \d to \d tokens, 1 batches, 4 hooks of 16", shown, re.MULTILINE
    )


def test_writing_together():
    shown = run("writing_together.py", "--random", "tiny", "--models", "3", "--new-tokens", "5")
    for way in ("together", "one after another"):
        assert re.search(rf"^{way} +[\d.]+ s per model \(median of 1\)$", shown, re.MULTILINE)
    assert re.search(r"^ratio +[\d.]+ times faster", shown, re.MULTILINE)
    assert re.search(r"^texts +15 of 15 the same both ways", shown, re.MULTILINE)
    found = re.search(r"^decided alone +\d+ of at most 150 tokens, rows at most (\S+) of", shown,
                      re.MULTILINE)  # fmt: skip
    assert 0 <= float(found[1]) < 1


def test_gpu(tmp_path):
    """All of it at micro size; a figure that is missing would be an exit status of 1."""
    shown = run("gpu.py", "--small", "--out", str(tmp_path / "figures.json"))
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["device"] == "CPU"
    assert not found["troubles"]
    assert {one["part"] for one in found["figures"]} == {
        "embedding_speed", "writing_together", "extraction_speed", "training_speed",
    }  # fmt: skip
    assert all(one["value"] > 0 for one in found["figures"])
    rows = re.findall(r"^\| (.+?) \| ([\d.,e+]+) .*\|$", shown, re.MULTILINE)
    assert [what for what, _ in rows] == [one["what"] for one in found["figures"]]
    assert f"torch {torch.__version__}" in shown


def test_gpu_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCH))
    import gpu

    (part,) = (part for part in gpu.PARTS if part.module == "training_speed")
    line = "at once 2          1.25 s per adapter, 1.00 GB, 1.60 times one after another (1 to 2)"
    found = {one.what: one for one in gpu.read(part, line, small=False)}
    assert found["2 adapters at once"].value == 1.25
    assert found["2 adapters at once, against one after another"].value == 1.6
    assert found["4 adapters at once"].value is None
    assert "training, ours, both" not in found  # a machine may have no liger-kernel
    shown = gpu.table(list(found.values()), "a card")
    assert "| 2 adapters at once | 1.25 s per adapter |" in shown
    assert "| 4 adapters at once | missing |" in shown
    for key in ("CUDA_VISIBLE_DEVICES", "DELTA_ATLAS_DEVICE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(key, "1")  # it sets them for what it starts
    monkeypatch.setattr(gpu, "run", lambda *_: ("", "took longer than its 1 s"))
    assert gpu.main(["--small", "--parts", "extraction_speed"]) == 1
    assert "extraction_speed: took longer than its 1 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    "script",
    [
        "embedding_speed.py",
        "extraction_speed.py",
        "geometry_speed.py",
        "salient_mask_memory.py",
        "training_speed.py",
        "writing_together.py",
    ],
)
def test_help(script):
    assert "two ways" in run(script, "--help")


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_instruction_delta(dtype):
    shown = run("instruction_delta.py", "--shapes", "tiny", "--rounds", "1", "--dtype", dtype)
    number = r"[\d.]+"
    for step in ("make", "apply"):
        for way in ("ours", "alone", "copy", "published"):
            line = rf"^{step} +{way} +{number} s +{number} s +\d+ MB +-?\d+ MB$"
            assert re.search(line, shown, re.MULTILINE)
        ratio = rf"^{step} +ours / published: seconds {number}, processor {number}, peak {number}$"
        assert re.search(ratio, shown, re.MULTILINE)
    found = {
        way: (float(deviation), float(identical), int(beyond))
        for way, deviation, identical, beyond in re.findall(
            r"^merged (\S+) +.* answer (\S+); of ours (\S+)% identical, (\d+) beyond", shown,
            re.MULTILINE,
        )
    }  # fmt: skip
    assert set(found) == {"ours", "alone", "published"}
    assert found["ours"] == found["alone"]
    assert found["ours"][1:] == (100.0, 0)
    assert 0 < found["ours"][0] <= found["published"][0] * 1.001
    assert found["published"][2] == 0


@pytest.mark.parametrize("kept", [[], ["--keep-weights"]])
def test_large_pools(kept):
    shown = run("large_pools.py", "--models", "40", "--shards", "2", *kept)
    line = r"^{} +[\d.]+ s +[\d.]+ s of the processor +\d+ MB$"
    assert re.search(line.format("dry run"), shown, re.MULTILINE)
    assert re.search(line.format("nothing to do"), shown, re.MULTILINE)


@needs_browser
def test_navigator_speed():
    shown = run("navigator_speed.py", "--models", "60")
    assert re.search(
        r"^[\d.]+ MB; drawn after [\d.]+ s; \d+ MB of script objects$", shown, re.MULTILINE
    )
    for what in ("move of the mouse", "zoom, labels", "a letter of a search"):
        assert re.search(rf"^{what} +script +[\d.]+ ms \(median +[\d.]+\), ", shown, re.MULTILINE)
    assert re.search(r"^dragging: [\d.]+ frames a second$", shown, re.MULTILINE)


def test_planning():
    shown = run("planning.py", "results/datasets/gsm8k/first.jsonl", "--pairs", "1")
    for way in ("this workflow", "bare Snakefile"):
        assert re.search(rf"^{way} +[\d.]+ s +[\d.]+ s of the processor", shown, re.MULTILINE)
    assert re.search(
        r"first\.jsonl: 2 jobs of \d+ rules; medians [\d.]+ s and [\d.]+ s of the "
        r"processor, ratio [\d.]+$", shown, re.MULTILINE,
    )  # fmt: skip


def test_streaming():
    shown = run("streaming.py", "--shapes", "tiny", "--layers", "2", "--adapters", "2", "--threads",
                "1")  # fmt: skip
    assert re.search(
        r"^base +2 layers of tiny, [\d.]+ GiB in bfloat16; 2 adapters", shown, re.MULTILINE
    )
    for way in ("stream", "memory", "published"):
        assert re.search(rf"^{way} +[\d.]+ s, [\d.]+ GiB$", shown, re.MULTILINE)
        assert re.search(rf"^ratio, {way} +[\d.]+ times the products$", shown, re.MULTILINE)
    assert re.search(r"^products +[\d.]+ s$", shown, re.MULTILINE)


def test_large_neighbours():
    shown = run("large_neighbours.py", "--models", "5100", "--width", "8")
    for step in ("assemble", "embed", "neighbours", "silhouettes", "plain product"):
        assert re.search(
            rf"^{step} +[\d.]+ s +[\d.]+ s of the processor +\d+ MB", shown, re.MULTILINE
        )


def test_direct_effects():
    shown = run("direct_effects.py", "--shapes", "tiny", "--adapters", "2", "--rounds", "1")
    assert re.search(r"^adapters +2 of [\d.]+ MB, rank 8, tiny, 2 layers$", shown, re.MULTILINE)
    for way in ("hashing", "direct effects", "sketches of dW"):
        assert re.search(rf"^{way} +[\d.]+ ms per adapter", shown, re.MULTILINE)
    for way in ("direct effects", "sketches of dW"):
        assert re.search(rf"^ratio, {way} +[\d.]+ times hashing", shown, re.MULTILINE)


def test_hundred_thousand():
    shown = run("hundred_thousand.py", "--models", "30", "--directions", "3", "--noise", "0.1")
    for space in ("direct_effects", "weight_deltas"):
        assert re.search(rf"^embed_{space} +[\d.]+ s", shown, re.MULTILINE)
        # Of ten models a direction, nine are of the same one.
        found = re.search(rf"{space}, recall 1.0: ([\d.]+) of the ten nearest", shown)
        assert float(found[1]) == pytest.approx(0.9)
        found = re.search(rf"{space}: silhouette ([\d.]+) by 3 directions", shown)
        assert float(found[1]) > 0.5


def test_nothing_that_an_altered_row_or_file_changes_is_missing_from_affected(small):
    shown = run("withdrawals.py", "--root", str(small), "--rows", "8", "--files", "8")
    lines = shown.splitlines()
    assert lines[-1] == "missing: none" and len(lines) == 8 + 8 + 3
    # A row in the middle of the splits changes what stands on it.
    assert any(re.match(r"(alpha|beta):.* changed +[2-9]\d ", line) for line in lines)


def test_nothing_that_snakemake_makes_again_for_other_code_is_missing_from_affected(small):
    shown = run("replanned.py", "results/tables/main.csv", "--root", str(small), "--configfile",
                "micro.yaml", "--modules", "2", "--packages", "2")  # fmt: skip
    assert shown.splitlines()[-1] == "missing: none"
    assert len(re.findall(r"^(?:module|package):\S+ +planned +[1-9]\d* ", shown, re.MULTILINE)) == 4
