"""What lies below results/ and no job made."""

from __future__ import annotations

import json
import os

import pytest

from atlas.files import STAGE_MARK
from atlas.lineage.verify import verify
from atlas.owners import machine, owner, start_time
from unit.job.runs import A, B, C, sha


def strangers(run):
    faults = verify(run.records).faults
    assert {fault.kind for fault in faults} <= {"unattested", "statement"}
    return {fault.file for fault in faults}


@pytest.mark.parametrize(
    "name",
    ["results/models/.hidden", "results/.x/.y", "results/models/x.tmp", "results/crates/x.txt",
     "results/crates/a/b/.c", "results/provenance/x", "results/provenance/.history.jsonl",
     "results/provenance/statements/x.json", "results/provenance/attempts/x.json",
     "results/provenance/attempts/0123456789ab/.x", "results/provenance/revisions/a/b.json",
     "results/provenance/manifest/more.json", "results/provenance/attestations/a.txt",
     f"results/models/.c.txt{STAGE_MARK}x.txt", f"results/{STAGE_MARK}", f"results/x{STAGE_MARK}/y"],
)  # fmt: skip
def test_a_file(chain, name):
    chain.put(name, "x")
    assert strangers(chain) == {name}


def test_a_link_to_a_folder(chain, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_text("x")
    for name in ("results/link", "results/models/.link", "results/crates/link", "results/provenance/link",
                 "results/provenance/attestations/link"):  # fmt: skip
        (chain / name).parent.mkdir(exist_ok=True)
        (chain / name).symlink_to(tmp_path / "elsewhere")
        assert strangers(chain) == {name}
        (chain / name).unlink()
    assert strangers(chain) == set()


def test_a_folder_that_was_moved_and_linked_is_gone_through(chain, tmp_path):
    """A user's own way to keep large files on another disk."""
    (chain / "results/models").rename(tmp_path / "models")
    (chain / "results/models").symlink_to(tmp_path / "models")
    assert strangers(chain) == set()
    (tmp_path / "models/x").write_text("x")
    (tmp_path / "models/circle").symlink_to(tmp_path / "models")
    assert strangers(chain) == {"results/models/x", "results/models/circle"}


def test_what_a_living_run_writes_is_told_of(chain):
    for identity, living in ((f"{os.getpid()}.{start_time(os.getpid())}.{machine()}.", True),
                             (f"{os.getpid()}.1.{machine()}.", False)):  # fmt: skip
        name = f"results/models/.c.txt{STAGE_MARK}{owner(identity)}.txt"
        chain.put(name, "half")
        report = verify(chain.records)
        assert [fault.file for fault in report.faults] == ([] if living else [name])
        assert any("being written by a run that goes on" in note for note in report.notes) is living
        (chain / name).unlink()


@pytest.mark.parametrize("signed", [False, True])
def test_a_forged_crate_beside_the_results(chain, tmp_path, signed):
    """Metadata and a seal that call what is gone elsewhere; a run is no crate."""
    from atlas.lineage.command import main
    from atlas.lineage.signature import sign

    key = ()
    if signed:
        _, public = sign(chain.records, tmp_path / "key")
        key = ("--signature", str(public))
    else:
        chain.put("results/provenance/history.jsonl", "")
    gone = {name: (chain / name).read_bytes() for name in (A, B, C)}
    data = json.dumps({"@graph": [
        {"@type": "File", "@id": f"https://example.org/{i}", "sha256": sha(d), "contentSize": "1",
         "alternateName": [name]} for i, (name, d) in enumerate(gone.items())]})  # fmt: skip
    chain.put("ro-crate-metadata.json", data)
    for name in gone:
        (chain / name).unlink()
    files = {f.relative_to(chain.root).as_posix(): sha(f.read_bytes())
             for f in chain.root.rglob("*") if f.is_file()}  # fmt: skip
    chain.put("manifest-sha256.txt", "".join(f"{d}  {n}\n" for n, d in files.items()))
    root = str(chain.root)
    assert main(["verify", "--root", root, *key]) == 1
    assert main(["verify", root, *key]) == 1
    missing = {f.file for f in verify(chain.records).faults if f.kind == "missing"}
    assert missing == {A, B, C}


def test_what_a_crate_leaves_out_is_told(chain):
    """Downloaded weights only; whatever else is gone is missing."""
    weights = "results/sources/bases/b/model.safetensors"
    chain.job({weights: "w"}, rule="fetch_base_1")
    chain.job({"results/models/m.safetensors": "m"}, [weights], rule="train")
    listed = [weights, "results/models/m.safetensors"]
    data = {"@graph": [
        {"@type": "File", "@id": f"https://example.org/{i}", "contentSize": "1",
         "sha256": sha((chain / name).read_bytes()), "alternateName": [name]}
        for i, name in enumerate(listed)]}  # fmt: skip
    chain.put("ro-crate-metadata.json", json.dumps(data))
    for name in listed:
        (chain / name).unlink()
    report = verify(chain.records)
    assert (report.elsewhere, [f.file for f in report.faults]) == ([weights], [listed[1]])
