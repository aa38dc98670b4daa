"""The default main job: what it finds, and that it is what the published procedure finds."""

import csv
import json
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import cosine_distances

from atlas.publishing.picture import browser, told_by
from atlas.spaces.names import space_title

pytestmark = pytest.mark.main
PUBLISHED = ("delta_activations", "flattened_weights", "salient_mask", "output_sentences")
SPACES = (*PUBLISHED, "direct_effects", "weight_deltas")
POOL = "results/pools/smollm2"


def rows(file) -> list[dict]:
    with file.open() as handle:
        return list(csv.DictReader(handle))


def test_delta_activations_are_ahead_and_over_six_tenths(main_run):
    table = rows(main_run / "results/tables/main.csv")
    for distance in ("cosine", "cosine_clipped"):
        found = {r["space"]: float(r["silhouette"]) for r in table
                 if r["pool"] == "smollm2" and r["distance"] == distance}  # fmt: skip
        assert set(found) == set(SPACES)
        assert max(found, key=found.get) == "delta_activations"
        assert found["delta_activations"] > 0.6


def test_published_figures_stand_beside_the_clipped_distance_only(main_run):
    for row in rows(main_run / "results/tables/main.csv"):
        known = row["distance"] == "cosine_clipped" and row["space"] in PUBLISHED
        assert bool(row["published"]) == known


def test_nearest_neighbours_have_their_models_domain(main_run):
    """All but one of the fifteen: a commonsense model is nearest to a medical one."""
    nearest = [r for r in rows(main_run / POOL / "neighbours.csv")
               if r["space"] == "delta_activations" and r["rank"] == "1"]  # fmt: skip
    assert len(nearest) == 15
    assert sum(r["domain"] == r["neighbour_domain"] for r in nearest) >= 14


def test_silhouettes_are_those_of_scikit_learn_on_the_stored_embeddings(main_run):
    stored = {(r["space"], r["distance"]): float(r["silhouette"])
              for r in rows(main_run / POOL / "silhouette.csv")}  # fmt: skip
    for space in SPACES:
        data = np.load(main_run / POOL / space / "embeddings.npz")
        if "embeddings" in data:
            distance = cosine_distances(data["embeddings"].astype(float))
        else:
            distance = np.clip(1 - data["similarity"], 0, 2)
        np.fill_diagonal(distance, 0)
        for kind, matrix in (("cosine", distance), ("cosine_clipped", np.clip(distance, 0, 1))):
            score = silhouette_score(matrix, data["domains"], metric="precomputed")
            assert stored[space, kind] == pytest.approx(score, abs=1e-6)


def test_embeddings_are_those_of_the_published_procedure(main_run):
    """Each adapter on a fresh base, one prompt at a time, the last of all hidden states."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    base = main_run / "results/sources/bases/smollm2-135m-instruct-q4"
    tokenizer = AutoTokenizer.from_pretrained(base)
    with h5py.File(main_run / POOL / "activations.h5") as file:
        prompts = [p.decode() for p in file["probes"][:]]
    assert len(prompts) == 5

    @torch.no_grad()
    def activations(model) -> np.ndarray:
        found = []
        for prompt in prompts:
            inputs = tokenizer(prompt, return_tensors="pt")
            hidden = model(**inputs, output_hidden_states=True).hidden_states[-1]
            found.append(hidden[0, -1].float().numpy())
        return np.stack(found)

    def fresh():
        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()

    plain = activations(fresh())
    data = np.load(main_run / POOL / "delta_activations/embeddings.npz")
    for name, stored in zip(data["model_names"], data["embeddings"], strict=True):
        model = PeftModel.from_pretrained(fresh(), main_run / "results/models" / str(name)).eval()
        delta = (activations(model) - plain).mean(axis=0)
        assert np.abs(delta - stored).max() < 1e-3 * np.abs(delta).max()
        cosine = delta @ stored / np.linalg.norm(delta) / np.linalg.norm(stored)
        assert cosine > 0.99999


def test_models_load_as_they_stand_and_say_what_they_are(main_run):
    from peft import PeftConfig
    from safetensors import safe_open

    for folder in sorted((main_run / "results/models").glob("smollm2-*")):
        config = PeftConfig.from_pretrained(folder)
        assert config.r == 8
        assert "o_proj" not in config.target_modules
        with safe_open(folder / "adapter_model.safetensors", framework="numpy") as handle:
            metadata = handle.metadata()
        origin = json.loads(
            (main_run / "results/sources/bases/smollm2-135m-instruct-q4/base.json").read_text()
        )
        assert metadata["base_sha256"] == origin["weights_sha256"]
        assert (folder / "README.md").read_text().startswith("---\nbase_model_path:")
        assert len(rows(folder / "training.csv")) == 12


def test_figures_are_there_in_all_formats(main_run):
    for kind in ("map", "similarity", "silhouette"):
        for space in SPACES:
            for suffix, start in (
                (".svg", b"<?xml"),
                (".png", b"\x89PNG"),
                (".pdf", b"%PDF"),
                ("_column.svg", b"<?xml"),
                ("_column.pdf", b"%PDF"),
            ):
                file = main_run / POOL / "figures" / f"{kind}_{space}{suffix}"
                assert file.read_bytes().startswith(start)


def test_no_job_took_more_than_four_gibibytes(main_run):
    files = sorted((main_run / "benchmarks").rglob("*.tsv"))
    assert len(files) >= 55
    for file in files:
        with file.open() as handle:
            for row in csv.DictReader(handle, delimiter="\t"):
                if row["max_rss"] not in ("-", "NA"):
                    assert float(row["max_rss"]) < 4096, file


def test_the_readme_shows_what_comes_out(main_run):
    """Other processors round differently, so silhouettes are compared to two decimals or so."""
    table = rows(main_run / "results/tables/main.csv")
    nearest = [r for r in rows(main_run / POOL / "neighbours.csv") if r["rank"] == "1"]
    shown = re.findall(
        r"^\| ([A-Z][\w ]+) \| ([\d,]+) \| (\S+)(?: \((\S+)\))? \| (\d+) of (\d+) \|$",
        (main_run / "README.md").read_text(), re.MULTILINE,
    )  # fmt: skip
    assert {space_title(space) for space in SPACES} == {line[0] for line in shown}
    for title, dimension, silhouette, published, right, models in shown:
        space = next(s for s in SPACES if space_title(s) == title)
        row = next(r for r in table if (r["space"], r["distance"], r["pool"])
                   == (space, "cosine_clipped", "smollm2"))  # fmt: skip
        assert row["dimension"] == dimension.replace(",", "")
        assert row["models"] == models
        assert float(silhouette.replace("−", "-")) == pytest.approx(
            float(row["silhouette"]), abs=0.03
        )
        assert published.replace("−", "-") == row["published"]
        found = sum(r["domain"] == r["neighbour_domain"] for r in nearest if r["space"] == space)
        assert abs(found - int(right)) <= 1


def test_the_pages_are_written_from_the_run(main_run, tmp_path):
    """What README.md shows of the main table is what the program writes; nothing else changes."""
    for part in ("README.md", "docs"):
        place = main_run / part
        (shutil.copytree if place.is_dir() else shutil.copy)(place, tmp_path / part)
    (tmp_path / "config").symlink_to(main_run / "config")
    page = tmp_path / "README.md"
    before = page.read_text()
    page.write_text(re.sub(r"^\| Delta activations .*\n", "", before, flags=re.MULTILINE))
    (tmp_path / "docs/navigator.png").unlink()
    command = [sys.executable, "scripts/document_results.py", "main", "--root", str(tmp_path)]
    subprocess.run(command, cwd=main_run, check=True)
    figures = re.compile(r"[−\d.]+ \(|\d+ of 15")
    assert figures.sub("", page.read_text()) == figures.sub("", before)
    if browser():
        assert told_by(tmp_path / "docs/navigator.png") == told_by(main_run / "docs/navigator.png")


def distances(places) -> np.ndarray:
    """Of all pairs, as shares of the largest: how a map is turned and how large it is says nothing."""
    found = pdist(np.array(places, dtype=float))
    return found / found.max()


def test_the_picture_of_the_readme_is_the_map_of_the_run(main_run):
    told = told_by(main_run / "docs/navigator.png")
    drawn = {r["model"]: r for r in rows(main_run / POOL / "delta_activations/map.csv")}
    assert told["map"].keys() == drawn.keys()
    assert told["method"] == next(iter(drawn.values()))["method"]
    shown = distances([told["map"][name] for name in drawn])
    assert np.abs(shown - distances([(r["x"], r["y"]) for r in drawn.values()])).max() < 0.05
    others = list(drawn)[1:] + list(drawn)[:1]  # each at the place of another
    assert np.abs(shown - distances([told["map"][name] for name in others])).max() > 0.05
