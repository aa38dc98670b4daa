from __future__ import annotations

import hashlib

from atlas.digests import sha256_file, weights_digest


def test_published_vector(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_one_weight_file_has_its_own_digest(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    (tmp_path / "model.safetensors.index.json").write_bytes(b"{}")
    found = weights_digest(list(tmp_path.iterdir()))
    assert found == hashlib.sha256(b"abc").hexdigest()


def test_several_weight_files_in_any_order(tmp_path):
    files = [tmp_path / n for n in ("b.safetensors", "a.safetensors", "x.index.json")]
    for file in files:
        file.write_bytes(file.name.encode())
    lines = "".join(
        f"{hashlib.sha256(n.encode()).hexdigest()}  {n}\n"
        for n in ("a.safetensors", "b.safetensors")
    )
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert weights_digest(files) == weights_digest(files[::-1]) == expected
