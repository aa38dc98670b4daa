"""Models made elsewhere: fetched, checked against their base, kept as they stand."""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from atlas.digests import weights_digest
from atlas.errors import AtlasError
from atlas.files import by_folder, by_name, copy, link, read_json, typed_path
from atlas.guarded_tokenizers import check_tokenizer
from atlas.limits import without_panics
from atlas.networks.architectures import blank, is_seq2seq
from atlas.networks.full_models import FullModel
from atlas.networks.shards import Model, check_model, read_model
from atlas.networks.vocabularies import refuse_other_vocabulary
from atlas.progress import Progress
from atlas.sources import hub
from atlas.weights.model_cards import write_card
from atlas.weights.tensors import Weights, check_stored, refuse_pickle
from atlas.weights.weight_files import (
    INDEX,
    WHOLE,
    instead,
    listed_files,
    named_weights,
    place_weights,
    placed_digest,
)

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
LEAST = 1 << 30  # bytes that any file of a model may have
SETTINGS = ("config.json", "tokenizer.json", "tokenizer_config.json")


def fetch_adapter(
    *, model: str, source: dict[str, Any], cache: str, base: list[Path], base_names: list[str],
    address: list[str | None], sentence: str, weights: Path, config: Path, card: Path
) -> None:  # fmt: skip
    """Bring an adapter into results/models.

    :param source: hub (repo, revision) or local (folder).
    :raises AtlasError: for an adapter of another base (by recorded digest, then name, then
        shapes), a pickle, NaN or Inf.
    """
    with hub.beside(cache) as scratch, told_as(source, folder := Path(scratch) / model):
        most = most_bytes(_blank(by_name(base)["config.json"].parent))
        origin = bring_adapter(source, Path(cache), folder, most)
        files = [folder / name for name in ADAPTER]
        record = checked(files, base, base_names)
        copy(files[0], config)
        link(files[1], weights)
        digests = {"base": record["weights_sha256"], "adapter": weights_digest([files[1]])}
        write_card(card, name=model, base=record, address=str(address[0]), revision=address[1],
                   adapter=True, origin=origin, digests=digests, sentence=sentence,
                   seq2seq=is_seq2seq(by_name(base)["config.json"].parent))  # fmt: skip


def checked(
    files: Sequence[Path], base: Sequence[Path], base_names: Sequence[str]
) -> dict[str, Any]:
    """Check that a model is one of a base, without computing with it.

    :param files: of the model. :param base: base.json and config.json of the base.
    :returns: base.json.
    :raises AtlasError: where it is not, or cannot be read.
    """
    named = by_name(base)
    record: dict[str, Any] = read_json(named["base.json"])
    fit(_blank(named["config.json"].parent), read_model(files, record, base_names))
    return record


def fit(network: Any, model: Model) -> None:
    """Refuse a model that cannot be used: of a full one, all weights are read, too.

    :param network: the base, blank.
    :raises AtlasError: saying why.
    """
    if isinstance(model, FullModel):
        check_stored(Weights(sorted(model.folder.glob("*.safetensors*"))), model.name)
    check_model(network, model)


def most_bytes(network: Any) -> int:
    """Bytes of the largest file of weights that a model of a base may have: twice the base in float64."""
    return LEAST + 16 * sum(parameter.numel() for parameter in network.parameters())


@functools.cache
def _blank(folder: Path) -> Any:
    """The blank network of a base, made once for all models of a job."""
    return blank(folder)


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
    with hub.beside(cache) as scratch, told_as(source, folder := Path(scratch) / model):
        most = most_bytes(_blank(by_name(base)["config.json"].parent))
        origin, stored = bring_full(source, Path(cache), folder, base, most)
        record = checked([folder / name for name in (*SETTINGS, *stored)], base, [])
        for name, target in zip(SETTINGS, [config, *tokenizer], strict=True):
            copy(folder / name, target)
        place_weights([folder / name for name in stored], weight_names, weights)
        own = placed_digest(weights, weight_names)
        digests = {"base": record["weights_sha256"], "weights": own}
        write_card(card, name=model, base=record, address=str(address[0]), revision=address[1],
                   adapter=False, origin=origin, digests=digests, sentence=sentence,
                   seq2seq=is_seq2seq(folder))  # fmt: skip


def pinned(source: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """A source at the commit that its revision stands for, and that commit (of a folder: "")."""
    if "hub" not in source:
        return source, ""
    commit = hub.resolve(source["hub"]["repo"], source["hub"]["revision"])
    return {"hub": {**source["hub"], "revision": commit}}, commit


@contextlib.contextmanager
def told_as(source: Mapping[str, Any], folder: Path) -> Iterator[None]:
    """Within this context, a model is in a folder for a moment, and errors name where it is from."""
    folder.mkdir(exist_ok=True)
    try:
        with without_panics():
            yield
    except (hub.UnreachableError, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except AtlasError as error:
        raise AtlasError(str(error).replace(str(folder), _where(source))) from None
    except Exception as error:  # what a library meets in a damaged file may be anything
        raise AtlasError(
            f"{_where(source)}: its files are damaged ({type(error).__name__}: {error}); look at them, "
            "or leave this model out."
        ) from error


def _where(source: Mapping[str, Any]) -> str:
    """Where a model comes from, as its user wrote it."""
    found = source.get("hub")
    return (
        "/".join(filter(None, (found["repo"], found.get("subfolder"))))
        if found
        else source["local"]
    )


class Place:
    """The folder, or the folder of a repository, that a model is in.

    :param source: hub (repo, revision, subfolder) or local.
    """

    def __init__(self, source: Mapping[str, Any], cache: Path) -> None:
        self._cache, self.commit, self.folder = cache, "", Path()
        if "hub" in source:
            found, self.commit = pinned(source)
            self.repo = found["hub"]["repo"]
            self.inside = found["hub"].get("subfolder") or ""
            self.where = _where(source)
            self.origin = f"Fetched from {self.where} at the commit {self.commit}."
        else:
            self.folder = typed_path(source["local"])
            self.origin = "Taken from a folder on the machine of the person who ran the workflow."
            self.where = str(self.folder)
            if not self.folder.is_dir():
                raise AtlasError(f"{self.folder}: there is no such folder.")

    def names(self) -> list[str]:
        """Names of its files, and of files in folders below it."""
        if not self.commit:
            below = (f"*/{ADAPTER[0]}", f"*/{WHOLE}", f"*/{INDEX}", "snapshots/*")
            return sorted(
                f.relative_to(self.folder).as_posix()
                for pattern in ("*", *below) for f in self.folder.glob(pattern)
            )  # fmt: skip
        prefix = f"{self.inside}/" if self.inside else ""
        present = hub.file_names(self.repo, self.commit, self._cache)
        return [name.removeprefix(prefix) for name in present if name.startswith(prefix)]

    def bring(self, names: Iterable[str], folder: Path, most: int = LEAST) -> None:
        """Link files into a folder.

        :param most: bytes that one may have.
        :raises AtlasError: where one is missing, is a pickle, or is larger.
        """
        for name in names:
            file = self.folder / name
            if self.commit:
                path = f"{self.inside}/{name}".lstrip("/")
                file = hub.fetch(self.repo, self.commit, path, self._cache)
            elif not file.is_file():
                raise AtlasError(f"{self.folder}: has no {name}.")
            if (size := file.stat().st_size) > most:
                raise AtlasError(
                    f"{self.where}: {name} has {size >> 20:,} MiB, and no model of its base has one of more "
                    f"than {most >> 20:,}."
                )
            if name.endswith(".safetensors") and not self.commit:
                refuse_pickle(file)
            (link if self.commit else copy)(file, folder / name)


def bring_adapter(source: Mapping[str, Any], cache: Path, folder: Path, most: int) -> str:
    """Link the two files of an adapter into a folder and say where they are from.

    :param most: as of :meth:`Place.bring`.
    :raises AtlasError: where there is no adapter; with what is there instead.
    """
    place = Place(source, cache)
    # A hub is asked for its list of files only where one is missing.
    if not place.commit:
        refuse_other(place)
    try:
        place.bring(ADAPTER, folder, most)
    except hub.MissingFileError:
        refuse_other(place)
        raise
    return place.origin


def refuse_other(place: Place) -> None:
    """Say what is there, where it is not an adapter."""
    present = place.names()
    if missing := [name for name in ADAPTER if name not in present]:
        below = sorted(n.partition("/")[0] for n in present if n.endswith("/adapter_config.json"))
        full = "it is a full model, not an adapter: give it kind: full"
        if below:
            hint = f"there are adapters in its folders {', '.join(below)}: name one of them"
        elif ADAPTER[0] in missing and {WHOLE, INDEX} & set(present):
            hint = full
        else:
            nothing = "name the folder that PEFT's save_pretrained wrote"
            hint = instead(present, full if SETTINGS[0] in present else nothing)
        raise AtlasError(f"{place.where}: has no {missing[0]}; {hint}.")


def bring_full(
    source: Mapping[str, Any], cache: Path, folder: Path, base: Sequence[Path], most: int
) -> tuple[str, list[str]]:
    """Link the files of a full model into a folder.

    A model without a fast tokenizer of its own gets that of its base, which reads the probes anyway.

    :param base: files of the base. :param most: as of :meth:`Place.bring`.
    :returns: where they are from, and the names of its weights, the index last.
    :raises AtlasError: where one is missing, or only a pickle is there.
    """
    place = Place(source, cache)
    present = place.names()
    first = named_weights(present, place.where)
    tokenizer = SETTINGS[1:]
    if all(name in present for name in tokenizer):
        place.bring(tokenizer, folder)
        check_tokenizer(folder / tokenizer[0])
        refuse_other_vocabulary(by_name(base)[tokenizer[0]], folder / tokenizer[0])
    else:
        for name in tokenizer:
            link(by_name(base)[name], folder / name)
    place.bring([SETTINGS[0], first], folder, most)
    stored = listed_files(folder / first)
    place.bring([name for name in stored if name != first], folder, most)
    return place.origin, stored
