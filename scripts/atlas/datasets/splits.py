"""From raw rows to splits: the published cuts, and rows as text."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import read_jsonl, write_json, write_jsonl
from atlas.guarded_templates import compiled, rendered
from atlas.sources.raw_rows import lookup

# Two private-use characters around the column that may be cut, taken out after rendering.
_OPEN, _CLOSE = "\ue000", "\ue001"
Row = dict[str, Any]
ROLES = ("system", "user", "assistant")
# As ShareGPT calls them, with `from` and `value` for role and content.
SPEAKERS = {"human": "user", "gpt": "assistant"}


def make_split(
    *, dataset: str, raw: Path, split: str, variant: str, kind: str, columns: dict[str, str],
    template: dict[str, Any], region: list[float], parts: list[str], most: int | None,
    cut: str | None, rows: Path, counts: Path
) -> None:  # fmt: skip
    """Write one split of a dataset.

    Each row has ``row``, its line in the raw file, and by `kind`: prompt and completion; prompt
    (or messages), chosen and rejected; messages; or text. ``cuttable`` is the span of characters of
    the prompt that a length policy may shorten.

    :raises AtlasError: for too few rows, a missing column, an empty prompt or completion.
    """
    source = read_jsonl(raw)
    chosen = split_rows(len(source), split, region, parts, dataset, most)
    render = _renderer(dataset, kind, columns, template, variant, cut)
    written, refused = [], 0
    for number in chosen:
        row = render(source[number], f"{dataset}, row {number}")
        if row is None:
            refused += 1
        else:
            written.append({"row": number, **row})
    if not written:
        raise AtlasError(f"{dataset}/{split}: no row has both a prompt and a completion.")
    write_jsonl(rows, written)
    write_json(
        counts,
        {"dataset": dataset, "split": split, "variant": variant, "rows_raw": len(source),
         "rows_in_split": len(chosen), "rows_refused_empty": refused, "rows": len(written)},
    )  # fmt: skip


def split_rows(
    total: int, split: str, region: Sequence[float], parts: Sequence[str], where: str,
    most: int | None = None,
) -> range:  # fmt: skip
    """Numbers of the rows of a split.

    The region is the first `most` rows where there are so many, else the first share of all rows
    (shares apply in turn, each rounded down); its parts are contiguous and equal, the last one
    takes what remains. ``rest`` is what follows the region, or everything where that is everything.

    :raises AtlasError: where a part would have no row.
    """
    end = total
    for share in region:
        # Guards against 0.1 * 0.3-like products falling just below a whole number.
        end = int(end * share + 1e-9)
    end = most if most and total >= most else end
    size = end // len(parts)
    if size == 0:
        raise AtlasError(
            f"{where}: {total} rows give a region of {end}, which is too few for the splits "
            f"{', '.join(parts)}; at least {len(parts)} rows are needed in the region."
        )
    rest = range(total) if end == total else range(end, total)
    whole = {"all": range(total), "region": range(end), "rest": rest}
    if split in whole:
        return whole[split]
    index = list(parts).index(split)
    return range(index * size, end if index == len(parts) - 1 else (index + 1) * size)


def _renderer(
    dataset: str, kind: str, columns: dict[str, str], template: Row, variant: str, cut: str | None
) -> Callable[[Row, str], Row | None]:
    sources = {
        key: template[key]
        for key in ("task", "input", "completion", "chosen", "rejected", "text")
        if template.get(key) is not None
    }
    turns = template["messages"] if isinstance(template.get("messages"), dict) else {}
    sources |= {role: source for role, source in turns.items() if source is not None}
    sources["frame"] = template["variants"][variant]
    texts = {
        key: compiled(source, f"{dataset}: the template {key!r}") for key, source in sources.items()
    }

    def put(key: str, values: dict[str, Any], where: str) -> str:
        return rendered(texts[key], values, f"{where}: the template {key!r}")

    def prompt(values: dict[str, Any], where: str) -> str:
        return put("frame", {key: put(key, values, where) for key in ("task", "input")}, where)

    def render(raw: dict[str, Any], where: str) -> dict[str, Any] | None:
        values = {name: lookup(raw, path, where) for name, path in columns.items()}
        if kind == "text":
            text = put("text", values, where)
            return {"text": text} if text.strip() else None
        row: dict[str, Any] = {}
        if template.get("messages") is not None:
            if turns:
                roles = [role for role in ROLES if role in sources]
                told = [{"role": r, "content": put(r, values, where)} for r in roles]
            else:
                told = values[template["messages"]]
            row["messages"] = _messages(told, where, cut=kind == "messages")
            if not row["messages"] or not all(m["content"].strip() for m in row["messages"]):
                return None
        else:
            row = {"prompt": prompt(values, where), "cuttable": None}
            if cut is not None and isinstance(values[cut], str):
                marked = values | {cut: f"{_OPEN}{values[cut]}{_CLOSE}"}
                row["cuttable"] = _span(lambda: prompt(marked, where), row["prompt"])
        answers = {"completion": ["completion"], "preference": ["chosen", "rejected"]}
        for key in answers.get(kind, []):
            row[key] = put(key, values, where)
            if not row[key].strip():
                return None
        return row

    return render


def _span(marked: Callable[[], str], plain: str) -> list[int] | None:
    """Where the marked column stands in a prompt; None where its template alters or drops it."""
    try:
        text = marked()
    except AtlasError:
        return None
    start, end = text.find(_OPEN), text.rfind(_CLOSE)
    same = text[:start] + text[start + 1 : end] + text[end + 1 :] == plain
    return [start, end - 1] if 0 <= start <= end and same else None


def _messages(told: Any, where: str, *, cut: bool) -> list[dict[str, str]]:
    """A conversation as a list of role and content.

    :param cut: up to its first answer (Tulu's cut); where it has none, or nothing before it, there
        is nothing.
    """
    if not isinstance(told, list):
        raise AtlasError(f"{where}: a conversation is a list of messages.")
    found: list[dict[str, str]] = []
    for message in told:
        given = message if isinstance(message, dict) else {}
        role = given.get("role", SPEAKERS.get(given.get("from", ""), given.get("from")))
        content = given.get("content", given.get("value"))
        if role is None or content is None:
            raise AtlasError(f"{where}: a message has a role and a content.")
        if not isinstance(content, str):
            raise AtlasError(
                f"{where}: the content of a message is text, not {type(content).__name__}."
            )
        found.append({"role": role, "content": content})
        if cut and role == "assistant":
            return found if len(found) > 1 else []
    return [] if cut else found
