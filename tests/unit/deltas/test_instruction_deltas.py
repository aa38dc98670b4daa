"""Instruction deltas against plain computations."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas.deltas.blocks import DeltaFile
from atlas.deltas.instruction_deltas import identity
from atlas.digests import sha256_file, weights_digest
from atlas.errors import AtlasError
from atlas.files import read_json, write_json
from atlas.weights.row_blocks import WeightStream
from atlas.weights.tensor_kinds import kind, layer
from atlas.weights.tensors import Weights
from unit.deltas.instruction_models import (
    TIED,
    delta_of,
    family,
    files,
    merge,
    moved,
    plain_models,
    tensors,
    write,
)


def stored(file):
    store = Weights([file])
    return {name: store[name] for name in store}


def read_back(delta):
    """The deltas of a file as whole tensors, float32, read block by block."""
    meta = json.loads(delta[1].read_text())
    with WeightStream([delta[0]], "delta") as stream:
        read = DeltaFile(stream, meta["tensors"])
        return {
            name: read.block(name, 0, math.prod(shape[:-1]) if len(shape) > 1 else shape[0])
            .clone().reshape(shape)
            for name, shape in read.shapes.items()
        }  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "float32", "model"])
def test_delta_is_the_difference_rounded_once(bfloat_models, tmp_path, dtype):
    base, instruct, _ = bfloat_models
    delta = delta_of(base, instruct, tmp_path / "d", dtype)
    found, ours, theirs = stored(delta[0]), tensors(base), tensors(instruct)
    assert set(found) == set(ours)
    for name, value in found.items():
        narrow = kind(name, value.shape) in ("embedding", "norm")
        wanted = {"float16": torch.float16, "float32": torch.float32, "model": torch.bfloat16}[
            dtype
        ]
        assert value.dtype == (torch.float32 if narrow else wanted), name
        assert torch.equal(value, (theirs[name].float() - ours[name].float()).to(value.dtype))


def test_meta_says_what_the_delta_is(bfloat_models, tmp_path):
    base, instruct, _ = bfloat_models
    delta = delta_of(base, instruct, tmp_path / "d", "float16")
    meta = json.loads(delta[1].read_text())
    ours, theirs = tensors(base), tensors(instruct)
    wide = {n: theirs[n].double() - ours[n].double() for n in ours}
    assert meta["base"] == {"name": "base", "weights_sha256": weights_digest(files(base))}
    assert meta["instruct"]["weights_sha256"] == weights_digest(files(instruct))
    assert meta["delta_sha256"] == sha256_file(delta[0])
    assert meta["dtypes"] == {"embedding": "float32", "norm": "float32", "matrix": "float16"}
    assert meta["config"] == {"eos_token_id": 3}
    total = meta["total"]
    assert total["tensors"] == len(ours)
    assert meta["tensors_changed"] == sum(bool((v != 0).any()) for v in wide.values())
    assert total["elements"] == sum(v.numel() for v in wide.values())
    assert total["elements_changed"] == sum(int((v != 0).sum()) for v in wide.values())
    norm = math.sqrt(sum(float(v.square().sum()) for v in wide.values()))
    size = math.sqrt(sum(float(v.double().square().sum()) for v in ours.values()))
    assert total["l2"] == pytest.approx(norm, rel=1e-6)
    assert total["l2_relative"] == pytest.approx(norm / size, rel=1e-6)
    first = math.sqrt(sum(float(v.square().sum()) for n, v in wide.items() if ".0." in n))
    assert meta["layers"]["layer 0"]["l2"] == pytest.approx(first, rel=1e-6)
    assert set(meta["layers"]) == {"layer 0", "layer 1", "lm_head.weight", "model.norm.weight",
                                   "model.embed_tokens.weight"}  # fmt: skip


def test_underflow_is_counted(tmp_path):
    base, _, _ = family(tmp_path, dtype="float32")
    name = "model.layers.0.self_attn.q_proj.weight"

    def change(weights):
        weights.update(tensors(base))
        flat = weights[name].view(-1)
        small = torch.tensor([2.0**-26, -(2.0**-25), 2.0**-24, 1e-5, 2.0**-14, 0.0, 1.0, 2.0**-30])
        flat[:8] = small

    zero = tensors(base)
    zero[name].view(-1)[:8] = 0
    write(base, zero)
    with pytest.raises(AtlasError, match=r"^base: its weights are not those that its base\.json"):
        delta_of(base, base, tmp_path / "d", "float16")
    record = {**read_json(base / "base.json"), "weights_sha256": weights_digest(files(base))}
    write_json(base / "base.json", record)
    instruct = moved(base, tmp_path / "small", 1, change=change)
    meta = json.loads(delta_of(base, instruct, tmp_path / "d", "float16")[1].read_text())
    found = meta["tensors"][name]
    assert found["elements_changed"] == 7
    assert found["underflow"]["to_zero"] == 3
    assert found["underflow"]["elements"] == 5
    assert found["underflow"]["share"] == pytest.approx(5 / zero[name].numel())
    assert meta["total"]["underflow"]["elements"] == 5
    exact = json.loads(delta_of(base, instruct, tmp_path / "e", "float32")[1].read_text())
    assert exact["total"]["underflow"]["elements"] == 0


def test_bytes_are_the_same_each_time_and_whatever_the_block(bfloat_models, tmp_path, monkeypatch):
    base, instruct, _ = bfloat_models
    for more in ({}, {"keep": 0.1}, {"rank": 2}):
        one = delta_of(base, instruct, tmp_path / "one", "float16", **more)
        two = delta_of(base, instruct, tmp_path / "one2", "float16", **more)
        assert one[0].read_bytes() == two[0].read_bytes()
        if "rank" not in more:
            with monkeypatch.context() as patch:
                patch.setattr("atlas.weights.row_blocks.BLOCK", 100)
                small = delta_of(base, instruct, tmp_path / "small", "float16", **more)
            assert one[0].read_bytes() == small[0].read_bytes()


@pytest.mark.parametrize("shards", [1, 3])
def test_shards_make_no_difference(tmp_path, shards):
    base, instruct, _ = family(tmp_path, shards=shards, base_shards=2)
    delta = delta_of(base, instruct, tmp_path / "d")
    ours, theirs = tensors(base), tensors(instruct)
    for name, value in stored(delta[0]).items():
        assert torch.equal(value, theirs[name] - ours[name])
    meta = json.loads(delta[1].read_text())
    assert meta["base"]["weights_sha256"] == weights_digest(files(base))
    assert meta["instruct"]["weights_sha256"] == weights_digest(files(instruct))


def test_a_stored_copy_of_tied_embeddings_is_no_tensor_of_its_own(tmp_path):
    base, instruct, _ = family(tmp_path, TIED)
    assert "lm_head.weight" not in tensors(base)
    weights = tensors(instruct)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    write(instruct, weights)
    assert "lm_head.weight" not in stored(delta_of(base, instruct, tmp_path / "d")[0])
    weights["lm_head.weight"][0, 0] += 1
    write(instruct, weights)
    with pytest.raises(AtlasError, match=r"base: has no tensor lm_head\.weight"):
        delta_of(base, instruct, tmp_path / "e")


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_keeps_the_largest(bfloat_models, tmp_path):
    base, instruct, _ = bfloat_models
    delta = delta_of(base, instruct, tmp_path / "d", "float32", keep=0.1)
    meta = json.loads(delta[1].read_text())
    ours, theirs, back = tensors(base), tensors(instruct), read_back(delta)
    for name, found in back.items():
        whole = theirs[name].float() - ours[name].float()
        if kind(name, whole.shape) == "norm":
            assert torch.equal(found, whole)
            continue
        count = max(1, round(0.1 * whole.numel()))
        limit = whole.abs().view(-1).sort(descending=True)[0][count - 1]
        kept = found != 0
        assert int(kept.sum()) == count
        assert torch.equal(found[kept], whole[kept])
        assert bool((whole.abs()[kept] >= limit).all())
        assert bool((whole.abs()[~kept] <= limit).all())
        error = float((whole - found).double().norm() / whole.double().norm())
        assert meta["tensors"][name]["error_relative"] == pytest.approx(error, rel=1e-5)
        matrix = torch.sparse_csr_tensor(
            *(stored(delta[0])[f"{name}.{part}"] for part in
              ("crow_indices", "col_indices", "values")), size=whole.shape,
        )  # fmt: skip
        assert torch.equal(matrix.to_dense(), found)


def test_low_rank_is_the_truncated_svd(bfloat_models, tmp_path):
    base, instruct, _ = bfloat_models
    delta = delta_of(base, instruct, tmp_path / "d", "float32", rank=3)
    meta = json.loads(delta[1].read_text())
    ours, theirs, back = tensors(base), tensors(instruct), read_back(delta)
    ways = {name: entry["storage"] for name, entry in meta["tensors"].items()}
    assert "low_rank" in ways.values()
    for name, way in ways.items():
        whole = theirs[name].double() - ours[name].double()
        if way == "dense":
            continue
        u, s, v = torch.linalg.svd(whole, full_matrices=False)
        best = (u[:, :3] * s[:3]) @ v[:3]
        assert torch.allclose(back[name].double(), best, atol=1e-5 * float(s[0])), name
        least = float(s[3:].norm() / s.norm())
        assert meta["tensors"][name]["error_relative"] == pytest.approx(least, rel=1e-4)


DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@given(
    shape=st.lists(st.integers(1, 7), min_size=0, max_size=3),
    dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)),
    scale=st.sampled_from([1e-7, 1e-3, 1.0, 1e3]), wanted=st.sampled_from(["float16", "float32", "model"]),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_any_shape_and_dtype(tmp_path_factory, shape, dtypes, scale, wanted, seed):
    generator = torch.Generator().manual_seed(seed)
    ours = {"layers.0.w.weight": (torch.randn(shape, generator=generator) * scale).to(dtypes[0])}
    theirs = {"layers.0.w.weight": (torch.randn(shape, generator=generator) * scale).to(dtypes[1])}
    place = tmp_path_factory.mktemp("any")
    base, instruct = plain_models(place, ours, theirs)
    delta = delta_of(base, instruct, place / "d", wanted)
    (found,) = stored(delta[0]).values()
    (one,), (two,) = ours.values(), theirs.values()
    exact = (two.double() - one.double()).numpy()
    # Once from float32: of the float64 answer, rounded, it is at most one unit away.
    best = torch.from_numpy(exact).to(found.dtype)
    assert found.shape == best.shape
    unit = np.maximum(np.abs(exact), torch.finfo(found.dtype).smallest_normal)
    unit = 2.0 ** np.floor(np.log2(unit)) * torch.finfo(found.dtype).eps
    assert bool((np.abs(found.double().numpy() - exact) <= unit * (0.5 + 2.0**-12)).all())
    back = identity(base=files(base), instruct=files(instruct), delta=delta[0], meta=delta[1])
    assert back["outside_bound"] == 0
    assert back["elements"] == one.numel()


def test_identity_counts_what_is_bit_exact(bfloat_models, tmp_path):
    base, instruct, _ = bfloat_models
    for dtype in ("float32", "float16", "model"):
        delta = delta_of(base, instruct, tmp_path / dtype, dtype)
        back = identity(base=files(base), instruct=files(instruct), delta=delta[0], meta=delta[1])
        ours, theirs, change = tensors(base), tensors(instruct), stored(delta[0])
        same = sum(
            int(((ours[n].float() + change[n].float()).to(ours[n].dtype) == theirs[n]).sum())
            for n in ours
        )
        assert back["bit_exact"] == same
        assert back["outside_bound"] == 0
        assert back["share"] == same / back["elements"]
    assert back["share"] > 0.9
    sparse = delta_of(base, instruct, tmp_path / "sparse", "float32", keep=0.01)
    back = identity(base=files(base), instruct=files(instruct), delta=sparse[0], meta=sparse[1])
    assert back["outside_bound"] > 0


def test_kinds_and_layers():
    matrix, vector = (4, 4), (4,)
    assert kind("model.embed_tokens.weight", matrix) == "embedding"
    assert kind("transformer.wte.weight", matrix) == "embedding"
    assert kind("lm_head.weight", matrix) == "embedding"
    assert kind("model.layers.3.input_layernorm.weight", vector) == "norm"
    assert kind("model.layers.3.self_attn.q_norm.weight", vector) == "norm"
    assert kind("transformer.h.1.ln_1.bias", vector) == "norm"
    assert kind("transformer.ln_f.weight", vector) == "norm"
    assert kind("model.layers.3.self_attn.q_proj.bias", vector) == "bias"
    assert kind("model.layers.3.self_attn.q_proj.weight", matrix) == "matrix"
    assert kind("model.layers.3.mlp.experts.down_proj", (2, 4, 4)) == "matrix"
    assert layer("model.layers.12.mlp.up_proj.weight") == "layer 12"
    assert layer("model.norm.weight") == "model.norm.weight"


class Told:
    """Digests as a job knows them."""

    def __init__(self):
        self.asked, self.found = [], {}

    def sha256(self, path):
        self.asked.append(path)
        return self.found.get(path) or sha256_file(path)

    def put(self, path, digest):
        self.found[path] = digest


def test_what_a_job_knows_is_not_hashed_again(tmp_path, monkeypatch):
    base, instruct, model = family(tmp_path, shards=2)
    wanted = delta_of(base, instruct, tmp_path / "d")
    merged = merge(model, base, instruct, wanted, tmp_path / "m", 2)
    told = Told()
    (tmp_path / "k").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("atlas.weights.row_blocks.weights_digest", None)
        found = delta_of(base, instruct, tmp_path / "k" / "d", digests=told)
        again = merge(model, base, instruct, found, tmp_path / "k" / "m", 2, digests=told)
    for one, two in zip(
        files(tmp_path / "d") + files(merged), [*sorted(found), *files(again)], strict=True
    ):
        assert one.read_bytes() == two.read_bytes()
    written = [f for f in [*found, *files(again)] if f.suffix == ".safetensors"]
    assert told.found == {file: sha256_file(file) for file in written}
    assert {f.parent.name for f in told.asked} == {"base", "instruct", "model", "d"}
    told.found[base / "model.safetensors"] = "0" * 64
    with pytest.raises(AtlasError, match=r"^base: its weights are not those"):
        delta_of(base, instruct, tmp_path / "e", digests=told)
    told.found[found[0]] = "0" * 64
    with pytest.raises(AtlasError, match="is not the file that its delta_meta"):
        merge(model, base, instruct, found, tmp_path / "f", digests=told)


@pytest.mark.parametrize("left", [b"", b"x" * 10, b"x" * 10**6])
def test_what_a_killed_run_left_is_written_over(bfloat_models, tmp_path, left):
    base, instruct, _ = bfloat_models
    wanted = delta_of(base, instruct, tmp_path / "d")
    (tmp_path / "k").mkdir()
    killed = shutil.copytree(tmp_path / "d", tmp_path / "k" / "d")
    (killed / "delta.safetensors").write_bytes(left)
    again = delta_of(base, instruct, killed)
    assert [f.read_bytes() for f in again] == [f.read_bytes() for f in wanted]
