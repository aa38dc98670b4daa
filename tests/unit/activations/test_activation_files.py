from __future__ import annotations

import numpy as np
import pytest

from atlas.activations.activation_files import assemble, deltas, write_activations
from atlas.errors import AtlasError


def some(n, seed):
    return np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)


def test_shards_are_assembled(tmp_path):
    base = some(2, 0)
    found = {name: some(2, i) for i, name in enumerate("abc", 1)}
    whole, parts = tmp_path / "whole.h5", [tmp_path / "0.h5", tmp_path / "1.h5"]
    write_activations(whole, ["p", "q"], {"t": base}, found)
    write_activations(parts[0], ["p", "q"], {"t": base}, {"b": found["b"]})
    write_activations(parts[1], ["p", "q"], {"t": base}, {k: found[k] for k in "ca"})
    for order in (parts, parts[::-1]):
        assemble(shards=order, models=["a", "b", "c"], activations=tmp_path / "out.h5")
        assert (tmp_path / "out.h5").read_bytes() == whole.read_bytes()


def test_shards_that_do_not_fit(tmp_path):
    one, other = tmp_path / "0.h5", tmp_path / "1.h5"
    write_activations(one, ["p"], {"t": some(1, 0)}, {"a": some(1, 1)})
    write_activations(other, ["p"], {"t": some(1, 2)}, {"b": some(1, 1)})
    with pytest.raises(AtlasError, match=r"1\.h5: the base t differs"):
        assemble(shards=[one, other], models=["a", "b"], activations=tmp_path / "out.h5")
    with pytest.raises(AtlasError, match="the activations of b are missing"):
        assemble(shards=[one], models=["a", "b"], activations=tmp_path / "out.h5")
    one.write_bytes(one.read_bytes()[:-50])
    with pytest.raises(AtlasError, match="not a whole HDF5 file"):
        list(deltas(one, [{"name": "a", "base": "t"}]))


def test_shards_of_other_probes_do_not_fit(tmp_path):
    parts = [tmp_path / "0.h5", tmp_path / "1.h5"]
    write_activations(parts[0], ["p"], {"t": some(1, 0)}, {"a": some(1, 1)})
    write_activations(parts[1], ["q"], {"t": some(1, 0)}, {"b": some(1, 1)})
    with pytest.raises(AtlasError, match="probe"):
        assemble(shards=parts, models=["a", "b"], activations=tmp_path / "out.h5")
