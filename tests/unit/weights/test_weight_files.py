"""Which files are the weights of a folder or a repository, by the names of what is there."""

from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.networks.stored_weights import check_files
from atlas.weights.weight_files import INDEX, WHOLE, named_weights

PARTS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_one_file_counts_before_an_index():
    for beside in ([INDEX], PARTS, [INDEX, *PARTS]):
        assert named_weights([WHOLE, *beside], "m") == WHOLE
    assert named_weights([INDEX, *PARTS], "m") == INDEX


def test_a_folder_of_results_in_which_both_are(tmp_path):
    for name in (WHOLE, INDEX, *PARTS):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(AtlasError, match=f"has its weights twice, in {WHOLE} and .* made again"):
        check_files(tmp_path)


@pytest.mark.parametrize(
    ("present", "hint"),
    [
        (["optimizer.pt", "rng_state.pth"], "name the folder that save_pretrained wrote."),
        (["optimizer.pt", "pytorch_model-00001-of-00002.bin"], "pytorch_model-00001-of-00002.bin is a"),
        (["a.gguf", "config.json"], "a.gguf is GGUF, which is not read: convert it with AutoModel"),
        (["README.md", f"x/{WHOLE}", f"y/{INDEX}"], "full models are in its folders x, y: name one of "
         "them (subfolder: x)."),
        (["blobs", "snapshots", "snapshots/1f"], "it is a folder of a hub's cache: name snapshots/1f"),
        (["mine.safetensors"], "mine.safetensors has a name that transformers does not look for"),
        (["adapter_config.json"], "it is an adapter, not a full model: leave out kind: full."),
    ],
)  # fmt: skip
def test_what_is_there_instead_is_told(present, hint):
    with pytest.raises(AtlasError) as raised:
        named_weights(present, "m")
    assert str(raised.value).startswith(f"m: has no {WHOLE}; {hint}")
