"""Which files of a model are its weights, and how they lie in as many files as a rule declares."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from atlas.digests import joint_digest, sha256_file
from atlas.errors import AtlasError
from atlas.files import link
from atlas.weights.other_formats import gguf_hint, pickled_weights
from atlas.weights.row_blocks import StreamWriter, WeightStream, row_blocks
from atlas.weights.tensors import CONVERT, Kinds, read_index, shard_groups, write_index

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PART = re.compile(r"model-\d+-of-(\d+)\.safetensors")


def named_weights(present: Iterable[str], where: str) -> str:
    """The file that says where the weights are, as transformers looks for it: all in one, or the index.

    :param present: names of the files of a folder or a repository.
    :raises AtlasError: where there is neither, with what is there instead.
    """
    there = sorted(present)
    for name in (WHOLE, INDEX):
        if name in there:
            return name
    if "adapter_config.json" in there:
        hint = "it is an adapter, not a full model: leave out kind: full"
    elif others := [n for n in there if n.endswith(".safetensors") and "/" not in n]:
        hint = f"{others[0]} has a name that transformers does not look for: save_pretrained writes {WHOLE}"
    else:
        hint = instead(there, "name the folder that save_pretrained wrote")
    raise AtlasError(f"{where}: has no {WHOLE}; {hint}.")


def instead(present: Collection[str], otherwise: str) -> str:
    """What is there in the place of weights that can be read, and what to do about it.

    :param present: as of :func:`named_weights`; of a folder, with what is in folders of it.
    :param otherwise: where nothing of it is known.
    """
    if pickles := pickled_weights(present):
        return f"{pickles[0]} is a pickle, which is refused: {CONVERT}"
    if hint := gguf_hint(present):
        return hint
    if below := folders_of_weights(present):
        return f"full models are in its folders {', '.join(below)}: name one of them (subfolder: {below[0]})"
    folders = [name for name in present if name.startswith("snapshots/")]
    if "snapshots" in present and folders:
        return f"it is a folder of a hub's cache: name {' or '.join(folders)} in it"
    return otherwise


def folders_of_weights(present: Iterable[str]) -> list[str]:
    """Folders in a folder or a repository that hold the weights of a full model, sorted."""
    places = (name.rpartition("/") for name in present)
    return sorted({folder for folder, _, name in places if folder and name in (WHOLE, INDEX)})


def listed_files(index: Path) -> list[str]:
    """Files of the weights, by what an index says, or the one of all weights, and the index."""
    if index.name == WHOLE:
        return [WHOLE]
    return [*sorted(set(read_index(index).values())), INDEX]


def place_weights(
    files: Sequence[Path], names: Sequence[str], targets: Sequence[Path],
    bring: Callable[[Path, Path], None] = link,
) -> None:  # fmt: skip
    """Bring weights to where a rule wants them; in another number of files they are written anew.

    Tensors, their names and their dtypes stay as they are.

    :param files: as they are stored, the index last. :param names: final names of `targets`.
    :param bring: :func:`atlas.files.copy` for those of an artefact.
    """
    if [file.name for file in files] == list(names):
        for file, target in zip(files, targets, strict=True):
            bring(file, target)
        return
    with WeightStream(files, files[0].parent.name) as stored:
        tensors = stored.tensors
        sizes = {n: t.dtype.itemsize * math.prod(t.shape) for n, t in tensors.items()}
        groups = shard_groups(sizes, max(len(targets) - 1, 1))
        for target, group in zip(targets, groups, strict=False):
            kinds: Kinds = {n: (tensors[n].dtype, tensors[n].shape) for n in group}
            with StreamWriter(target, kinds, {"format": "pt"}) as writer:
                blocks = ((n, *at) for n in writer.order for at in row_blocks(tensors[n].shape))
                for turn, (name, first, after) in enumerate(blocks):
                    # A block is written while the next is read.
                    rows = stored.rows(name, first, after, f"{turn % 3}")
                    writer.write(name, first * tensors[name].columns, rows.reshape(-1))
        if len(targets) > 1:
            write_index(targets[-1], names, groups, sum(sizes.values()))


def placed_digest(targets: Sequence[Path], names: Sequence[str]) -> str:
    """The weights digest of files under their final names (:func:`atlas.digests.weights_digest`)."""
    files = zip(names, targets, strict=True)
    return joint_digest({n: sha256_file(t) for n, t in files if n.endswith(".safetensors")})
