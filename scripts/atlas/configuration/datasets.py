"""Datasets: where rows are, how they read, how they are cut."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from atlas.configuration.sources import Source
from atlas.grammar import Entry, Name, Share, is_whole

OWN = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{{ task }} Input:{{ input }}\n\n### Response:"
)

UNIVERSAL = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{{ input }}\n\n### Response:"
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
    assistant: str | None = Field(
        default=None, description="The answer, which the model learns to write (not with dpo)."
    )


class Template(Entry):
    """How a row becomes text; Jinja templates over the dataset's columns."""

    task: str = Field(default="", description="The instruction of the domain.")
    input: str | None = Field(default=None, description="The input of the task.")
    completion: str | None = Field(default=None, description="What the model learns to write.")
    chosen: str | None = Field(default=None, description="The preferred completion (dpo).")
    rejected: str | None = Field(default=None, description="The other completion (dpo).")
    messages: str | Turns | None = Field(
        default=None,
        description="Column with a conversation (a list of role and content, or of from and value), "
        "cut after the first answer; or `{user: …, assistant: …}`, which makes one. Written in the "
        "chat template of the base. With chosen and rejected: what stands before them, as it is.",
    )
    text: str | None = Field(default=None, description="Plain text (cpt).")
    variants: Variants = Field(default=Variants(), description="Frames of the prompt.")

    @model_validator(mode="after")
    def _kind(self, info: Any) -> "Template":
        if is_whole(info):
            self.kind()
        return self

    def kind(self) -> Literal["completion", "preference", "messages", "text"]:
        """The kind of row that the template makes."""
        given = {k for k in ("input", "completion", "chosen", "rejected", "messages", "text")
                 if getattr(self, k) is not None}  # fmt: skip
        answered = not isinstance(self.messages, Turns) or self.messages.assistant is not None
        kinds: dict[str, list[set[str]]] = {
            "completion": [{"input", "completion"}],
            "preference": [{"input", "chosen", "rejected"}, {"messages", "chosen", "rejected"}],
            "messages": [{"messages"}] if answered else [],
            "text": [{"text"}],
        }
        for kind, choices in kinds.items():
            if given in choices:
                return kind  # type: ignore[return-value]
        raise PydanticCustomError(
            "template",
            "a template has input and completion, or input or messages with chosen and rejected, or "
            "messages (with an assistant), or text, not " + (", ".join(sorted(given)) or "nothing"),
        )

    @property
    def framed(self) -> bool:
        """Whether a frame (`variants`) makes its prompt."""
        return self.input is not None


class Splits(Entry):
    """Which rows are for training, and how they are cut into parts."""

    region: list[Share] = Field(
        default=[0.8],
        description="Share of the raw rows, from the start, that is cut into parts; several "
        "shares apply one after another ([0.1, 0.8] is 80 % of the first 10 %).",
    )
    most: int | None = Field(
        default=None,
        ge=1,
        description="Where there are so many raw rows, the region is the first of them, whatever "
        "`region` says.",
    )
    parts: list[Name] = Field(
        default=["first", "second", "third"],
        min_length=1,
        description="Names of the contiguous equal parts of the region.",
    )

    def hold_rows_out(self) -> bool:
        """Whether rows may stand outside of the region."""
        return self.most is not None or any(share < 1 for share in self.region)


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
    duplicates: Literal["drop", "keep"] = Field(
        default="drop",
        description="Whether raw rows that were there before are left out; the published code keeps "
        "them, and its bounds of splits count them.",
    )
    cut: str | None = Field(
        default=None, description="Column of the prompt that the length policy `cut` may shorten."
    )
    splits: Splits = Field(default=Splits(), description="How the rows are cut into parts.")
    licence: str = Field(default="unknown", description="Licence of the data.")
    language: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]] = Field(
        default=[],
        description="Languages of the data (ISO 639: en), as cards of uploads name them.",
    )
