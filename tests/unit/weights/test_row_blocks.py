"""Streams of row blocks: what is read, written and hashed."""

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas.digests import weights_digest
from atlas.errors import AtlasError
from atlas.weights.row_blocks import StreamWriter, WeightStream, row_blocks, rows_and_columns
from atlas.weights.tensors import Weights, safetensors_header, write_safetensors

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8]


@st.composite
def some_tensors(draw):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    found = {}
    for i in range(draw(st.integers(1, 5))):
        shape = draw(st.lists(st.integers(0, 5), max_size=3))
        dtype = draw(st.sampled_from(DTYPES))
        found[f"t{i}"] = (torch.randn(shape, generator=generator) * 9).abs().to(dtype)
    return found


@given(tensors=some_tensors(), block=st.integers(1, 30))
def test_written_in_blocks_is_written_whole(tmp_path_factory, tensors, block):
    place = tmp_path_factory.mktemp("s")
    kinds = {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()}
    with StreamWriter(place / "a.safetensors", kinds, {"x": "y"}) as writer:
        for name, tensor in reversed(tensors.items()):
            columns = rows_and_columns(tensor.shape)[1]
            for first, after in row_blocks(tensor.shape, block):
                part = tensor.reshape(-1)[first * columns : after * columns]
                writer.write(name, first * columns, part)
    write_safetensors(place / "b.safetensors", tensors, {"x": "y"})
    data = (place / "a.safetensors").read_bytes()
    assert data == (place / "b.safetensors").read_bytes()
    assert writer.sha256 == hashlib.sha256(data).hexdigest()
    store = Weights([place / "a.safetensors"])
    assert all(torch.equal(store[name], tensor) for name, tensor in tensors.items())
    with WeightStream([place / "a.safetensors"], "a") as stream:
        for name, tensor in sorted(tensors.items(), reverse=len(tensors) % 2 == 0):
            for first, after in row_blocks(tensor.shape, block):
                wanted = tensor.reshape(-1, rows_and_columns(tensor.shape)[1])[first:after]
                assert torch.equal(stream.rows(name, first, after), wanted)
            assert torch.equal(stream.whole(name), tensor)
        assert stream.digest() == writer.sha256


def test_digest_of_shards(tmp_path):
    files = [tmp_path / f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for i, file in enumerate(files):
        write_safetensors(file, {f"t{i}": torch.ones(3)}, {})
    with WeightStream(files, "m") as stream:
        stream.rows("t1", 0, 3)
        assert stream.digest() == weights_digest(files)


def test_wide_tensors_come_first_where_alignment_asks_for_it():
    odd = {"a": (torch.float16, (3,)), "b": (torch.float32, (2,))}
    even = {"a": (torch.float16, (4,)), "b": (torch.float32, (2,))}
    assert list(safetensors_header(odd, {})[1]) == ["b", "a"]
    assert list(safetensors_header(even, {})[1]) == ["a", "b"]


def test_what_is_not_whole_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    unfinished = StreamWriter(path, {"a": (torch.float32, (2,))}, {})
    with pytest.raises(RuntimeError, match="8 bytes were not written"), unfinished:
        pass
    writer = StreamWriter(path, {"a": (torch.float32, (2,))}, {})
    with pytest.raises(TypeError, match="declared as"), writer:
        writer.write("a", 0, torch.ones(2, dtype=torch.float16))


def test_a_file_that_became_shorter_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"a": torch.ones(1000)}, {})
    with WeightStream([path], "m") as stream:
        with path.open("r+b") as handle:
            handle.truncate(500)
        with pytest.raises(AtlasError, match="became shorter while it was read"):
            stream.rows("a", 0, 1000)
