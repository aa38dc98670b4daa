"""Sentence encoders: sentence-transformers folders from a package file, a hub or a folder."""

import tempfile
from pathlib import Path
from typing import Any

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import copy, link, read_json, typed_path, write_json
from atlas.guarded_tokenizers import check_tokenizer
from atlas.networks.tokens import byte_tokenizer
from atlas.sources import hub, packages
from atlas.sources.encoder_files import ENCODER_FILES
from atlas.weights.portable_settings import IMPLIED, portable_config, portable_tokenizer
from atlas.weights.tensors import refuse_pickle


def fetch_encoder(
    *, name: str, source: dict[str, Any], licence: str, cache: str, files: list[Path], record: Path
) -> None:
    """Bring a sentence encoder into results/.

    :param files: one place for each of :data:`ENCODER_FILES`, in their order.
    :raises AtlasError: where the source lacks one of them.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "1_Pooling").mkdir()
        origin: dict[str, Any] = dict(source)
        if "pypi" in source:
            folder = packages.take(source["pypi"], Path(cache), folder)
        elif "hub" in source:
            repo = source["hub"]["repo"]
            commit = hub.resolve(repo, source["hub"]["revision"])
            origin = {"hub": {**source["hub"], "commit": commit}}
            for file in ENCODER_FILES:
                link(hub.fetch(repo, commit, file, Path(cache)), folder / file)
        elif "local" in source:
            origin = {"local": True}
            place = typed_path(source["local"])
            for file in ENCODER_FILES:
                if (place / file).is_file():
                    copy(place / file, folder / file)
        elif "random" in source:
            _from_seed(source["random"], folder)
        else:
            raise AtlasError(f"encoders.{name}: an encoder comes from pypi, hub, local or random.")
        for file, target in zip(ENCODER_FILES, files, strict=True):
            if not (folder / file).is_file():
                raise AtlasError(f"encoders.{name}: the source has no {file}.")
            if file.endswith(".safetensors"):
                refuse_pickle(folder / file)
            (link if file.endswith(".safetensors") else copy)(folder / file, target)
        check_tokenizer(folder / "tokenizer.json")
        write_json(
            record,
            {"name": name, "licence": licence, "origin": origin,
             "weights_sha256": sha256_file(folder / "model.safetensors")},
        )  # fmt: skip


def _from_seed(source: dict[str, Any], folder: Path) -> None:
    """A random BERT with mean pooling."""
    import torch
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoConfig, AutoModel

    tokenizer = byte_tokenizer()
    # As real encoders do: a start token, so that an empty sentence has an embedding too.
    start = str(tokenizer.bos_token)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.bos_token_id)]
    )
    config = AutoConfig.for_model(
        source["architecture"], **{"vocab_size": len(tokenizer), **source["config"]}
    )
    torch.manual_seed(source["seed"])
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    implied = {key: getattr(tokenizer, key) for key in IMPLIED}
    for file, form in (
        ("config.json", portable_config),
        ("tokenizer_config.json", lambda settings: portable_tokenizer(settings | implied)),
    ):
        write_json(folder / file, form(read_json(folder / file)))
    pooling = {"word_embedding_dimension": config.hidden_size, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling/config.json", pooling)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 128})
    write_json(folder / "config_sentence_transformers.json", {"__version__": {}})
    parts = enumerate([("Transformer", ""), ("Pooling", "1_Pooling")])
    modules = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
               for i, (kind, path) in parts]  # fmt: skip
    write_json(folder / "modules.json", modules)
