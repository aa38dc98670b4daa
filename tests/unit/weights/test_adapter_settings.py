"""What PEFT itself writes is taken, whatever the kind."""

from __future__ import annotations

import json
import warnings

import pytest
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from atlas.weights.adapter_settings import read_settings

# What some kinds cannot do without.
NEEDED = {"ADALORA": {"total_step": 10}, "CPT": {"task_type": "CAUSAL_LM"}}


@pytest.mark.parametrize("kind", sorted(kind.value for kind in PEFT_TYPE_TO_CONFIG_MAPPING))
def test_the_defaults_of_every_kind_are_taken(tmp_path, kind):
    make = {k.value: made for k, made in PEFT_TYPE_TO_CONFIG_MAPPING.items()}[kind]
    with warnings.catch_warnings(action="ignore"):
        make(**NEEDED.get(kind, {})).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert read_settings(tmp_path / "adapter_config.json") == written
