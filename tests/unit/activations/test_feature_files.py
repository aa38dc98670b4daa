from __future__ import annotations

import h5py
import numpy as np
import pytest

from atlas.activations.feature_files import FEATURES, FeatureShards
from atlas.errors import AtlasError
from unit.activations.feature_world import invented, stored
from unit.conftest import described


def test_the_file_as_others_read_it(world):
    with h5py.File(world.file) as file:
        assert list(file) == [
            "bases", "continuation_probes", "continuations", "models", "probes",
        ]  # fmt: skip
        assert file["continuation_probes"][:].tolist() == [0] * 5 + [1] * 3 + [2] * 4
        assert file["continuations"].asstr()[11] == "žluť"
        assert file["probes"].asstr()[0].startswith("Describe it.")
        for key, chunks in (("layers", (1, 3, 16)), ("logits", (1, 260))):
            item = file["models/lora4"][key]
            assert (item.chunks, item.compression, item.shuffle) == (chunks, "gzip", True)


def test_shards_are_joined_and_must_agree(tmp_path):
    one = invented(tmp_path / "1", {"t": (2, 4)}, {"a": (2, 4)})
    two = invented(tmp_path / "2", {"t": (2, 4)}, {"b": (2, 4)})
    models = described(["b", "a"], "t")
    with FeatureShards([one, two]) as shards:
        expected = (
            stored(two, "models/b")["logits"].astype(float) - stored(two, "bases/t")["logits"]
        )
        np.testing.assert_array_equal(shards.delta(models[0], "logits"), expected)
        np.testing.assert_array_equal(
            shards.delta(models[1], "layers", 1), shards.delta(models[1], "layers")[1]
        )
        with pytest.raises(AtlasError, match="c: its features are missing"):
            shards.delta({"name": "c", "base": "t"}, "logits")
    other = invented(tmp_path / "3", {"t": (2, 4)}, {"b": (2, 4)}, seed=1)
    for key in FEATURES:
        with (
            FeatureShards([one, other]) as shards,
            pytest.raises(AtlasError, match="3: the base t differs from that of another shard"),
        ):
            shards.delta(models[0], key)
    for more in ({"probes": ("p", "q", "s")}, {"texts": ("y",)}):
        path = invented(tmp_path / "4", {"t": (2, 4)}, {"b": (2, 4)}, **more)
        with pytest.raises(AtlasError, match="are not those of the other shards"):  # noqa: SIM117
            with FeatureShards([one, path]):
                pass
    one.write_bytes(one.read_bytes()[:200])
    with pytest.raises(AtlasError, match="not a whole HDF5 file"):  # noqa: SIM117
        with FeatureShards([one]):
            pass
