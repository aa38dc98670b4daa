"""Models made elsewhere: fetched, checked against their base, kept as they stand."""

from pathlib import Path
from typing import Any

from atlas.digests import weights_digest
from atlas.errors import AtlasError
from atlas.files import by_folder, by_name, copy, link, read_json
from atlas.progress import Progress
from atlas.sources import hub
from atlas.weights.adapters import check_base, check_fits, load_adapter
from atlas.weights.model_cards import write_card
from atlas.weights.tensors import Weights, check_finite, refuse_pickle


def fetch_adapter(
    *, model: str, source: dict[str, Any], cache: str, base: list[Path], base_names: list[str],
    address: list[str | None], sentence: str, weights: Path, config: Path, card: Path
) -> None:  # fmt: skip
    """Bring an adapter into results/models.

    :param source: hub (repo, revision) or local (folder).
    :raises AtlasError: for an adapter of another base (by recorded digest, then name, then
        shapes), a pickle, NaN or Inf.
    """
    with hub.beside(cache) as scratch:
        folder = Path(scratch) / model
        folder.mkdir()
        names = ["adapter_config.json", "adapter_model.safetensors"]
        origin = bring(source, Path(cache), folder, names)
        files = [folder / name for name in names]
        adapter = load_adapter(files)
        record = read_json(by_name(base)["base.json"])
        check_base(adapter, record, base_names)
        known = Weights(base)
        check_fits(adapter, {name: known.shape(name) for name in known})
        link(files[0], config)
        link(files[1], weights)
        digests = {"base": record["weights_sha256"], "adapter": weights_digest([files[1]])}
        write_card(card, name=model, base=record, address=str(address[0]), revision=address[1],
                   adapter=True, origin=origin, digests=digests, sentence=sentence)  # fmt: skip


def fetch_adapters(
    *, models: list[dict[str, Any]], cache: str, base: list[Path], base_names: dict[str, list[str]],
    addresses: dict[str, list[str | None]], weights: list[Path], config: list[Path],
    card: list[Path]
) -> None:  # fmt: skip
    """Bring several adapters into results/models, as :func:`fetch_adapter` does.

    :param models: name, base, source and sentence of each. :param base: files of their bases.
    :param base_names, addresses: base -> names and address.
    :raises AtlasError: with the reasons of all adapters that cannot be used.
    """
    files, reasons = by_folder(base), []
    progress = Progress(len(models), "adapter")
    for model, *outputs in zip(models, weights, config, card, strict=True):
        name, of = model["name"], model["base"]
        try:
            fetch_adapter(
                model=name, source=model["source"], cache=cache, base=files[of],
                base_names=base_names[of], address=addresses[of], sentence=model["sentence"],
                weights=outputs[0], config=outputs[1], card=outputs[2],
            )  # fmt: skip
        except hub.UnreachableError:
            raise
        except AtlasError as error:
            reasons.append(f"{name}: {error}")
        progress.step(name)
    if reasons:
        raise AtlasError(
            f"{len(reasons)} of {len(models)} adapters cannot be used; mend their lines of the sheet, "
            f"or name them in excluded of the pool. {' '.join(reasons)}"
        )


def fetch_full(
    *, model: str, source: dict[str, Any], cache: str, base: list[Path], address: list[str | None],
    sentence: str, weight_names: list[str], weights: list[Path], config: Path,
    tokenizer: list[Path], card: Path
) -> None:  # fmt: skip
    """Bring a full model into results/models.

    :raises AtlasError: for tensors or shapes that are not those of its base, a pickle, NaN.
    """
    with hub.beside(cache) as scratch:
        folder = Path(scratch) / model
        folder.mkdir()
        others = ["config.json", "tokenizer.json", "tokenizer_config.json"]
        origin = bring(source, Path(cache), folder, [*others, *weight_names])
        found = Weights([folder / name for name in weight_names])
        check_finite(found, model)
        known = Weights(base)
        if differing := set(known) ^ set(found):
            raise AtlasError(f"{model}: {sorted(differing)[0]} is in only one of model and base.")
        for name in known:
            if known.shape(name) != found.shape(name):
                raise AtlasError(
                    f"{model}: {name} has the shape {found.shape(name)}, and that of the base is "
                    f"{known.shape(name)}; it is a model of another base."
                )
        targets = [config, *tokenizer, *weights]
        for name, target in zip([*others, *weight_names], targets, strict=True):
            link(folder / name, target)
        record = read_json(by_name(base)["base.json"])
        own = weights_digest([folder / name for name in weight_names])
        digests = {"base": record["weights_sha256"], "weights": own}
        write_card(card, name=model, base=record, address=str(address[0]), revision=address[1],
                   adapter=False, origin=origin, digests=digests, sentence=sentence)  # fmt: skip


def pinned(source: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A source at the commit that its revision stands for, and that commit (of a folder: "")."""
    if "hub" not in source:
        return source, ""
    commit = hub.resolve(source["hub"]["repo"], source["hub"]["revision"])
    return {"hub": {"repo": source["hub"]["repo"], "revision": commit}}, commit


def bring(source: dict[str, Any], cache: Path, folder: Path, names: list[str]) -> str:
    """Link files of a model into a folder and say where they are from.

    :raises AtlasError: where one is missing, or only a pickle is there.
    """
    if "hub" in source:
        repo, revision = source["hub"]["repo"], source["hub"]["revision"]
        commit = hub.resolve(repo, revision)
        for name in names:
            link(hub.fetch(repo, commit, name, cache), folder / name)
        return f"Fetched from {repo} at the commit {commit}."
    place = Path(source["local"]).expanduser()
    for name in names:
        if not (place / name).is_file():
            pickles = sorted(p.name for p in place.glob("*.bin"))
            hint = f"; {pickles[0]} is a pickle, which is refused: convert it" if pickles else ""
            raise AtlasError(f"{place}: has no {name}{hint}.")
        if name.endswith(".safetensors"):
            refuse_pickle(place / name)
        copy(place / name, folder / name)
    return "Taken from a folder on the machine of the person who ran the workflow."
