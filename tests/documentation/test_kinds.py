"""The table of kinds in docs/models.md says what the tested kinds of models show."""

from __future__ import annotations

import warnings

import pytest

from atlas.networks.full_models import FullModel
from atlas.networks.named_weights import unchanged
from atlas.networks.shards import read_model
from atlas.weights.adapters import Adapter
from documents import ROOT
from unit.networks.kinds import make_base
from unit.networks.model_kinds import EMBEDDED

# Row of the table, by its first words -> kinds that stand for it.
ROWS = {
    "LoRA of any rank": ["lora", "rslora", "rank and alpha patterns", "from eva"],
    "IA3": ["ia3", "ia3, patterns"],
    "LoRA with biases": ["dora", "all biases", "a bias of B"],
    "LoRA of embeddings": ["embeddings", "tied embeddings"],
    "modules saved whole": ["norms saved", "tokens", "grown", "shrunk"],
    "LoRA of experts": ["experts", "expert by expert"],
    "PiSSA, OLoRA": ["from pissa", "from olora"],
    "LoRA of a classifier": ["sequences", "no head, biases"],
    "LoHa": ["loha", "lokr", "vera", "adalora", "oft", "boft", "hra"],
    "activated LoRA": ["activated", "activated, silent"],
    "prompt, prefix": ["prompt", "prefix", "p-tuning"],
    "full models": ["full, rope_theta", "full, grown", "full, float16"],
    "what PEFT's": ["merged: dora", "merged: grown"],
}


def table() -> dict[str, tuple[str, str]]:
    """First column of the table of kinds -> who applies it, and its dW."""
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    lines = text.partition("| kind | applied by | dW |")[2].split("\n\n")[0].splitlines()[2:]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {kind: (applied, dw) for kind, applied, dw in cells}


def test_each_row_stands_for_kinds():
    assert len(table()) == len(ROWS)
    for row, start in zip(table(), ROWS, strict=True):
        assert row.startswith(start)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_says_what_its_kinds_show(row, tmp_path):
    ((applied, dw),) = (cells for kind, cells in table().items() if kind.startswith(row))
    for number, name in enumerate(ROWS[row]):
        kind = EMBEDDED[name]
        base, folder = tmp_path / f"b{number}", tmp_path / f"m{number}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make_base(base, kind.base)
            kind.make(base, folder)
        files = sorted(file for file in folder.iterdir() if file.is_file())
        model = read_model(files, {"name": "base", "weights_sha256": "x"}, ["lab/base"])
        by = {Adapter: "hooks", FullModel: "transformers"}.get(type(model), "PEFT")
        assert applied.startswith(by), name
        assert (dw == "none") == bool(unchanged(files)), name
