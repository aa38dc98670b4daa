"""Whatever is altered after the run is named: bytes, whole files, pairs of file and statement."""

import json
import random
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from atlas.job.records import Records
from atlas.lineage.verify import verify
from micro import digests, lineage, micro_config, snakemake, write_config

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"
CRATE = "results/crates/main/ro-crate-metadata.json"
ADAPTER = "results/models/micro-alpha-first/adapter_model.safetensors"


@pytest.fixture(scope="module")
def crated(small, tmp_path_factory) -> Path:
    """A finished run with a crate of its table."""
    folder = tmp_path_factory.mktemp("crated") / "copy"
    shutil.copytree(small, folder, symlinks=True)
    snakemake(folder, CRATE, "--cores", "1")
    return folder


def named(folder: Path) -> dict[str, set[str]]:
    """File -> kinds of the first broken links."""
    found = defaultdict(set)
    for finding in verify(Records(folder)).broken:
        found[finding.file].add(finding.kind)
    return dict(found)


def other_names(folder: Path) -> dict[str, set[str]]:
    """Files of a run, each with all names of its inode."""
    by_inode = defaultdict(set)
    for file in (folder / "results").rglob("*"):
        if file.is_file() and not file.is_symlink():
            by_inode[file.stat().st_ino].add(file.relative_to(folder).as_posix())
    return {name: names for names in by_inode.values() for name in names}


def kind_of(name: str) -> str:
    """Artefacts of one kind have the same stage and the same ending."""
    parts = name.split("/")
    stage = "/".join(parts[1:3]) if parts[1] in ("sources", "provenance") else parts[1]
    return f"{stage} {Path(name).suffix}"


def test_a_finished_run_is_whole(crated):
    assert named(crated) == {}
    done = lineage(crated, "verify", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["whole"]
    assert report["files"] >= len([n for n in digests(crated) if "/crates/" not in n])


def test_two_hundred_single_bytes(crated):
    """Every kind of file below results/, statements, attempts and the crate's among them."""
    names = other_names(crated)
    kinds = defaultdict(list)
    for name in sorted(names):
        if (crated / name).stat().st_size and not name.startswith("results/provenance/revisions"):
            kinds[kind_of(name)].append(name)
    assert len(kinds) > 20
    chance = random.Random(500)
    order = sorted(kinds)
    flips = []
    for turn in range(200):
        name = chance.choice(kinds[order[turn % len(order)]])
        place = chance.randrange((crated / name).stat().st_size)
        flips.append((name, place, 1 << chance.randrange(8)))
    for group in groups(flips, names):
        for one in group:
            flip(crated / one[0], *one[1:])
        faults = verify(Records(crated)).faults
        for one in group:
            flip(crated / one[0], *one[1:])
        found = {(f.file, f.kind) for f in faults if f.first or len(group) > 1}
        for name, place, _ in group:
            own = {kind for file, kind in found if file in names[name]}
            if name.startswith("results/provenance/attempts/"):
                assert "results/provenance/history.jsonl" in {file for file, _ in found}, name
            elif "/provenance/statements/" in name or "/provenance/attestations/" in name:
                assert "statement" in {kind for _, kind in found}, name
            else:
                assert "artefact" in own or (own and len(group) == 1), (name, place, found)
    assert named(crated) == {}


def groups(flips: list[tuple[str, int, int]], names: dict[str, set[str]]) -> list[list]:
    """Flips that are verified together: up to eight artefacts, each another file; all else alone."""
    alone, together = [], [[]]
    for one in flips:
        if all(n.startswith(("results/crates/", "results/provenance/")) for n in names[one[0]]):
            alone.append([one])
            continue
        if len(together[-1]) == 8 or any(other[0] in names[one[0]] for other in together[-1]):
            together.append([])
        together[-1].append(one)
    assert max(map(len, together)) == 8
    return alone + together


def flip(file: Path, place: int, mask: int) -> None:
    """Change one bit in place, so that all names of the file see it."""
    with file.open("r+b") as handle:
        handle.seek(place)
        value = handle.read(1)[0]
        handle.seek(place)
        handle.write(bytes([value ^ mask]))


def test_truncated_swapped_deleted_edited(copy):
    names = [n for n in sorted(digests(copy)) if (copy / n).stat().st_size]
    chance = random.Random(7)
    for name in chance.sample(names, 12):
        file, data = copy / name, (copy / name).read_bytes()
        file.write_bytes(data[: len(data) // 2])
        assert named(copy) == {name: {"artefact"}}
        file.write_bytes(data + b"\n")
        assert named(copy) == {name: {"artefact"}}
        file.unlink()
        assert named(copy) == {name: {"missing"}}
        file.write_bytes(data)
    one = copy / ADAPTER
    two = copy / ADAPTER.replace("first", "second")
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert set(named(copy)) == {ADAPTER, ADAPTER.replace("first", "second")}


def test_files_from_nowhere_and_lost_statements(copy):
    stray = "results/models/micro-alpha-first/extra.json"
    (copy / stray).write_text("{}")
    pointer = copy / "results/provenance/attestations/pools/micro/silhouette.csv.json"
    pointer.unlink()
    assert named(copy) == {
        stray: {"unattested"},
        "results/pools/micro/silhouette.csv": {"unattested"},
    }


def test_a_source_outside_results(copy):
    with (copy / "data/alpha.jsonl").open("a") as handle:
        handle.write('{"number": 99, "item": {"question": "q", "answer": "a"}}\n')
    found = verify(Records(copy)).broken
    assert {f.kind for f in found} == {"input"}
    assert all(f.file.startswith("results/sources/datasets/alpha.json") for f in found)
    assert "data/alpha.jsonl" in found[0].sentence


def test_another_module_is_code(copy):
    file = copy / "scripts/atlas/clusters/neighbours.py"
    file.write_text(file.read_text().replace("RANKS = 10", "RANKS = 9"))
    found = verify(Records(copy)).broken
    assert {f.kind for f in found} == {"code"}
    assert all("atlas.clusters.neighbours" in f.sentence for f in found)
    assert verify(Records(copy), ["results/models/micro-beta-first/training.csv"]).faults == []


def test_an_input_swapped_with_its_attestation_is_caught_one_link_on(copy, tmp_path):
    """The forger takes both from another honest run: the pair is valid, its consumers tell."""
    other = tmp_path / "other"
    shutil.copytree(copy, other, symlinks=True)
    config = micro_config()
    config["recipes"]["quick"]["learning_rate"] = 0.02
    write_config(other, config)
    snakemake(other, ADAPTER, "--cores", "1")
    folder = Path(ADAPTER).parent
    shutil.rmtree(copy / folder)
    shutil.copytree(other / folder, copy / folder)
    shutil.rmtree(copy / "results/provenance/attestations" / folder.relative_to("results"))
    for below in ("statements", f"attestations/{folder.relative_to('results')}"):
        shutil.copytree(other / "results/provenance" / below, copy / "results/provenance" / below,
                        symlinks=True, dirs_exist_ok=True)  # fmt: skip
    found = verify(Records(copy)).broken
    assert found
    # The statements name attempts of which this run has none.
    assert {f.kind for f in found} == {"input", "history"}
    found = [f for f in found if f.kind == "input"]
    readers = {f.job.split()[0] for f in found}
    assert readers == {"compute_shard", "generate_shard", "embed_flattened_weights",
                       "embed_salient_mask", "embed_direct_effects", "embed_weight_deltas"}  # fmt: skip
    assert all(str(folder) in f.sentence for f in found)


def test_status_and_words_of_the_command(copy):
    assert lineage(copy, "verify", MAIN).returncode == 0
    flip(copy / ADAPTER, 900, 4)
    done = lineage(copy, "verify", MAIN)
    assert done.returncode == 1
    assert ADAPTER in done.stdout
    assert "train_adapter" in done.stdout
    answer = json.loads(lineage(copy, "verify", MAIN, "--json").stdout)
    (finding,) = answer["findings"]
    assert (finding["kind"], finding["file"]) == ("artefact", ADAPTER)
    assert finding["behind"] >= 8
    assert lineage(copy, "verify", "results/nothing.csv").returncode == 1
    assert lineage(copy, "verify", "--root", "config").returncode == 2


def test_a_signature_catches_a_chain_that_is_valid_within(small_copy, tmp_path):
    key = tmp_path / "key.pem"
    assert lineage(small_copy, "sign", "--key", str(key)).returncode == 0
    public = f"{key}.pub"
    assert lineage(small_copy, "verify", "--signature", public).returncode == 0
    # The forger runs the workflow anew with other rows, and passes the result off as the old one.
    rows = small_copy / "data/beta.jsonl"
    rows.write_text(rows.read_text().replace("swims", "walks"))
    snakemake(small_copy, MAIN, "--cores", "2", "--resources", "gpu=1")
    assert lineage(small_copy, "verify").returncode == 0
    done = lineage(small_copy, "verify", "--signature", public, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)["findings"]
    assert {f["kind"] for f in found} == {"signature"}
    assert MAIN in {f["file"] for f in found}
    # Signing it with a key of their own does not help.
    assert lineage(small_copy, "sign", "--key", str(tmp_path / "forger.pem")).returncode == 0
    assert lineage(small_copy, "verify", "--signature", public).returncode == 1
