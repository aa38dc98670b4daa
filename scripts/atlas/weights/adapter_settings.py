"""What an adapter_config.json may say, typed: PEFT writes it, and so may anybody.

Keys that only PEFT reads are left to PEFT; what is computed with here, or named as code to import, or
makes something as large as it says, has a type and bounds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator

from atlas.errors import AtlasError
from atlas.files import read_object

Rank = Annotated[int, Field(ge=1, le=1 << 20)]
Scale = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Pattern = Annotated[str, Field(max_length=10_000)]
Names = list[Pattern] | Pattern | None
Layer = Annotated[int, Field(ge=0, le=100_000)]
Size = Annotated[int, Field(ge=0, le=1 << 24)]
# What sizes are called in other kinds of adapters.
SIZES = (
    "adapter_layers", "adapter_len", "block_size", "boft_block_num", "boft_block_size",
    "boft_n_butterfly_factor", "depth", "encoder_hidden_size",
    "encoder_num_layers", "gralora_k", "group_size", "hidden_size", "hybrid_r", "init_r", "mini_r",
    "n_frequency", "n_skills", "n_splits", "n_tasks", "num_attention_heads",
    "num_frozen_tokens", "num_layers", "num_subspaces",
    "num_transformer_submodules", "num_vectors", "num_virtual_tokens", "oft_block_size",
    "subspace_rank", "target_r", "theta_d_length", "token_dim", "topk", "u", "vector_length",
    "xlora_depth", "xlora_size",
)  # fmt: skip
LIBRARY = "transformers"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Every(_Strict):
    """What adapters of all kinds may say."""

    peft_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$", max_length=100)]
    task_type: str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    inference_mode: bool | None = False
    auto_mapping: dict[str, str | bool | None] | None = None  # Unsloth notes there what it mended
    auto_map: None = None
    target_modules: Names = None
    exclude_modules: Names = None
    modules_to_save: list[Pattern] | None = None
    layers_pattern: Names = None
    layers_to_transform: list[Layer] | Layer | None = None
    layer_replication: Annotated[list[tuple[Layer, Layer]], Field(max_length=1_000)] | None = None
    target_parameters: list[Pattern] | None = None
    fan_in_fan_out: bool | None = None
    alpha_pattern: dict[Pattern, Scale] | None = None
    # PEFT imports what is named here, or lets transformers run what a repository has.
    megatron_core: Literal["megatron.core"] | None = None
    tokenizer_kwargs: dict[str, str | int | float | None] | None = None

    @field_validator("layer_replication", mode="before")
    @classmethod
    def _as_pairs(cls, value: Any) -> Any:
        """JSON has lists where Python has pairs."""
        if isinstance(value, list):
            return [tuple(pair) if isinstance(pair, list) else pair for pair in value]
        return value

    @field_validator("auto_mapping")
    @classmethod
    def _only_transformers(
        cls, value: dict[str, str | bool | None] | None
    ) -> dict[str, str | bool | None] | None:
        """PEFT imports the library that is named here."""
        library = (value or {}).get("parent_library") or LIBRARY
        if str(library).partition(".")[0] != LIBRARY:
            raise ValueError(
                f"names code to import that is not of {LIBRARY}: {str(library)[:80]!r}"
            )
        return value

    @field_validator("tokenizer_kwargs")
    @classmethod
    def _no_remote_code(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if "trust_remote_code" in (value or {}):
            raise ValueError("code of a repository is never run")
        return value


_Others = create_model(
    "_Others", __base__=_Every, **dict.fromkeys(SIZES, (Size | None, None)),  # type: ignore[call-overload]
    **dict.fromkeys(("alpha", "lora_alpha", "scaling", "randlora_alpha"), (Scale | None, None)),
    r=(Size | None, None), decompose_factor=(Annotated[int, Field(ge=-1, le=1 << 24)], -1),
    num_cayley_neumann_terms=(Size, 5), rank_pattern=(dict[Pattern, Rank | list[bool]] | None, None),
    # PEFT hands these tokens to modules of LoRA alone.
    alora_invocation_tokens=(None, None),
)  # fmt: skip


class _Lora(_Every):
    # Where they are not written down, PEFT takes these.
    r: Rank = 8
    lora_alpha: Scale = 8
    rank_pattern: dict[Pattern, Rank] | None = None
    use_rslora: bool | None = False
    use_dora: bool | None = False
    lora_bias: bool | None = False
    bias: str = "none"
    init_lora_weights: bool | str | None = True
    trainable_token_indices: list[Size] | dict[str, list[Size]] | None = None
    alora_invocation_tokens: list[Size] | None = None


class _Ia3(_Every):
    feedforward_modules: Names = None
    init_ia3_weights: bool = True


KINDS: dict[str, type[_Every]] = {"LORA": _Lora, "ADALORA": _Others, "IA3": _Ia3}


def read_settings(file: Path) -> dict[str, Any]:
    """An adapter_config.json as it stands.

    :raises AtlasError: where it is no configuration of PEFT, or says what no adapter can have.
    """
    found = read_object(file)
    if not isinstance(found.get("peft_type"), str):
        raise AtlasError(f"{file}: names no peft_type; is it a configuration of PEFT?")
    check_settings(found, str(file))
    return found


def check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Refuse settings whose values no adapter of their kind can have.

    :raises AtlasError: naming the first such key.
    """
    kind = KINDS.get(str(settings.get("peft_type")).upper(), _Others)
    try:
        kind.model_validate(settings)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"][:2])
        why = str(fault["msg"]).removeprefix("Value error, ")
        raise AtlasError(
            f"{where}: {key[:80]} says {str(fault['input'])[:80]!r}, which is nothing that PEFT "
            f"writes there ({why[0].lower()}{why[1:]}); mend the file, or leave this model out."
        ) from None
