"""Tokenizers: the byte-level one of random bases, and how rows become tokens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.errors import AtlasError
from atlas.files import read_json
from atlas.guarded_templates import limited
from atlas.guarded_tokenizers import GuardedTokenizer
from atlas.networks.architectures import device_of, reported

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}"
)
BYTE_VOCABULARY = 260


def byte_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer of 256 bytes and four special tokens, the same each time."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|pad|>", "<|start|>", "<|end|>", "<|unk|>"]
    vocabulary = {token: i for i, token in enumerate([*specials, *alphabet])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<|unk|>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|end|>", bos_token="<|start|>",
        unk_token="<|unk|>", chat_template=CHAT_TEMPLATE,
    )  # fmt: skip


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a base as transformers has it; remote code is never run."""
    from transformers import AutoTokenizer

    with reported(folder.name):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


class Tokens:
    """The tokenizer of a base, straight from its two files (quick to load, same tokens)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guarded = GuardedTokenizer(folder / "tokenizer.json")
        settings = read_json(folder / "tokenizer_config.json")
        self._end = self._special(settings.get("eos_token"))
        self._padding = self._special(settings.get("pad_token"))

    @property
    def end(self) -> int:
        """The token that ends a text.

        :raises AtlasError: where the tokenizer has none.
        """
        if self._end is None:
            raise AtlasError(f"{self._folder}: its tokenizer has no end token (eos_token).")
        return self._end

    @property
    def padding(self) -> int:
        """The token that fills rows up."""
        return self.end if self._padding is None else self._padding

    def _special(self, entry: Any) -> int | None:
        text = entry.get("content") if isinstance(entry, dict) else entry
        return self._guarded.backend.token_to_id(text) if isinstance(text, str) else None

    def prompt(self, text: str) -> list[int]:
        """Tokens of a prompt as the model sees it: with the start token where it has one.

        :raises AtlasError: where the tokenizer makes none of it.
        """
        ids: list[int] = self._guarded.encode(text, special=True).ids
        if text and not ids:
            raise AtlasError(f"{self._folder}: its tokenizer makes no token of {text[:40]!r}.")
        # Some tokenizers close every text; a prompt is not at its end.
        if len(ids) > 1 and ids[-1] == self._end:
            ids = ids[:-1]
        return ids

    def encoder(self, prompt: list[int]) -> list[int]:
        """Tokens of a prompt as an encoder reads it: closed where the tokenizer closes texts."""
        return [*prompt, self.end] if self._closes else prompt

    def text(self, text: str, *, close: bool) -> list[int]:
        """Tokens of a text without start token, closed by the end token when `close`."""
        ids: list[int] = self._guarded.encode(text, special=False).ids
        return [*ids, self.end] if close else ids

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Span of characters of each token of a text."""
        found: list[tuple[int, int]] = self._guarded.encode(text, special=False).offsets
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens, without special ones."""
        return self._guarded.decode(ids)

    def chat(self, messages: list[dict[str, str]], *, prompt: bool) -> list[int]:
        """Tokens of a conversation by the chat template; `prompt` opens the next answer."""
        render = partial(self._whole.apply_chat_template, tokenize=False)
        with limited(self._template):
            text = render(messages, add_generation_prompt=prompt)
        found = self._guarded.bounded(lambda: self._whole(text, add_special_tokens=False))
        return list(found["input_ids"])

    def exchange(self, messages: list[dict[str, str]]) -> tuple[list[int], int]:
        """Tokens of a conversation, and the place of the first one of its last message."""
        before = self.chat(messages[:-1], prompt=True)
        whole = self.chat(messages, prompt=False)
        start = 0
        while start < len(before) and whole[start] == before[start]:
            start += 1
        return whole, start

    def answers(
        self, messages: list[dict[str, str]], answers: dict[str, str]
    ) -> tuple[str, dict[str, str]]:
        """A conversation by the chat template, and answers as they go on from it, as text.

        As TRL renders preferences: an answer is what the whole has beyond the opening.
        """
        render = partial(self._whole.apply_chat_template, tokenize=False)
        with limited(self._template):
            opening = render(messages, add_generation_prompt=True)
            whole = {
                key: render([*messages, {"role": "assistant", "content": answer}])
                for key, answer in answers.items()
            }
        opening = os.path.commonprefix([opening, *whole.values()])  # noqa: RUF071 (by characters)
        return opening, {key: text[len(opening) :] for key, text in whole.items()}

    @property
    def _template(self) -> str:
        return f"{self._folder}: the chat template of its tokenizer"

    @property
    def has_chat(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return bool(self._whole.chat_template)

    @cached_property
    def _whole(self) -> Any:
        return load_tokenizer(self._folder)

    @cached_property
    def _closes(self) -> bool:
        return bool(self._guarded.encode("a", special=True).ids[-1] == self._end)


def padded(rows: Sequence[Sequence[int]], value: int, device: torch.device) -> torch.Tensor:
    """Rows of numbers as one tensor (n, longest), filled up at their ends."""
    import torch

    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows], device=device)


def padding_is_exact(network: Any) -> bool:
    """Whether padding moves no result of a network by more than float32 rounding: on a CPU."""
    import torch

    dtype = next(network.parameters()).dtype
    plain = dtype == torch.float32 and device_of(network).type == "cpu"
    return bool(plain and hides_padding(network))


def hides_padding(network: Any) -> bool:
    """Whether no token is known to see what follows its text: attention says that it is causal.

    An encoder before a decoder gets a mask.
    """
    if network.config.is_encoder_decoder:
        return True
    said = [module.is_causal for module in network.modules() if hasattr(module, "is_causal")]
    return bool(said) and all(said) and getattr(network.config, "is_causal", True) is not False


def batches(lengths: Sequence[int], exact: bool) -> list[list[int]]:
    """Which prompts run as one batch.

    :param lengths: tokens of each prompt.
    :param exact: whether all prompts run as one padded batch (:func:`padding_is_exact`); else only
        prompts of equal length share one.
    :returns: lists of positions in `lengths`.
    """
    if exact:
        return [list(range(len(lengths)))]
    groups: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        groups.setdefault(length, []).append(i)
    return list(groups.values())
