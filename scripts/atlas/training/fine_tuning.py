"""Training with TRL and PEFT: the same bytes each time, also when killed and resumed."""

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import IA3Config, LoraConfig, PeftConfig, get_peft_model, get_peft_model_state_dict
from transformers import (
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    set_seed,
)
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from atlas import device as devices
from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import by_name, read_json, read_jsonl, sync, write_csv
from atlas.networks.architectures import is_seq2seq, load
from atlas.networks.named_weights import published_tensors
from atlas.networks.tokens import Tokens, load_tokenizer
from atlas.progress import Progress, say
from atlas.training import acceleration
from atlas.training.lora_branch import compute_in_place
from atlas.weights.adapters import write_adapter
from atlas.weights.model_cards import write_card
from atlas.weights.tensors import check_finite, write_safetensors

COMPLETE = "complete"
# Columns of training.csv -> keys of the trainer's log.
COLUMNS = {"step": "step", "loss": "loss", "learning_rate": "learning_rate", "tokens": "tokens"}


def train(
    *, model: str, base: list[Path], address: list[str | None], dtype: str, rows: Path,
    recipe: dict[str, Any], datasets: dict[str, str], seed: int, sentence: str, scratch: Path,
    weights: Path, config: Path, card: Path, log: Path, tokenizer: list[Path] | None = None,
    languages: Sequence[str] = (), build: Callable[..., Any] | None = None,
    columns: Mapping[str, str] = COLUMNS
) -> None:  # fmt: skip
    """Train one model: supervised, on preferences, or on plain text.

    :param base: files of the base, base.json among them.
    :param address: what the card and the adapter call the base, and its revision.
    :param dtype: precision in which the base is loaded.
    :param rows: prepared rows (:mod:`atlas.datasets.training_rows`).
    :param datasets: datasets behind the rows, name (on a hub: repository) -> licence.
    :param languages: of these datasets (ISO 639), as far as they are named.
    :param scratch: folder of checkpoints, found again by the same job after a kill.
    :param weights, config: adapter tensors and configuration, or full weights and config.json.
    :param log: training.csv with step, loss, learning_rate, tokens (all tokens seen so far).
    :param tokenizer: for full models: tokenizer.json and tokenizer_config.json.
    :param build: makes the trainer, where the objective is another one.
    :param columns: columns of the log, with the trainer's keys.
    :raises AtlasError: where a loss or a trained tensor is not finite.
    """
    device = devices.prepare(seed)
    record = read_json(by_name(base)["base.json"])
    folder = base[0].parent
    data = read_jsonl(rows)
    set_seed(seed)
    if is_seq2seq(folder) and recipe["objective"] != "sft":
        raise AtlasError(
            f"{model}: its base is a sequence-to-sequence model, which is trained with the "
            f"objective sft, not {recipe['objective']}."
        )
    network = load(folder, dtype, device)
    trainer = (build or make_trainer)(network, folder, data, recipe, seed, scratch, device)
    if len(trainer.train_dataset) != len(data):
        raise AtlasError(
            f"{model}: the trainer kept {len(trainer.train_dataset)} of {len(data)} rows; a row "
            "may not be dropped in silence."
        )
    if resume := last_checkpoint(scratch):
        say(f"resumes from {resume.name}")
    trainer.train(resume_from_checkpoint=resume and str(resume))
    write_csv(log, list(columns), _history(trainer.state.log_history, columns, model))
    digests = {"base": record["weights_sha256"], "training rows": sha256_file(rows)}
    metadata = {"base_sha256": digests["base"], "rows_sha256": digests["training rows"],
                "base": record["name"], "model": model}  # fmt: skip
    adapter = recipe["parameters"] != "full"
    if adapter:
        settings = trainer.model.peft_config["default"].to_dict()
        settings |= {"base_model_name_or_path": address[0], "revision": address[1],
                     "inference_mode": True}  # fmt: skip
        write_adapter(weights, config, get_peft_model_state_dict(trainer.model), settings, metadata)
    else:
        assert tokenizer is not None
        _write_full(trainer.model, folder, weights, config, tokenizer, metadata, dtype)
    digests["adapter" if adapter else "weights"] = sha256_file(weights)
    write_card(
        card, name=model, base=record, address=str(address[0]), revision=address[1],
        adapter=adapter, datasets=datasets, languages=languages, digests=digests, sentence=sentence,
        origin=f"Trained by Delta Atlas from {record['name']} with {recipe['objective']} "
               f"({recipe['parameters']}) on {len(data)} rows.",
        settings={**{k: v for k, v in recipe.items()
                     if k not in ("lora", "ia3", "grpo") and (v or k not in acceleration.FASTER)},
                  **recipe.get("grpo", {}),
                  **(recipe.get(recipe["parameters"]) or {}), "seed": seed},
        seq2seq=is_seq2seq(folder),
    )  # fmt: skip


def _write_full(
    network: Any, folder: Path, weights: Path, config: Path, tokenizer: list[Path],
    metadata: dict[str, str], dtype: str,
) -> None:  # fmt: skip
    tensors = {k: t.to(getattr(torch, dtype)) for k, t in published_tensors(network).items()}
    check_finite(tensors, "the trained model")
    write_safetensors(weights, tensors, {"format": "pt", **metadata})
    config.write_bytes((folder / "config.json").read_bytes())
    for target in tokenizer:
        name = "tokenizer_config.json" if "tokenizer_config" in target.name else "tokenizer.json"
        target.write_bytes((folder / name).read_bytes())


def peft_config(recipe: dict[str, Any], *, seq2seq: bool = False) -> PeftConfig | None:
    """The PEFT configuration of a recipe, or None for full training."""
    task_type = "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM"
    if recipe["parameters"] == "lora":
        lora = recipe["lora"]
        return LoraConfig(
            r=lora["r"], lora_alpha=lora["alpha"], lora_dropout=lora["dropout"],
            target_modules=list(lora["targets"]), bias="none", task_type=task_type,
        )  # fmt: skip
    if recipe["parameters"] == "ia3":
        modules, feedforward = (list(recipe["ia3"][key]) for key in ("targets", "feedforward"))
        return IA3Config(
            target_modules=modules, feedforward_modules=feedforward, task_type=task_type
        )
    return None


def trainer_arguments(
    recipe: dict[str, Any], seed: int, scratch: Path, device: torch.device, steps: int
) -> dict[str, Any]:
    """Arguments that all trainers take, of a training of so many steps."""
    if recipe["optimizer"].startswith("paged") and find_spec("bitsandbytes") is None:
        raise AtlasError(
            f"the optimizer {recipe['optimizer']} needs bitsandbytes and a GPU; install it "
            "(pip install bitsandbytes), or use adamw_torch, which computes the same."
        )
    return {
        "output_dir": str(scratch),
        "per_device_train_batch_size": recipe["batch_size"],
        "gradient_accumulation_steps": recipe["accumulation"],
        "learning_rate": recipe["learning_rate"],
        "num_train_epochs": recipe["epochs"],
        "max_steps": recipe["max_steps"] or -1,
        "warmup_steps": recipe["warmup_steps"] or math.ceil(recipe["warmup_ratio"] * steps),
        "lr_scheduler_type": recipe["scheduler"],
        "optim": recipe["optimizer"],
        "weight_decay": recipe["weight_decay"],
        "max_grad_norm": recipe["max_grad_norm"],
        "bf16": recipe["bf16"],
        "fp16": False,
        "gradient_checkpointing": recipe["gradient_checkpointing"],
        "use_cpu": device.type == "cpu",
        "seed": seed,
        "data_seed": seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": recipe["checkpoint_steps"],
        "save_total_limit": 2,
        "dataloader_pin_memory": device.type == "cuda",
        "report_to": "none",
        "disable_tqdm": True,
    }


def make_trainer(
    network: Any, folder: Path, data: list[dict[str, Any]], recipe: dict[str, Any], seed: int,
    scratch: Path, device: torch.device,
) -> Any:  # fmt: skip
    """A trainer of the transformers library, ready to train.

    :raises AtlasError: where the recipe has what the base or the device has not.
    """
    per_step = recipe["batch_size"] * recipe["accumulation"]
    per_epoch = math.ceil(math.ceil(len(data) / recipe["batch_size"]) / recipe["accumulation"])
    steps = recipe["max_steps"] or math.ceil(recipe["epochs"] * per_epoch)
    arguments = trainer_arguments(recipe, seed, scratch, device, steps) | {"max_length": None}
    shared = {"model": network, "processing_class": load_tokenizer(folder)}
    shared |= {"peft_config": peft_config(recipe), "callbacks": [Watch(steps)]}
    say(f"{len(data)} rows, {steps} steps of {per_step} rows on {device}")
    if is_seq2seq(folder):
        acceleration.refuse_on_seq2seq(recipe)
        return _encoded_trainer(shared, folder, data, recipe, arguments)
    if recipe["objective"] == "dpo":
        return _Preference(
            args=DPOConfig(beta=recipe["beta"], remove_unused_columns=False, **arguments),
            data_collator=_Pairs(shared["processing_class"].pad_token_id),
            train_dataset=Dataset.from_list(data), **shared,
        )  # fmt: skip
    if recipe["liger"]:
        acceleration.check_liger(network, device)
    settings = SFTConfig(
        packing=False, padding_free=recipe["padding_free"], use_liger_kernel=recipe["liger"],
        **arguments,
    )  # fmt: skip
    dataset = Dataset.from_list([_labelled(row) for row in data])
    trainer = _Supervised(args=settings, train_dataset=dataset, **shared)
    if recipe["padding_free"]:
        acceleration.refuse_neighbours_seen(trainer)
    return trainer


def _encoded_trainer(
    shared: dict[str, Any], folder: Path, data: list[dict[str, Any]], recipe: dict[str, Any],
    arguments: dict[str, Any],
) -> Any:  # fmt: skip
    """A trainer of an encoder, which reads the prompt, and a decoder, which writes the completion."""
    tokens = Tokens(folder)
    adapter = peft_config(recipe, seq2seq=True)
    if adapter is not None:
        shared["model"] = get_peft_model(shared["model"], adapter)
    rows = [
        {"input_ids": tokens.encoder(row["input_ids"][: row["completion_start"]]),
         "labels": _labelled(row)["labels"][row["completion_start"] :]}
        for row in data
    ]  # fmt: skip
    arguments = {key: value for key, value in arguments.items() if key != "max_length"}
    return _Encoded(
        args=Seq2SeqTrainingArguments(**arguments), train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForSeq2Seq(shared["processing_class"]),
        **{key: value for key, value in shared.items() if key != "peft_config"},
    )  # fmt: skip


def _labelled(row: dict[str, Any]) -> dict[str, list[int]]:
    """Tokens and labels; -100 where there is no loss."""
    ids, start, unlearnt = row["input_ids"], row["completion_start"], row.get("unlearnt_token")
    learnt = [-100 if token == unlearnt else token for token in ids[start:]]
    return {"input_ids": ids, "labels": [-100] * start + learnt}


class _Own:
    """Counts the tokens of what is trained, also across a resume (TRL starts again at 0).

    Beside that it computes nothing that nobody reads.
    """

    _tokens: int | None = None

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.args.bf16:
            compute_in_place(self.model)

    def training_step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self._tokens is None:
            past = [e["tokens"] for e in self.state.log_history if "tokens" in e]
            self._tokens = past[-1] if past else 0
        # A batch that is flattened has no padding, and so no mask.
        read = inputs.get("attention_mask")
        self._tokens += inputs["input_ids"].numel() if read is None else int(read.sum())
        return super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]

    def log(self: Any, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            logs["tokens"] = self._tokens
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Checkpoints need no card."""

    def floating_point_ops(self, inputs: Any) -> int:
        """Operations are not reported; counting them goes through all parameters in each step."""
        return 0


class _Supervised(_Own, SFTTrainer):  # type: ignore[misc]
    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The same loss as TRL's; on a CPU, logits only of the positions that are learnt.

        TRL's kernel for GPUs does so too; its fallback for CPUs scores every position, which
        takes most of the time where completions are short.
        """
        if inputs["input_ids"].device.type != "cpu" or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")[:, 1:]
        learnt = labels != -100
        # The output embeddings are by far the largest matrix of a small network.
        head = model.get_output_embeddings()
        rows = head.register_forward_pre_hook(lambda _, given: (given[0][:, :-1][learnt],))
        try:
            logits = model(**inputs, use_cache=False).logits
        finally:
            rows.remove()
        count = learnt.sum() if num_items_in_batch is None else num_items_in_batch
        return torch.nn.functional.cross_entropy(
            logits.float(), labels[learnt], reduction="sum"
        ) / torch.as_tensor(count).clamp(min=1)


class _Encoded(_Own, Seq2SeqTrainer):  # type: ignore[misc]
    """Its tokens are those that the encoder reads."""


class _Pairs(DataCollatorForPreference):  # type: ignore[misc]
    """Each answer behind as much of the prompt as its row keeps before it."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Answers with their prompts, padded; a loss on the answers."""
        whole: dict[str, list[list[int]]] = {}
        starts: list[int] = []
        for answer in ("chosen", "rejected"):
            kept = [row["prompt_ids"][row[f"{answer}_prompt_start"] :] for row in examples]
            starts += [len(prompt) for prompt in kept]
            whole[f"{answer}_ids"] = [
                prompt + row[f"{answer}_ids"] for prompt, row in zip(kept, examples, strict=True)
            ]
        pairs = zip(*whole.values(), strict=True)
        batch = super().torch_call(
            [{"prompt_ids": [], "chosen_ids": one, "rejected_ids": other} for one, other in pairs]
        )
        for mask, start in zip(batch["completion_mask"], starts, strict=True):
            mask[:start] = 0
        return batch  # type: ignore[no-any-return]


class _Preference(_Own, DPOTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Rows are tokens already."""
        return dataset


class Watch(TrainerCallback):
    """Shows progress, stops at a loss that is not finite, marks whole checkpoints."""

    def __init__(self, steps: int) -> None:
        self.progress = Progress(steps, "step")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show the step; stop where its loss is not finite."""
        if logs and "loss" in logs:
            if not math.isfinite(logs["loss"]):
                raise AtlasError(f"the loss of step {state.global_step} is {logs['loss']}.")
            shown = "reward" if "reward" in logs else "loss"
            self.progress.step(f"{shown} {logs[shown]:.3f}", done=state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark a checkpoint as whole once all of it is on the disk."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for file in folder.iterdir():
            sync(file)
        (folder / COMPLETE).touch()
        sync(folder)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = [p for p in folder.glob("checkpoint-*") if (p / COMPLETE).is_file()]
    return max(whole, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def _history(
    entries: list[dict[str, Any]], columns: Mapping[str, str], model: str
) -> list[dict[str, Any]]:
    rows = [{c: entry[k] for c, k in columns.items()} for entry in entries if "loss" in entry]
    if not rows:
        raise AtlasError(f"{model}: not one step was trained.")
    return rows
