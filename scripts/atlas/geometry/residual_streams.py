"""Residual streams of a model on prompts, through hooks on transformers' own modules.

``resid_pre`` is the stream that goes into a block (into the first: the embeddings); ``resid_mid`` is
the stream after attention's part was added, before the norm of the MLP; ``resid_post`` is the output
of the block. The last ``resid_post`` is before the final norm.
"""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from atlas.errors import AtlasError
from atlas.files import read_json, read_jsonl
from atlas.geometry.stream_files import POSITIONS, USUAL, hook_name, hook_names, write_streams
from atlas.networks.architectures import device_of
from atlas.networks.shards import loaded_model
from atlas.networks.tokens import Tokens, padded
from atlas.networks.virtual_tokens import refuse_wrapped
from atlas.progress import Progress
from atlas.weights.tensors import write_safetensors

Array = np.ndarray[Any, Any]
# The module of a block whose input is the stream after attention: the norm before the MLP, or the
# MLP itself where the norms come after attention and MLP.
BEFORE_MLP = {
    "llama": "post_attention_layernorm", "mistral": "post_attention_layernorm",
    "smollm3": "post_attention_layernorm", "qwen2": "post_attention_layernorm",
    "qwen3": "post_attention_layernorm", "gemma": "post_attention_layernorm",
    "gemma2": "pre_feedforward_layernorm", "gemma3_text": "pre_feedforward_layernorm",
    "olmo2": "mlp", "olmo3": "mlp",
}  # fmt: skip
BATCH_TOKENS = 4096  # tokens of a batch, padding among them
PART_BYTES = 64 << 20  # of activations in memory, and of a part file


def blocks(network: Any) -> tuple[list[Any], str]:
    """The blocks of a network, and the name of the module in each that ``resid_mid`` goes into.

    :raises AtlasError: for an architecture whose order of norms is not known here.
    """
    refuse_wrapped(network, "residual streams")
    body = network.base_model
    body = getattr(body, "language_model", body)
    kind = body.config.model_type
    if kind not in BEFORE_MLP:
        raise AtlasError(
            f"residual streams of the architecture {kind} are not known; those of "
            f"{', '.join(sorted(BEFORE_MLP))} are."
        )
    return list(body.layers), BEFORE_MLP[kind]


@contextlib.contextmanager
def streams(network: Any, keep: Any, wanted: Collection[str] = USUAL) -> Iterator[None]:
    """Within this context, each forward pass calls ``keep(hook, stream)``, block by block.

    The stream is (batch, tokens, d) in the precision of the network, and may not be changed.

    :param wanted: streams of each block that are read, of STREAMS in atlas.geometry.stream_files.
    :raises AtlasError: for an unknown architecture.
    """
    layers, before = blocks(network)
    with contextlib.ExitStack() as stack:
        for i, block in enumerate(layers):
            for stream, module in (("resid_pre", block), ("resid_mid", getattr(block, before))):
                name = hook_name(i, stream)

                def going_in(_: Any, inputs: tuple[torch.Tensor, ...], hook: str = name) -> None:
                    keep(hook, inputs[0])

                if stream in wanted:
                    stack.enter_context(module.register_forward_pre_hook(going_in))

            def coming_out(
                _: Any, inputs: Any, output: Any, hook: str = hook_name(i, "resid_post")
            ) -> None:
                keep(hook, output[0] if isinstance(output, tuple) else output)

            if "resid_post" in wanted:
                stack.enter_context(block.register_forward_hook(coming_out))
        yield


def length_batches(lengths: Sequence[int], most: int = BATCH_TOKENS) -> list[list[int]]:
    """Prompts of similar length in batches: sorted by length, then by place.

    :param lengths: tokens of each prompt. :param most: tokens of a batch, padding among them; a
        longer prompt is a batch of its own. :returns: positions in `lengths`.
    """
    found: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        # The prompt is the longest one yet, so the batch has its width.
        if found and (len(found[-1]) + 1) * lengths[i] <= most:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def grouped(
    batches: Sequence[list[int]], lengths: Sequence[int], positions: str, row_bytes: int, most: int
) -> list[list[list[int]]]:
    """Batches in parts whose activations have about `most` bytes, at least a batch each.

    :param row_bytes: of all hooks at one position.
    """
    parts: list[list[list[int]]] = []
    size = 0
    for batch in batches:
        rows = sum(lengths[i] for i in batch) if positions == "all" else len(batch)
        if not parts or size + rows * row_bytes > most:
            parts.append([])
            size = 0
        parts[-1].append(batch)
        size += rows * row_bytes
    return parts


@torch.inference_mode()
def read_streams(
    network: Any, ids: Sequence[Sequence[int]], positions: str, wanted: Collection[str] = USUAL
) -> dict[str, list[torch.Tensor]]:
    """Residual streams of one batch of prompts, without the language-model head.

    :param ids: tokens of each prompt; they are padded at the end, where a causal model cannot see
        it. :param positions: ``last_token`` or ``mean`` (over the tokens of a prompt, in float32):
        (d,) per prompt; ``all``: (tokens, d) per prompt. :param wanted: streams of each block.
    :returns: hook -> a tensor per prompt, on the network's device, in its precision (``mean``:
        float32).
    """
    if positions not in POSITIONS:
        raise AtlasError(f"positions is {positions}; it is one of {', '.join(POSITIONS)}.")
    device = device_of(network)
    lengths = torch.tensor([len(row) for row in ids], device=device)
    width = max(len(row) for row in ids)
    tokens = padded(ids, 0, device)
    places = torch.arange(len(ids), device=device)
    real = (torch.arange(width, device=device) < lengths[:, None])[..., None]
    found: dict[str, list[torch.Tensor]] = {}

    def keep(hook: str, stream: torch.Tensor) -> None:
        if positions == "last_token":
            found[hook] = list(stream[places, lengths - 1])
        elif positions == "mean":
            # Not a product with the mask: the stream at the padding may not be finite.
            total = stream.float().where(real, 0.0).sum(dim=1)
            found[hook] = list(total / lengths[:, None])
        else:
            found[hook] = [row[: len(one)] for row, one in zip(stream, ids, strict=True)]

    with streams(network, keep, wanted):
        network.base_model(input_ids=tokens, use_cache=False)
    return found


def solution(row: dict[str, Any]) -> str:
    """What a row of a task has after its prompt: the completion, or of a preference what was chosen."""
    return str(row["completion"] if "completion" in row else row["chosen"])


def prompt_rows(prompts: Path, most: int | None, shots: int = 0) -> list[dict[str, Any]]:
    """The first rows of a file of a task, each prompt after `shots` solved examples.

    The examples are the last rows of the file, which are no prompts then, the same ones in the same
    order before each prompt: prompt and completion (of a preference, what was chosen), and a blank
    line after each.

    :param prompts: rows (JSONL) with ``prompt``, and with ``completion`` or ``chosen``.
    :param most: how many prompts, or all.
    :raises AtlasError: where fewer than two prompts are left beside the examples.
    """
    rows = read_jsonl(prompts)
    left = len(rows) - shots
    if shots and left < 2:
        raise AtlasError(
            f"{prompts}: {len(rows)} rows leave fewer than two prompts beside {shots} solved "
            "examples; ask for fewer shots, or hold more rows out."
        )
    examples = "".join(f"{row['prompt']}{solution(row)}\n\n" for row in rows[left:])
    return [row | {"prompt": examples + row["prompt"]} for row in rows[:left][:most]]


def prompt_tokens(
    prompts: Path, folder: Path, most: int | None, shots: int = 0
) -> tuple[list[str], list[list[int]]]:
    """The first prompts of a file (:func:`prompt_rows`), and their tokens as a base has them.

    :param folder: of the base.
    :raises AtlasError: where a prompt is empty.
    """
    texts = [row["prompt"] for row in prompt_rows(prompts, most, shots)]
    tokens = Tokens(folder)
    ids = [tokens.prompt(text) for text in texts]
    for number, one in enumerate(ids, start=1):
        if not one:
            raise AtlasError(f"{prompts}: prompt {number} has no tokens; leave it out.")
    return texts, ids


def extract_streams(
    *, prompts: Path, base: list[Path], model: list[Path], base_names: list[str], dtype: str,
    most: int | None, positions: str, precision: str, activations: Path, scratch: Path,
    shots: int = 0, wanted: Collection[str] = USUAL, part_bytes: int = PART_BYTES,
    batch_tokens: int = BATCH_TOKENS,
) -> None:  # fmt: skip
    """Residual streams of a base, or of a model of it, in the format of atlas.geometry.stream_files.

    Part files are written whole into `scratch` and joined in one pass; a job that was killed goes
    on after its last part and ends in the same bytes. Where they are NaN or Inf, they are stored
    as they are: :mod:`atlas.geometry.stream_quality` reports it.

    :param prompts, most, shots: prompts of a task (:func:`prompt_rows`).
    :param model: files of the model; none for the base itself.
    :param wanted: streams of each block. :param positions: last_token, mean or all.
    :param precision: in which they are stored, float16 or float32; the network runs in `dtype`.
    :param scratch: folder that outlives a killed job.
    :raises AtlasError: where the model is not one of the base, a prompt is empty, or a finite
        activation is too large for float16.
    """
    folder = base[0].parent
    texts, ids = prompt_tokens(prompts, folder, most, shots)
    settings = read_json(folder / "config.json")
    settings = settings.get("text_config", settings)
    hooks = hook_names(settings["num_hidden_layers"], wanted)
    lengths = [len(one) for one in ids]
    row_bytes = len(hooks) * settings["hidden_size"] * np.dtype(precision).itemsize
    most = min(batch_tokens, part_bytes // row_bytes) if positions == "all" else batch_tokens
    parts = grouped(length_batches(lengths, most), lengths, positions, row_bytes, part_bytes)
    places = [scratch / f"part-{number:05d}.safetensors" for number in range(len(parts))]
    if not all(place.is_file() for place in places):
        name = model[0].parent.name if model else folder.name
        with loaded_model(base, model, base_names, dtype) as network:
            write_parts(network, ids, parts, places, positions, precision, name, wanted)
    counts = lengths if positions == "all" else [1] * len(lengths)
    write_streams(activations, texts, lengths, positions, joined(places, hooks, parts, counts))


def write_parts(
    network: Any, ids: Sequence[Sequence[int]], parts: Sequence[list[list[int]]],
    places: Sequence[Path], positions: str, precision: str, name: str,
    wanted: Collection[str] = USUAL,
) -> None:  # fmt: skip
    """Write the part files that are not there yet: hook -> (rows, d), each whole or not at all.

    :param parts: batches of positions in `ids`, as :func:`grouped` gives them.
    :raises AtlasError: where a finite activation is too large for `precision`.
    """
    missing = [i for i, place in enumerate(places) if not place.is_file()]
    progress = Progress(len(missing), "part")
    join = torch.cat if positions == "all" else torch.stack
    for i in missing:
        found: dict[str, list[torch.Tensor]] = {}
        for batch in parts[i]:
            arrays = read_streams(network, [ids[k] for k in batch], positions, wanted)
            # All hooks together: one check and one transfer for each batch.
            rows = _rounded(torch.stack([join(of) for of in arrays.values()]), precision, name)
            for hook, one in zip(arrays, rows.cpu(), strict=True):
                found.setdefault(hook, []).append(one)
        unfinished = places[i].with_suffix(".unfinished")
        write_safetensors(unfinished, {hook: torch.cat(of) for hook, of in found.items()}, {})
        unfinished.replace(places[i])
        progress.step()


def _rounded(rows: torch.Tensor, precision: str, where: str) -> torch.Tensor:
    rounded = rows.to(getattr(torch, precision))
    lost = torch.isfinite(rows) & ~torch.isfinite(rounded)
    if bool(lost.any()):
        raise AtlasError(
            f"{where}: an activation of {float(rows[lost].abs().max()):.4g} is too large for "
            f"{precision}; store its activations in float32."
        )
    return rounded


def joined(
    places: Sequence[Path], hooks: Sequence[str], parts: Sequence[list[list[int]]],
    counts: Sequence[int],
) -> Iterator[tuple[str, Array]]:  # fmt: skip
    """Hook by hook, the rows of all parts in the order of the prompts.

    :param places, parts: as for :func:`write_parts`. :param counts: rows of each prompt.
    """
    starts = np.cumsum([0, *counts])
    targets = [
        np.concatenate([np.arange(starts[i], starts[i + 1]) for batch in part for i in batch])
        for part in parts
    ]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(safe_open(place, framework="np")) for place in places]
        for hook in hooks:
            array = np.empty(0)
            for file, target in zip(files, targets, strict=True):
                rows = file.get_tensor(hook)
                if not array.size:
                    array = np.empty((starts[-1], rows.shape[1]), dtype=rows.dtype)
                array[target] = rows
            yield hook, array
