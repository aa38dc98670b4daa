"""Models of a pool composed for a task (LoraHub), and what they answer.

Beside the composition stand PEFT's own merges of the same models; for each task, the base itself
and the model that was trained on the few examples.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.digests import sha256_file
from atlas.files import by_folder, by_name, read_csv, read_json, read_jsonl, write_csv
from atlas.networks.architectures import is_seq2seq
from atlas.networks.shards import applied, read_model
from atlas.networks.swap import adapter_applied, load_base
from atlas.networks.tokens import Tokens
from atlas.progress import Progress, say
from atlas.selection.answers import answers, exact_match, examples_loss
from atlas.selection.composition import Merge, aligned, composed, merged_by_peft, state
from atlas.selection.search import search
from atlas.selection.strategies import LORAHUB, Strategy, choose
from atlas.weights.adapters import Adapter, load_plain, write_adapter
from atlas.weights.base_names import check_base
from atlas.weights.model_cards import write_card

BASE, FEWSHOT = "base", "few-shot"
ANSWER_COLUMNS = ("method", "row", "answer", "truth", "exact_match")
CHOICE_COLUMNS = ("model", "domain", "rank", "similarity", "weight")


def answer_task(
    *, base: list[Path], model: list[Path], tests: Path, base_names: list[str], dtype: str,
    rows: int | None, new_tokens: int, answered: Path
) -> None:  # fmt: skip
    """Write what the base answers, and the `model` that was trained on the few examples.

    :param tests: held-out rows, of which the first `rows` count. :param new_tokens: longest answer.
    """
    folder = base[0].parent
    network, tokens = load_base(folder, dtype, seq2seq=True), Tokens(folder)
    held_out = read_jsonl(tests)[:rows]
    found = _answered(BASE, network, tokens, held_out, new_tokens)
    trained = read_model(model, read_json(folder / "base.json"), base_names)
    with applied(network, trained) as changed:
        found += _answered(FEWSHOT, changed, tokens, held_out, new_tokens)
    write_csv(answered, ANSWER_COLUMNS, found)


def compose(
    *, base: list[Path], pool: list[Path], ranking: Path, examples: Path, tests: Path, name: str,
    address: list[str | None], base_names: list[str], dtype: str, strategy: Strategy, size: int,
    seed: int, search_settings: dict[str, Any], merges: list[Merge], density: float,
    rows: int | None, new_tokens: int, weights: Path, config: Path, card: Path, steps: Path,
    chosen: Path, answered: Path
) -> None:  # fmt: skip
    """Choose models of a pool for a task, compose them, and answer held-out rows.

    :param pool: files of all models of the pool. :param ranking: them by similarity to the task.
    :param examples: the few rows, as tokens, on which the loss of the search is measured.
    :param tests: held-out rows, of which the first `rows` are answered.
    :param search_settings: budget, bound and penalty (:func:`atlas.selection.search.search`).
    :param merges: PEFT's merges of the same models. :param density: of ties and dare.
    :param weights, config: the composed adapter. :param steps: search.csv: step, loss (of the
        examples), score (loss plus penalty), and the weight of each model.
    :param chosen: the models with their final weights.
    :raises AtlasError: for models that cannot be composed, or a loss that is not finite.
    """
    folder = base[0].parent
    network, tokens = load_base(folder, dtype, seq2seq=True), Tokens(folder)
    record = read_json(folder / "base.json")
    ranked = {row["model"]: row for row in read_csv(ranking)}
    names = choose(strategy, list(ranked), size, seed)
    files = by_folder(pool)
    adapters = [load_plain(files[model], "cannot be composed") for model in names]
    for adapter in adapters:
        check_base(adapter, record, base_names)
    parts = aligned(adapters)
    few, held_out = read_jsonl(examples), read_jsonl(tests)[:rows]
    progress = Progress(search_settings["budget"], "evaluation")

    def loss(candidate: Sequence[float]) -> float:
        with adapter_applied(network, composed(parts, candidate)):
            return examples_loss(network, tokens, few)

    best, history = search(
        loss, size, seed=seed, on_step=lambda s: progress.step(f"score {s.score:.4f}"),
        **search_settings,
    )  # fmt: skip
    write_csv(steps, ("step", "loss", "score", *names), (
        {"step": i, "loss": step.loss, "score": step.score, **dict(zip(names, step.weights, strict=True))}
        for i, step in enumerate(history, start=1)
    ))  # fmt: skip
    write_csv(chosen, CHOICE_COLUMNS, (
        {**{c: ranked[model][c] for c in CHOICE_COLUMNS[:-1]}, "weight": weight}
        for model, weight in zip(names, best, strict=True)
    ))  # fmt: skip
    found = composed(parts, best)
    settings = {**found.config, "base_model_name_or_path": address[0], "revision": address[1]}
    metadata = {"base_sha256": record["weights_sha256"], "base": record["name"], "model": name}
    write_adapter(weights, config, state(found), settings, metadata)
    write_card(
        card, name=name, base=record, address=str(address[0]), revision=address[1], adapter=True,
        folder="results/selection", seq2seq=is_seq2seq(folder),
        origin=f"Composed by Delta Atlas (LoraHub) of {size} models, chosen by the strategy "
               f"{strategy}: " + ", ".join(f"{w:.4f} × {m}" for m, w in zip(names, best, strict=True)) + ".",
        digests={"base": record["weights_sha256"], "adapter": sha256_file(weights),
                 **{m: sha256_file(by_name(files[m])["adapter_model.safetensors"]) for m in names}},
    )  # fmt: skip
    written = _answered(LORAHUB, network, tokens, held_out, new_tokens, found)
    for method in merges:
        merged = merged_by_peft(network, parts, method, density=density, seed=seed)
        written += _answered(method, network, tokens, held_out, new_tokens, merged)
    write_csv(answered, ANSWER_COLUMNS, written)


def _answered(
    method: str, network: Any, tokens: Tokens, rows: Sequence[dict[str, Any]], new_tokens: int,
    adapter: Adapter | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of answers.csv: what the network answers, with an adapter on it."""
    say(f"{method} answers {len(rows)} rows")
    with adapter_applied(network, adapter) if adapter else contextlib.nullcontext():
        found = answers(network, tokens, [row["prompt"] for row in rows], new_tokens)
    return [
        {"method": method, "row": row["row"], "answer": answer, "truth": row["completion"].strip(),
         "exact_match": int(exact_match(answer, row["completion"]))}
        for row, answer in zip(rows, found, strict=True)
    ]  # fmt: skip
