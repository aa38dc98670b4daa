"""The rows that a model is trained on: mixed, drawn, made to fit, as tokens."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.datasets.labels import APART, Labelled, Labels
from atlas.errors import AtlasError
from atlas.files import read_jsonl, write_json, write_jsonl
from atlas.networks.tokens import Tokens

Row = dict[str, Any]


def prepare_rows(
    *, model: str, objective: str, tokenizer: list[Path], splits: list[Path],
    data: list[dict[str, Any]], total: int | None, seed: int, length: dict[str, Any], rows: Path,
    counts: Path, raw: list[Path] | None = None, room: int = 0
) -> None:  # fmt: skip
    """Write the tokens that a model is trained on, and what became of each dataset's rows.

    sft rows have ``input_ids``, ``completion_start`` (position of the first token with a loss)
    and, where there is one, ``unlearnt_token`` (which has none anywhere); dpo rows ``prompt_ids``,
    ``chosen_ids``, ``rejected_ids``, ``chosen_prompt_start`` and ``rejected_prompt_start`` (what of
    the prompt stands before that answer begins there); grpo rows ``prompt``, ``prompt_ids`` and
    ``entry`` (the raw row, which the grader reads); cpt rows ``input_ids``, packed. Each names its
    ``dataset``, ``split`` and ``row`` (cpt: ``rows``).

    :param data: dataset, split, share, rows, max_tokens and labels
        (:class:`atlas.datasets.labels.Labels`) of each entry of the mixture.
    :param total: rows to draw from the mixture (None: as many as there are).
    :param length: ``policy`` for rows that are too long, and ``prompt_tokens`` (dpo): of a longer
        prompt, the start goes first (None, or not there: however long).
    :param raw, room: for grpo: raw rows of each entry, and tokens that a completion may have.
    :raises AtlasError: where rows are lacking, or a row is too long and the policy is refuse.
    """
    tokens = Tokens(tokenizer[0].parent)
    sources = [read_jsonl(file) for file in splits]
    sizes = amounts([len(source) for source in sources], data, total, model)
    draw = random.Random(seed)
    chosen: list[dict[str, Any]] = []
    report = []
    entries = [read_jsonl(file) for file in raw or []] or [None] * len(data)
    for entry, source, size, problems in zip(data, sources, sizes, entries, strict=True):
        name = f"{entry['dataset']}/{entry['split']}"
        fit = Fit(tokens, entry["max_tokens"], length["policy"], entry["labels"],
                  length.get("prompt_tokens"))  # fmt: skip
        # Rows are tried in a random order until there are enough that fit.
        picked: list[dict[str, Any]] = []
        for row in source if size is None else draw.sample(source, len(source)):
            if len(picked) == size:
                break
            where = f"{name}, row {row['row']}"
            if problems is None:
                fitted = fit.row(row, where)
            else:
                fitted = fit.problem(row, room, problems[row["row"]], where)
            if fitted is not None:
                picked.append({"dataset": entry["dataset"], "split": entry["split"],
                               "row": row["row"], **fitted})  # fmt: skip
        if not picked or len(picked) < (size or 0):
            raise AtlasError(
                f"{model}: needs {size or 1} rows of {name}, and {len(picked)} of {len(source)} fit "
                f"into {entry['max_tokens']} tokens; ask for fewer rows or raise length.max_tokens."
            )
        chosen += sorted(picked, key=lambda row: row["row"])
        report.append({
            "dataset": entry["dataset"], "split": entry["split"], "rows_in_split": len(source),
            "rows_read": fit.read, "rows_cut": fit.cut, "rows_truncated": fit.truncated,
            "rows_dropped": fit.dropped, "rows_refused": 0, "rows_unlearnt": fit.unlearnt,
            "rows": len(picked),
        })  # fmt: skip
    if objective == "cpt":
        chosen = pack(chosen, max(entry["max_tokens"] for entry in data))
    write_jsonl(rows, chosen)
    write_json(counts, {"model": model, "policy": length["policy"], "data": report,
                        "rows": len(chosen)})  # fmt: skip


def amounts(
    available: Sequence[int], data: Sequence[Row], total: int | None, where: str
) -> list[int | None]:
    """How many rows each entry of a mixture gives; None for all that fit.

    An entry with ``rows`` gives so many. With shares, the mixture has `total` rows, or as many
    as the scarcest entry allows, and each entry gives its share of them, rounded down.
    Otherwise what `total` leaves is spread in proportion to what there is.

    :raises AtlasError: where an entry has fewer rows than it should give.
    """
    wanted: list[int | None]
    pairs = list(zip(available, data, strict=True))
    if any(entry.get("share") is not None for entry in data):
        limit = min(int(n / e["share"] + 1e-9) for n, e in pairs)
        size = limit if total is None else total
        wanted = [int(size * e["share"] + 1e-9) for e in data]
    elif total is not None:
        fixed = sum(e.get("rows") or 0 for e in data)
        room = sum(n for n, e in pairs if not e.get("rows"))
        wanted = [e.get("rows") or max(total - fixed, 0) * n // room for n, e in pairs]
    else:
        wanted = [e.get("rows") for e in data]
    for need, (there, entry) in zip(wanted, pairs, strict=True):
        if need is not None and (need > there or need == 0):
            raise AtlasError(
                f"{where}: needs {max(need, 1)} rows of {entry['dataset']}/{entry['split']}, and "
                f"there are {there}."
            )
    return wanted


@dataclass
class Fit:
    """Makes rows fit a length, and counts what that took."""

    tokens: Tokens
    max_tokens: int
    policy: str
    settings: Mapping[str, Any] = field(default_factory=lambda: APART)
    prompt_tokens: int | None = None
    read: int = 0
    cut: int = 0
    truncated: int = 0
    dropped: int = 0
    unlearnt: int = 0

    def __post_init__(self) -> None:
        self.labels = Labels(self.tokens, self.settings)

    def row(self, row: dict[str, Any], where: str) -> dict[str, Any] | None:
        """Tokens of a row, or None where it is dropped."""
        self.read += 1
        if "text" in row:
            return {"input_ids": self.tokens.text(row["text"], close=True)}
        if "chosen" in row:
            return self._pair(row, where)
        if "messages" in row:
            return self._learnt(self.labels.exchange(*self.tokens.exchange(row["messages"])), where)
        found = self.labels.of(row["prompt"], row["completion"])
        if self._may_cut(row, len(found.ids) - self.max_tokens):
            shorter = self._shorten(row, lambda p: len(self.labels.of(p, row["completion"]).ids))
            found = found if shorter is None else self.labels.of(shorter, row["completion"])
        return self._learnt(found, where)

    def problem(self, row: Row, room: int, entry: Row, where: str) -> Row | None:
        """A prompt that leaves room for a completion, with its raw row, or None if dropped."""
        self.read += 1
        prompt = self.tokens.prompt(row["prompt"])
        if len(prompt) + room > self.max_tokens:
            if self.policy != "drop":
                raise AtlasError(
                    f"{where}: {len(prompt)} tokens of prompt and {room} of completion do not fit "
                    f"into {self.max_tokens}; raise length.max_tokens, or choose the policy drop."
                )
            self.dropped += 1
            return None
        return {"prompt": row["prompt"], "prompt_ids": prompt, "entry": entry}

    def _learnt(self, found: Labelled, where: str) -> Row | None:
        """A row of supervised fine-tuning; one whose prompt fills the length is kept as published."""
        if not self._fits(found.start, len(found.ids) - found.start, where):
            if self._is_dropped(found.start, keep=self.labels.keep):
                return None
            found = found.cut(self.max_tokens)
        self.unlearnt += not found.learns
        return found.row()

    def _pair(self, row: Row, where: str) -> Row | None:
        """A prompt and its two answers, tokenised apart as TRL does, each answer with its end token."""
        answers = {key: row[key] for key in ("chosen", "rejected")}
        if "messages" in row:
            opening, answers = self.tokens.answers(row["messages"], answers)
        else:
            opening = row["prompt"]
        ids = {key: self.tokens.text(text, close=True) for key, text in answers.items()}
        longest = max(len(answer) for answer in ids.values())
        prompt = self.tokens.text(opening, close=False)
        if self._may_cut(row, len(prompt) + longest - self.max_tokens):
            shorter = self._shorten(row, lambda p: len(self.tokens.text(p, close=False)) + longest)
            prompt = prompt if shorter is None else self.tokens.text(shorter, close=False)
        if self.prompt_tokens is not None:
            prompt = prompt[-self.prompt_tokens :]
        starts = dict.fromkeys(ids, 0)
        if not self._fits(len(prompt), longest, where):
            if self.policy == "keep_end":
                self.truncated += 1
                room = {key: self.max_tokens - len(answer) for key, answer in ids.items()}
                starts = {key: max(0, len(prompt) - max(0, n)) for key, n in room.items()}
                ids = {key: answer[-self.max_tokens :] for key, answer in ids.items()}
            elif self._is_dropped(len(prompt)):
                return None
            else:
                ids = {key: answer[: self.max_tokens - len(prompt)] for key, answer in ids.items()}
        found: Row = {"prompt_ids": prompt}
        for key, answer in ids.items():
            found |= {f"{key}_ids": answer, f"{key}_prompt_start": starts[key]}
        return found

    def _fits(self, prompt: int, longest: int, where: str) -> bool:
        """Whether so many tokens of prompt and completion fit."""
        if prompt + longest <= self.max_tokens:
            return True
        if self.policy == "refuse":
            raise AtlasError(
                f"{where}: {prompt} tokens of prompt and {longest} of completion do not "
                f"fit into {self.max_tokens}; raise length.max_tokens, or choose the policy "
                "cut, truncate or drop."
            )
        return False

    def _is_dropped(self, prompt: int, *, keep: bool = False) -> bool:
        """Whether a row that is too long goes; else its end does.

        :param keep: whether it stays where its prompt fills the length.
        """
        drops = self.policy in ("cut", "drop") or (prompt >= self.max_tokens and not keep)
        self.dropped += drops
        self.truncated += not drops
        return drops

    def _may_cut(self, row: Row, excess: int) -> bool:
        return excess > 0 and self.policy == "cut" and bool(row["cuttable"])

    def _shorten(self, row: Row, size: Callable[[str], int]) -> str | None:
        """Cut the end of a span of the prompt until the row fits; None where it never does.

        :param size: prompt -> tokens of the row with it.
        """
        prompt, (start, end) = row["prompt"], row["cuttable"]
        offsets = self.tokens.offsets(prompt[start:end])
        keep = len(offsets)
        while keep > 0:
            shorter = prompt[: start + offsets[keep - 1][1]] + prompt[end:]
            if (excess := size(shorter) - self.max_tokens) <= 0:
                self.cut += 1
                return str(shorter)
            keep -= max(1, excess)
        return None


def pack(rows: Sequence[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Join texts and cut them into blocks of `size` tokens; the last, shorter block stays."""
    tokens: list[int] = []
    owners: list[tuple[str, int]] = []
    for row in rows:
        tokens += row["input_ids"]
        owners += [(f"{row['dataset']}/{row['split']}", row["row"])] * len(row["input_ids"])
    packed = []
    for start in range(0, len(tokens), size):
        block = owners[start : start + size]
        if len(block) < 2:
            break
        packed.append({"rows": [list(pair) for pair in dict.fromkeys(block)],
                       "input_ids": tokens[start : start + size], "completion_start": 0})  # fmt: skip
    return packed
