"""How far a model moved from its base in what it writes: divergence on tasks, and what it forgot.

After I. Shenfeld et al. (arXiv 2509.04259): forgetting of other tasks goes with KL(base || model) on
the task that was learnt. They estimate it on samples; here it is exact at each token of the
reference completions, over the whole vocabulary. Forgetting is the rise of the loss of the
reference completions of the other tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from pathlib import Path
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.files import read_csv, read_json, read_jsonl, write_csv
from atlas.geometry.residual_streams import solution
from atlas.networks.peft_adapters import shadow
from atlas.networks.shards import applied, read_model
from atlas.networks.swap import load_base
from atlas.networks.tokens import Tokens
from atlas.networks.virtual_tokens import virtual_tokens
from atlas.progress import Progress

COLUMNS = ("model", "task", "learnt", "rows", "rows_dropped", "tokens", "kl_nats_per_token",
           "base_loss_nats_per_token", "model_loss_nats_per_token",
           "loss_rise_nats_per_token")  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """Tokens of a prompt and a reference completion, which begins at ``start`` (1 or more)."""

    ids: list[int]
    start: int


def measure_drift(
    *, base: list[Path], model: list[Path], prompts: list[Path], base_names: list[str], dtype: str,
    learnt: list[str], most: int, max_tokens: int, drift: Path
) -> None:  # fmt: skip
    """Measure a model beside its base on the reference completions of tasks.

    Columns: model, task, learnt (whether the models were trained on it), rows, rows_dropped (those
    of the first `most` that are too long), tokens (of the completions, without an end token),
    kl_nats_per_token (KL(base || model), the mean over these tokens), base_loss_nats_per_token and
    model_loss_nats_per_token (mean of -log p of these tokens), loss_rise_nats_per_token.

    :param prompts: rows that were held out of each task, with ``prompt`` and ``completion``, or
        ``chosen``; the name of the folder is the task. :param learnt: tasks.
    :param max_tokens: of a prompt with its completion; rows that are longer are left out.
    :raises AtlasError: where the model is not one of the base, no row of a task fits, or what is
        measured is not finite.
    """
    folder, name = base[0].parent, model[0].parent.name
    tasks = {file.parent.name: references(file, folder, most, max_tokens) for file in prompts}
    network = load_base(folder, dtype)
    # Two networks around the same weights: an adapter acts on the modules of one of them.
    twin = shadow(network, lambda _: False)
    progress = Progress(sum(len(rows) for rows, _ in tasks.values()), "row")
    table = []
    with applied(twin, read_model(model, read_json(folder / "base.json"), base_names)) as changed:
        for task, (rows, dropped) in tasks.items():
            sums = []
            for row in rows:
                sums.append(compared(network, changed, row))
                progress.step(task)
            tokens = sum(len(row.ids) - row.start for row in rows)
            kl, old, new = (fsum(values) / tokens for values in zip(*sums, strict=True))
            if not isfinite(kl + old + new):
                raise AtlasError(f"{name}: on {task}, its log-probabilities have NaN or Inf.")
            table.append({
                "model": name, "task": task, "learnt": int(task in learnt), "rows": len(rows),
                "rows_dropped": dropped, "tokens": tokens, "kl_nats_per_token": kl,
                "base_loss_nats_per_token": old, "model_loss_nats_per_token": new,
                "loss_rise_nats_per_token": new - old,
            })  # fmt: skip
    write_csv(drift, COLUMNS, table)


def references(file: Path, base: Path, most: int, max_tokens: int) -> tuple[list[Reference], int]:
    """The first `most` rows of a task as tokens of a base, and how many of them are too long.

    Prompt and completion become tokens apart from each other, the completion without special
    tokens.

    :raises AtlasError: where none is left.
    """
    tokens = Tokens(base)
    found = []
    rows = read_jsonl(file)[:most]
    for row in rows:
        prompt = tokens.prompt(row["prompt"])
        completion = tokens.text(solution(row), close=False)
        if prompt and completion and len(prompt) + len(completion) <= max_tokens:
            found.append(Reference([*prompt, *completion], len(prompt)))
    if not found:
        raise AtlasError(
            f"{file}: of its first {len(rows)} rows none has a prompt and a completion of "
            f"{max_tokens} tokens together; raise drift.max_tokens of the comparison, or leave the "
            "task out."
        )
    return found, len(rows) - len(found)


@torch.inference_mode()
def compared(base: Any, model: Any, row: Reference) -> tuple[float, float, float]:
    """Sums over the tokens of a completion: KL(base || model), and -log p of base and of model."""
    old, new = (_log_probabilities(network, row) for network in (base, model))
    target = torch.tensor(row.ids[row.start :], device=old.device)
    kl = torch.nn.functional.kl_div(new, old, reduction="sum", log_target=True)
    losses = [torch.nn.functional.nll_loss(f, target, reduction="sum") for f in (old, new)]
    return float(kl), float(losses[0]), float(losses[1])


def _log_probabilities(network: Any, row: Reference) -> torch.Tensor:
    """Log-probabilities of all tokens at each place of a completion, (tokens, vocabulary) float64."""
    ids = torch.tensor([row.ids], device=next(network.parameters()).device)
    logits: torch.Tensor = network(input_ids=ids, use_cache=False).logits
    return logits[0, virtual_tokens(network) :][row.start - 1 : -1].double().log_softmax(dim=-1)


def comparison_drift(*, measured: Sequence[Path], drift: Path) -> None:
    """Join the measurements of all models of a comparison, as they are."""
    write_csv(drift, COLUMNS, [row for file in measured for row in read_csv(file)])
