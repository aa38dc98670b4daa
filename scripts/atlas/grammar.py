"""What the entries of a configuration are made of: names, numbers, and their strict base."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,239}$"
# Names are folders and files: .. would be another folder, and -x an option of a command, and a file
# system has room for 255 bytes.
NAMES = "names are made of at most 240 letters, digits and . _ + -, and begin with a letter, a digit or _"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def is_valid_name(text: str) -> bool:
    """Whether a text is a name, as a whole: $ in the pattern is also before a last line end."""
    return re.fullmatch(NAME_PATTERN, text) is not None


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _scientific(value: Any) -> Any:
    """YAML 1.1 reads 1e-4, which has no dot, as text; people mean the number."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


Number = Annotated[float, BeforeValidator(_scientific), Field(allow_inf_nan=False)]

Share = Annotated[Number, Field(gt=0, le=1)]

DType = Literal["float32", "bfloat16", "float16"]


class Entry(BaseModel):
    """Strict base of every entry: unknown keys are errors, nothing is coerced in silence."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


def is_whole(info: Any) -> bool:
    """True when a complete configuration is validated, False for one file of several."""
    return not (info.context or {}).get("fragment", False)
