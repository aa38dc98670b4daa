"""Folders of models as people have them: settings and cards, no weights that are read here."""

from __future__ import annotations

import json
from pathlib import Path

from atlas.own_models.found import FoundModel
from atlas.plan.building import build
from unit.plan.small_plans import two_domains


def plan():
    """A plan with the bases tiny (an alias: lab/base) and other."""
    data = two_domains()
    data["bases"]["tiny"]["aliases"] = ["lab/base"]
    data["bases"]["other"] = {**data["bases"]["tiny"], "aliases": ["lab/other"], "billions": 1.0}
    return build(data)


def adapter(folder: Path, base: str | None = "lab/base", card: str = "", **settings) -> Path:
    """An adapter, as PEFT saves it; its weights are a file that is not looked into."""
    folder.mkdir(parents=True)
    found = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], **settings}
    if base is not None:
        found["base_model_name_or_path"] = base
    (folder / "adapter_config.json").write_text(json.dumps(found))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    if card:
        (folder / "README.md").write_text(card)
    return folder


def model(name="m", **more) -> FoundModel:
    values = {"source": f"./{name}", "subfolder": "", "name": name, "adapter": True,
              "settings": {}, "card": {}}  # fmt: skip
    return FoundModel(**{**values, **more})
