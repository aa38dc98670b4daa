from __future__ import annotations

import pickle
import string

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from atlas.errors import AtlasError
from atlas.files import read_json, write_json
from atlas.plan.resolved import weight_names
from atlas.weights.tensors import (
    Weights,
    check_finite,
    refuse_pickle,
    write_safetensors,
    write_shards,
)

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
          torch.int16, torch.int8, torch.uint8, torch.bool]  # fmt: skip
names = st.text(string.ascii_letters + "._é", min_size=1, max_size=8)
arrays = hnp.arrays(np.int8, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


@st.composite
def tensor_sets(draw):
    return {
        name: torch.from_numpy(draw(arrays)).to(draw(st.sampled_from(DTYPES)))
        for name in draw(st.lists(names, max_size=4, unique=True))
    }


@given(tensors=tensor_sets(), metadata=st.dictionaries(names, names, max_size=3))
def test_the_library_reads_what_is_written(tmp_path_factory, tensors, metadata):
    file = tmp_path_factory.mktemp("t") / "a.safetensors"
    write_safetensors(file, tensors, metadata)
    read = load_file(file)
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    with safe_open(file, "pt") as handle:
        assert (handle.metadata() or {}) == metadata
    other = file.with_name("b.safetensors")
    backwards = dict(reversed(list(tensors.items())))
    write_safetensors(other, backwards, dict(reversed(list(metadata.items()))))
    assert other.read_bytes() == file.read_bytes()


def test_views_are_written_as_they_look(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    write_safetensors(tmp_path / "a", {"t": whole.t(), "part": whole[:, 1:2]}, {})
    read = load_file(tmp_path / "a")
    assert torch.equal(read["t"], whole.t())
    assert read["part"].tolist() == [[1], [5], [9]]


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_shards_are_read_together(tmp_path, shards):
    tensors = {f"t{i}": torch.full((2, i + 1), float(i)) for i in range(6)}
    names = weight_names(shards)
    files = [tmp_path / n for n in names]
    write_shards(files, names, tensors)
    weights = Weights(files)
    assert list(weights) == sorted(tensors)
    assert all(torch.equal(weights[n], tensors[n]) for n in tensors)
    assert weights.shape("t4") == (2, 5)
    if shards > 1:
        index = read_json(files[-1])
        assert index["metadata"]["total_size"] == sum(4 * t.numel() for t in tensors.values())
        for file in files[:-1]:
            assert load_file(file).keys() == {
                k for k, v in index["weight_map"].items() if v == file.name
            }
            assert load_file(file)


def test_index_that_does_not_fit(tmp_path):
    names = weight_names(2)
    files = [tmp_path / n for n in names]
    write_shards(files, names, {"a": torch.ones(2), "b": torch.ones(2)})
    write_json(files[-1], {"weight_map": {"a": names[0], "b": names[0]}})
    with pytest.raises(AtlasError, match=f"puts b into {names[0]}, and it stands in {names[1]}"):
        Weights(files)


def test_a_tensor_twice(tmp_path):
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"x": torch.ones(1)}, tmp_path / name)
    with pytest.raises(AtlasError, match="x stands in another file"):
        Weights([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])


def test_truncated_file(tmp_path):
    file = tmp_path / "a.safetensors"
    write_safetensors(file, {"x": torch.ones(100)}, {})
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(AtlasError, match="not a whole safetensors file"):
        Weights([file])


def test_pickles_are_refused_whatever_their_name(tmp_path):
    for name in ("adapter_model.bin", "model.pt", "x.pkl"):
        (tmp_path / name).write_bytes(b"anything")
    torch.save({"x": torch.ones(1)}, tmp_path / "zip.safetensors")
    (tmp_path / "old.safetensors").write_bytes(pickle.dumps({"x": 1}, protocol=2))
    (tmp_path / "new.safetensors").write_bytes(pickle.dumps({"x": 1}))
    for file in tmp_path.iterdir():
        with pytest.raises(AtlasError, match=f"{file.name}: .*(pickle|not a whole safetensors)"):
            Weights([file])
    with pytest.raises(AtlasError, match="convert it to safetensors"):
        refuse_pickle(tmp_path / "zip.safetensors")
    with pytest.raises(AtlasError, match="no such file"):
        refuse_pickle(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_not_finite_is_named(bad, dtype):
    tensors = {"fine": torch.ones(2), "counts": torch.tensor([1]),
               "odd": torch.tensor([0.0, bad], dtype=dtype)}  # fmt: skip
    with pytest.raises(AtlasError, match="here: the tensor odd has NaN or Inf"):
        check_finite(tensors, "here")
    del tensors["odd"]
    check_finite(tensors, "here")
