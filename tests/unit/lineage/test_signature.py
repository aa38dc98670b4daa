from __future__ import annotations

import json
import os
import stat

import pytest

from atlas.errors import AtlasError
from atlas.lineage.signature import MANIFEST, SIGNATURE, check_signature, make_manifest, sign
from atlas.lineage.verify import verify
from unit.job.runs import RAW, A, B, C, D, Run, flip, sha


@pytest.fixture
def signed(tmp_path):
    """A signed chain, its statements and the public key."""
    run = Run(tmp_path / "run")
    made = run.chain()
    _, public = sign(run.records, tmp_path / "key.pem")
    return run, made, public


def found(run, public, names=None):
    return {(f.kind, f.file) for f in check_signature(run.records, public, names).faults}


def test_the_manifest(run):
    made = run.chain()
    assert make_manifest(run.records) == {
        "artefacts": {
            A: {"sha256": sha("a"), "statement": made[A]},
            B: {"sha256": sha("b"), "statement": made[B]},
            C: {"sha256": sha("c"), "statement": made[C]},
        },
        "sources": {RAW: sha("raw")},
        "absent": [],
        "history": {"lines": 0, "head": ""},
        "records": {},
    }


def test_what_was_signed_is_whole(signed):
    run, _, public = signed
    before = {"history": {"lines": 0, "head": ""}}  # the history has a line of the signature since
    assert json.loads((run / MANIFEST).read_bytes()) == make_manifest(run.records) | before
    assert found(run, public) == set()
    assert found(run, public, [A]) == set()
    assert verify(run.records).faults == []  # the manifest is no artefact


def test_a_forged_chain(signed):
    """Every statement is made anew, so that all fits together; only the signature knows better."""
    run, made, public = signed
    forged = {B: run.job({B: "forged"}, [A], rule="split"),
              C: run.job({C: "c of forged"}, [B], rule="train")}  # fmt: skip
    assert verify(run.records).faults == []
    faults = check_signature(run.records, public, None).faults
    assert {(f.kind, f.file, f.expected, f.found) for f in faults} == {
        ("signature", name, made[name], forged[name]) for name in (B, C)
    }
    assert found(run, public, [A]) == set()
    assert found(run, public, [A, B]) == {("signature", B)}


def test_a_forger_who_exchanges_the_source(signed):
    run, _, public = signed
    run.put(RAW, "other")
    run.job({A: "a"}, [RAW], rule="fetch", wildcards={"source": "a"})
    assert verify(run.records).faults == []
    assert found(run, public) == {("signature", A)}


def test_a_forger_who_writes_the_manifest_too(signed):
    run, _, public = signed
    run.job({C: "forged"}, [B], rule="train")
    (run / MANIFEST).write_text(json.dumps(make_manifest(run.records)))
    assert found(run, public) == {("signature", MANIFEST)}


def test_a_forger_who_signs_with_a_key_of_his_own(signed, tmp_path):
    run, _, public = signed
    run.job({C: "forged"}, [B], rule="train")
    _, other = sign(run.records, tmp_path / "other.pem")
    assert found(run, other) == set()
    (fault,) = check_signature(run.records, public, None).faults
    assert (fault.kind, fault.file) == ("signature", MANIFEST)
    assert str(public) in fault.sentence


def test_what_was_removed_or_added_since(signed):
    run, _, public = signed
    (run / C).unlink()
    run.pointer(C).unlink()
    run.job({D: "d"}, [B])
    assert verify(run.records).faults == []
    faults = {f.file: f.sentence for f in check_signature(run.records, public, None).faults}
    assert set(faults) == {C, D}
    assert "has no attestation any more" in faults[C]
    assert "is not in the signed manifest" in faults[D]


def test_a_broken_statement_is_left_to_the_verification(signed):
    run, made, public = signed
    flip(run.statement(made[B]), 50)
    assert found(run, public) == set()
    assert ("statement", B) in {(f.kind, f.file) for f in verify(run.records).faults}


@pytest.mark.parametrize("file", [MANIFEST, SIGNATURE])
def test_one_byte(signed, file):
    run, _, public = signed
    data = (run / file).read_bytes()
    for place in range(0, len(data), max(1, len(data) // 7)):
        flip(run / file, place)
        assert found(run, public) == {("signature", MANIFEST)}
        (run / file).write_bytes(data)
    assert found(run, public) == set()


def test_another_file_beside_the_manifest(signed):
    run, _, public = signed
    run.put(f"{MANIFEST}.more", "")
    assert found(run, public) == {("signature", MANIFEST)}


@pytest.mark.parametrize("file", [MANIFEST, SIGNATURE])
def test_nothing_is_signed(signed, file):
    run, _, public = signed
    (run / file).unlink()
    (fault,) = check_signature(run.records, public, None).faults
    assert (fault.kind, fault.file) == ("signature", file)
    assert "is missing" in fault.sentence


def test_a_key_that_is_not_there(signed, tmp_path):
    with pytest.raises(AtlasError, match=r"no-such\.pub: there is no such key"):
        check_signature(signed[0].records, tmp_path / "no-such.pub", None)


def test_a_key_is_made_for_its_owner_alone(chain, tmp_path):
    before = os.umask(0)
    try:
        key = tmp_path / "new" / "key.pem"
        manifest, public = sign(chain.records, key)
    finally:
        os.umask(before)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert manifest == chain.root.resolve() / MANIFEST
    assert public == tmp_path / "new" / "key.pem.pub"
    assert b"BEGIN PUBLIC KEY" in public.read_bytes()
    assert b"PRIVATE" not in public.read_bytes()


def test_a_key_is_used_again(chain, tmp_path):
    key = tmp_path / "key.pem"
    _, public = sign(chain.records, key)
    private, known = key.read_bytes(), public.read_bytes()
    chain.job({D: "d"}, [C])
    sign(chain.records, key)
    assert (key.read_bytes(), public.read_bytes()) == (private, known)
    assert found(chain, public) == set()


def key_file(place, make, password=None):
    from cryptography.hazmat.primitives import serialization as s

    lock = s.BestAvailableEncryption(password) if password else s.NoEncryption()
    place.write_bytes(make.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, lock))
    return place


def test_what_is_no_key(chain, tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec

    key = tmp_path / "key"
    key.write_text("no key")
    with pytest.raises(AtlasError, match="is not a private key in PEM"):
        sign(chain.records, key)
    key_file(key, ec.generate_private_key(ec.SECP256R1()), b"secret")
    with pytest.raises(AtlasError, match="without a password"):
        sign(chain.records, key)
    assert not (chain / MANIFEST).exists()


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1"])
def test_a_key_of_another_kind(chain, tmp_path, kind):
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    make = (
        ed25519.Ed25519PrivateKey.generate()
        if kind == "ed25519"
        else ec.generate_private_key(ec.SECP256K1())
    )
    with pytest.raises(AtlasError, match="key"):
        sign(chain.records, key_file(tmp_path / "key", make))


def test_a_broken_statement_is_not_signed(run, tmp_path):
    flip(run.statement(run.chain()[A]), 60)
    with pytest.raises(AtlasError, match="was altered"):
        sign(run.records, tmp_path / "key")
    assert not (run / SIGNATURE).exists()
