"""Files as they come: what is a safetensors file, and what is refused before anything reads it."""

from __future__ import annotations

import json
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save

from atlas.errors import AtlasError
from atlas.weights.tensors import Weights, check_stored, refuse_pickle

PLAIN = save({"w": torch.arange(4.0)})


def with_header_of(length):
    """A safetensors file whose header has so many bytes."""
    size = int.from_bytes(PLAIN[:8], "little")
    header = json.dumps(json.loads(PLAIN[8 : 8 + size])).encode().ljust(length)
    return length.to_bytes(8, "little") + header + PLAIN[8 + size :]


@pytest.mark.parametrize("start", [b"PK", b"\x80\x02"])
def test_a_header_may_be_as_long_as_a_zip_or_a_pickle_begins(tmp_path, start):
    file = tmp_path / "model.safetensors"
    file.write_bytes(with_header_of(int.from_bytes(start, "little")))
    assert file.read_bytes()[:2] == start
    assert torch.equal(Weights([file])["w"], torch.arange(4.0))


def zipped(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({}))


@pytest.mark.parametrize(
    "write",
    [
        zipped,
        lambda file: torch.save({"w": torch.ones(2)}, file),
        lambda file: torch.save({"w": torch.ones(2)}, file, _use_new_zipfile_serialization=False),
        lambda file: file.write_bytes(pickle.dumps({"w": [1.0]}, protocol=2)),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pickle_is_refused_under_any_name(tmp_path, write, name):
    write(tmp_path / name)
    with pytest.raises(AtlasError, match=f"{name}: a pickle.*convert it to safetensors"):
        refuse_pickle(tmp_path / name)
    with pytest.raises(AtlasError, match=f"{name}: a pickle"):
        Weights([tmp_path / name])


@pytest.mark.parametrize(
    "content",
    [
        PLAIN[:-3], PLAIN[:5], b"", b"<html>404</html>", pickle.dumps({"w": [1.0]}, protocol=4),
    ],
    ids=["cut", "cut short", "empty", "a page", "a newer pickle"],
)  # fmt: skip
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(AtlasError, match=r"model.safetensors: (not a whole safetensors|a pickle)"):
        Weights([file])


def test_a_pointer_of_git_lfs_is_told(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(AtlasError, match=r"model.safetensors: is what Git LFS .*`git lfs pull`"):
        Weights([file])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AtlasError, match=r"model.safetensors: there is no such file"):
        Weights([tmp_path / "model.safetensors"])


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.zeros(0), "is empty.*ZeRO-3.*zero_to_fp32"),
        (torch.ones(8, 1, dtype=torch.uint8), "is uint8: weights of 4 or 8 bits.*dequantised"),
        (torch.ones(8, dtype=torch.int8), "is int8"),
        (torch.ones(8).to(torch.float8_e4m3fn), "is float8_e4m3fn"),
        (torch.tensor([1.0, float("nan")]), "NaN or Inf"),
        (torch.tensor([float("inf")], dtype=torch.float16), "NaN or Inf"),
    ],
)
def test_what_is_no_weight_is_refused(tensor, reason):
    with pytest.raises(
        AtlasError, match=f"file: the tensor w .*{reason}|file: the tensor w has NaN"
    ):
        check_stored({"w": tensor}, "file")


def test_names_of_torch_compile_are_told():
    with pytest.raises(
        AtlasError, match=r"file: the tensor _orig_mod\.w has a name of torch\.compile"
    ):
        check_stored({"_orig_mod.w": torch.ones(1)}, "file")


def test_what_may_stand_beside_weights_is_taken():
    largest = torch.full((4,), torch.finfo(torch.float32).max)  # whose sum is not finite
    check_stored(
        {"a": largest, "ids": torch.arange(3), "mask": torch.ones(2, dtype=torch.bool)}, "f"
    )
    check_stored({"logits_A_topk_indices": torch.ones(3, dtype=torch.uint8)}, "f")
