"""Perplexity of text under a model: exp of the mean negative log-likelihood of its tokens."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from atlas.datasets.row_ids import origins
from atlas.errors import AtlasError
from atlas.files import read_json, read_jsonl, write_csv
from atlas.networks.shards import applied, read_model
from atlas.networks.swap import load_base
from atlas.networks.tokens import Tokens

COLUMNS = ("model", "base", "dataset", "split", "documents", "tokens", "perplexity",
           "base_perplexity", "change")  # fmt: skip


@torch.inference_mode()
def negative_log_likelihood(network: Any, ids: Sequence[int], start: int = 1) -> float:
    """Sum over tokens (two at least) from `start` (1 or more) on of -log p(token | those before)."""
    device = next(network.parameters()).device
    row = torch.tensor([list(ids)], device=device)
    logits = network(input_ids=row, use_cache=False).logits[0, start - len(ids) - 1 : -1].float()
    return float(torch.nn.functional.cross_entropy(logits, row[0, start:], reduction="sum"))


def perplexity(network: Any, texts: Sequence[Sequence[int]], where: str) -> float:
    """The exponential of the mean negative log-likelihood per predicted token, over all texts.

    :param texts: tokens of each text, at least two each.
    :raises AtlasError: where it is NaN or Inf.
    """
    total = math.fsum(negative_log_likelihood(network, ids) for ids in texts)
    mean = total / sum(len(ids) - 1 for ids in texts)
    if not math.isfinite(mean) or mean > 700:
        raise AtlasError(f"{where}: its mean negative log-likelihood is {mean}.")
    return math.exp(mean)


def held_out_perplexity(
    *, name: str, rows: Path, base: list[Path], model: list[Path], texts: list[Path],
    base_names: list[str], dtype: str, documents: int, max_tokens: int, table: Path
) -> None:  # fmt: skip
    """Perplexity of a model and of its base on texts that the model was not trained on.

    Columns: model, base, dataset, split, documents, tokens (predicted ones), perplexity,
    base_perplexity, change (of the first to the second, a share: -0.1 is ten per cent lower).

    :param rows: what the model was trained on.
    :param texts: the rows after the region of each dataset, of each the first `documents`.
    :raises AtlasError: where a dataset has no text that was held out.
    """
    folder = base[0].parent
    record = read_json(folder / "base.json")
    network, tokens = load_base(folder, dtype), Tokens(folder)
    trained = {origin for line in read_jsonl(rows) for origin in origins(line)}
    ids = {}
    for file in texts:
        cut = (tokens.prompt(t)[:max_tokens] for t in _held_out(file, trained, documents))
        ids[file.parent.name] = [text for text in cut if len(text) > 1]
    before = {dataset: perplexity(network, found, folder.name) for dataset, found in ids.items()}
    with applied(network, read_model(model, record, base_names)) as changed:
        after = {dataset: perplexity(changed, found, name) for dataset, found in ids.items()}
    write_csv(table, COLUMNS, [
        {"model": name, "base": folder.name, "dataset": dataset, "split": "rest",
         "documents": len(found), "tokens": sum(len(text) - 1 for text in found),
         "perplexity": after[dataset], "base_perplexity": before[dataset],
         "change": after[dataset] / before[dataset] - 1}
        for dataset, found in ids.items()
    ])  # fmt: skip


def _held_out(file: Path, trained: set[tuple[str, int]], documents: int) -> list[str]:
    """The first texts of a split whose raw rows were not trained on."""
    dataset = file.parent.name
    seen = {number for name, number in trained if name.partition("/")[0] == dataset}
    found = [row["text"] for row in read_jsonl(file) if row["row"] not in seen]
    if not found:
        raise AtlasError(
            f"{dataset}: no text was held out; set datasets.{dataset}.splits.region below 1."
        )
    return found[:documents]
