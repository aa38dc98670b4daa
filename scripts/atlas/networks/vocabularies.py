"""Whether two tokenizers mean the same by the same numbers."""

from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import read_json

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")  # keys of config.json


def refuse_other_vocabulary(base: Path, model: Path) -> None:
    """Refuse a model whose tokens are not those of its base.

    Special tokens may be renamed: that is how instruct models get their turn marks.

    :param base: tokenizer.json of the base.
    :param model: tokenizer.json of the model.
    :raises AtlasError: naming the first token that differs.
    """
    if base.read_bytes() == model.read_bytes():
        return
    ours = _tokens(base)
    for number, (text, special) in sorted(_tokens(model).items()):
        if number in ours and ours[number][0] != text and not (special or ours[number][1]):
            raise AtlasError(
                f"{model}: the vocabularies differ: token {number} is {text!r}, and in the base "
                f"{ours[number][0]!r}; name the base that this model was made from."
            )


def _tokens(file: Path) -> dict[int, tuple[str, bool]]:
    """Number of each token -> its text, and whether it is special."""
    settings = read_json(file)
    entries: Any = settings.get("model", {}).get("vocab", {})
    if isinstance(entries, dict):
        found = {int(number): (text, False) for text, number in entries.items()}
    else:
        found = {number: (str(entry[0]), False) for number, entry in enumerate(entries)}
    for token in settings.get("added_tokens", []):
        found[int(token["id"])] = (token["content"], bool(token.get("special")))
    return found
