"""Which tokens of a row are learnt: the completion by itself, or what follows a response template.

The published trainer reads prompt and completion as one text, finds the last place of a response
template among its tokens, and learns what follows it; the end token, which it takes for padding, is
read and never learnt, wherever it stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atlas.errors import AtlasError
from atlas.networks.tokens import Tokens

# Prompt and completion by themselves, the whole completion learnt.
APART: dict[str, Any] = {"end": True, "template": None, "match": "rest", "keep": False}


@dataclass(frozen=True)
class Labelled:
    """Tokens of a row; those from `start` on are learnt, but never the token `unlearnt`."""

    ids: list[int]
    start: int
    unlearnt: int | None = None

    def cut(self, size: int) -> "Labelled":
        """The first `size` tokens; where the prompt fills them, nothing is learnt."""
        return Labelled(self.ids[:size], min(self.start, size), self.unlearnt)

    @property
    def learns(self) -> bool:
        """Whether it has a token that is learnt."""
        return any(token != self.unlearnt for token in self.ids[self.start :])

    def row(self) -> dict[str, Any]:
        """As it is written."""
        found: dict[str, Any] = {"input_ids": self.ids, "completion_start": self.start}
        return found if self.unlearnt is None else {**found, "unlearnt_token": self.unlearnt}


class Labels:
    """How rows of prompt and completion become tokens and labels.

    :param settings: ``end`` (whether the end token is learnt), ``template`` (None: prompt and
        completion are tokenised apart), ``match`` (``rest``: the template's tokens without the first,
        ``second``: its second alone), ``keep`` (whether rows stay that have nothing to learn).
    """

    def __init__(self, tokens: Tokens, settings: Mapping[str, Any]) -> None:
        self._tokens = tokens
        self._unlearnt = None if settings["end"] else tokens.end
        self.keep = bool(settings["keep"])
        self._template: list[int] | None = None
        if settings["template"] is not None:
            ids = tokens.text(settings["template"], close=False)
            self._template = ids[1:2] if settings["match"] == "second" else ids[1:]
            if not self._template:
                raise AtlasError(
                    f"labels.template: {settings['template']!r} is one token, and the first is left "
                    "out, for what stands before it may change it; give a longer one."
                )

    def of(self, prompt: str, completion: str) -> Labelled:
        """Tokens of a prompt and its completion, closed by the end token."""
        if self._template is None:
            before = self._tokens.prompt(prompt)
            return self.exchange([*before, *self._tokens.text(completion, close=True)], len(before))
        ids = [*self._tokens.prompt(prompt + completion), self._tokens.end]
        size = len(self._template)
        places = (i for i in range(len(ids) - size, -1, -1) if ids[i : i + size] == self._template)
        start = next(places, len(ids)) + size  # its last place; nowhere: nothing is learnt
        return self.exchange(ids, min(start, len(ids)))

    def exchange(self, ids: list[int], start: int) -> Labelled:
        """Tokens whose answer begins at `start`."""
        return Labelled(ids, start, self._unlearnt)
