"""Bills of materials say what statements say, fit the schema, and are told again by verify."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from atlas.bills.bill import HANGS, check, described, told_again, write_bill
from atlas.bills.hub_cards import notices_of, told, write_hub_card
from atlas.bills.minimum import ELEMENTS, PREFIX
from atlas.errors import AtlasError
from atlas.files import json_bytes
from atlas.job import statements
from atlas.job.records import Records
from atlas.job.withdrawn import notices
from atlas.job.withdrawn.things import Thing
from atlas.lineage.verify import verify
from unit.bills.models import (
    BASE,
    BILL,
    CHAT,
    COMMIT,
    COMPOSED,
    DATASET,
    DELTA,
    MODEL,
    SUM,
    WEIGHTS,
    make,
)
from unit.job.runs import sha, statement


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DELTA_ATLAS_ROOT", raising=False)
    return tmp_path


@pytest.fixture
def records(root) -> Records:
    return Records(root)


def parts(bill: dict) -> dict[str, dict]:
    return {c["bom-ref"]: c for c in (bill["metadata"]["component"], *bill["components"])}


def properties(component: dict) -> dict[str, str]:
    return {p["name"]: p["value"] for p in component["properties"]}


def elements(bill: dict) -> dict[str, str]:
    told = bill["metadata"]["properties"]
    return {p["name"].removeprefix(PREFIX).split()[0]: p["value"] for p in told
            if p["name"].startswith(PREFIX)}  # fmt: skip


def test_a_model_its_base_and_its_data(records):
    bill = described(records, {WEIGHTS: None})
    check(json_bytes(bill))
    assert bill["specVersion"] == "1.7"
    found = parts(bill)
    model, base, data = found["model/m"], found["base/tiny"], found["dataset/sums"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha("m weights")}]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert base["purl"] == f"pkg:huggingface/org/tiny@{COMMIT}"
    assert base["supplier"] == {"name": "org"}
    assert data["purl"] == f"pkg:huggingface/datasets/org/sums@{COMMIT}"
    assert data["licenses"] == [{"license": {"id": "CC-BY-4.0"}}]
    assert data["hashes"][0]["content"] == sha(Path(f"{DATASET}.jsonl").read_bytes())
    card = model["modelCard"]
    assert card["modelParameters"] == {
        "approach": {"type": "supervised"}, "task": "text-generation", "architectureFamily": "llama",
        "modelArchitecture": "LlamaForCausalLM", "datasets": [{"ref": "dataset/sums"}],
        "inputs": [{"format": "text"}], "outputs": [{"format": "text"}],
    }  # fmt: skip
    assert properties(card) == {
        "delta-atlas:recipe.learning_rate": "0.5", "delta-atlas:recipe.objective": "sft",
        "delta-atlas:recipe.parameters": "lora", "delta-atlas:seed": "7",
    }  # fmt: skip
    (metric,) = card["quantitativeAnalysis"]["performanceMetrics"]
    assert metric == {"type": "training loss", "value": "1.25", "slice": "training rows, at step 2"}
    (energy,) = card["considerations"]["environmentalConsiderations"]["energyConsumptions"]
    assert energy["activityEnergyCost"] == {"value": 1.0, "unit": "kWh"}
    told = properties(model)
    assert told["delta-atlas:seconds"] == "30.000"
    rows = sha('{"row": 1}\n')
    assert told["delta-atlas:read results/datasets/sums/first.jsonl"] == f"sha256:{rows}"
    depends = {d["ref"]: d["dependsOn"] for d in bill["dependencies"]}
    assert depends["model/m"] == ["base/tiny", "dataset/sums", "pkg:pypi/trl@1.16.0"]


def test_a_merged_model_is_descended_from_all_behind_it(records):
    bill = described(records, {SUM: None})
    check(json_bytes(bill))
    ancestors = bill["metadata"]["component"]["pedigree"]["ancestors"]
    found = {a["properties"][0]["value"]: a for a in ancestors}
    assert set(found) == {"model/m", "delta/chat", "base/tiny", "base/tiny-chat", "dataset/sums"}
    assert found["base/tiny-chat"]["purl"] == "pkg:pypi/llm-tiny@0.1.2"
    for ref, text in (
        ("base/tiny", "tiny weights"),
        ("delta/chat", "delta"),
        ("model/m", "m weights"),
    ):
        assert found[ref]["hashes"] == [{"alg": "SHA-256", "content": sha(text)}]
    assert elements(bill)["DP-01"] == "name of components of type data"


def test_a_pool_has_its_models(records):
    bill = described(records, {WEIGHTS: None, SUM: None}, "both")
    check(json_bytes(bill))
    assert bill["metadata"]["component"]["bom-ref"] == "pool/both"
    depends = {d["ref"]: d["dependsOn"] for d in bill["dependencies"]}
    assert depends["pool/both"] == ["merged/m+chat", "model/m"]


def test_each_minimum_element_is_there_or_absent_with_a_reason(records):
    bills = [described(records, {WEIGHTS: None}), described(records, {SUM: None, WEIGHTS: None}, "p"),
             described(records, {f"{CHAT}/model.safetensors": None}),
             described(records, {COMPOSED: None}), described(records, {DELTA: None})]  # fmt: skip
    for bill in bills:
        told = elements(bill)
        assert list(told) == [number for number, *_ in ELEMENTS]
        assert len(told) == 50 and all(told.values())
        # Where an element names a place, there is something.
        for number, place in told.items():
            first = place.partition(",")[0].partition(":")[0].split()[0].split(".")
            if not place.startswith("absent") and first[0] in ("metadata", "components", "version"):
                value: Any = bill
                for key in first:
                    value = value[key]
                assert value, number
    assert elements(bills[0])["MDL-11"].startswith("modelCard.properties")
    # A base alone was trained elsewhere, on nobody here knows what.
    assert elements(bills[2])["MDL-11"].startswith("absent: no model of this bill was trained")
    assert elements(bills[2])["DP-01"].startswith("absent: no dataset stands behind it")


def test_a_machine_that_measures_no_energy(root):
    name = "results/models/n/adapter_model.safetensors"
    made = statement(
        {name: sha("n")}, {f"{BASE}/base.json": sha((root / f"{BASE}/base.json").read_bytes())}
    )
    statements.store(made, [name], root)
    bill = described(Records(root), {name: None})
    check(json_bytes(bill))
    assert "considerations" not in bill["metadata"]["component"]["modelCard"]


def test_what_has_no_statement_has_no_bill(records, root):
    with pytest.raises(AtlasError, match="has no statement; make it with the workflow first"):
        described(records, {"results/models/other/adapter_model.safetensors": None})
    (root / BASE / "base.json").write_text("{}")
    with pytest.raises(AtlasError, match=r"base\.json: is not what fetch_base_1 made"):
        described(Records(root), {WEIGHTS: None})


def test_what_does_not_fit_the_schema_is_refused(records):
    bill = described(records, {WEIGHTS: None})
    bill["metadata"]["component"]["modelCard"]["surprise"] = 1
    with pytest.raises(AtlasError, match=r"does not fit CycloneDX 1\.7: .*surprise"):
        check(json_bytes(bill))


def test_it_is_told_again_though_the_model_was_made_again(records, root):
    bill = described(records, {WEIGHTS: None})
    made = Records(root).statement(WEIGHTS)
    again = statement(made.outputs, made.inputs, "train_adapter", params=made.params, time=59)
    statements.store(again, made.outputs, root)
    newer = Records(root)
    assert newer.statement(WEIGHTS).digest != made.digest
    assert told_again(newer, bill) == json_bytes(bill)


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in inside:
        yield from leaves(inner, (*path, key)) if isinstance(inner, dict | list) else [(*path, key)]


def attest(root: Path, bill: dict, name: str = BILL, **params: Any) -> None:
    """A bill with the statement of its job, whatever it says."""
    data = json_bytes(bill)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)
    inputs = {f"{MODEL}/README.md": sha((root / f"{MODEL}/README.md").read_bytes())}
    made = statement(
        {name: sha(data)},
        inputs,
        "write_bill",
        function="atlas.bills.bill:write_bill",
        params=params,
    )
    statements.store(made, [name], root)


def test_verify_names_a_bill_that_says_something_else_whatever_it_is(root, records):
    bill = described(records, {WEIGHTS: None})
    attest(root, bill)
    assert verify(Records(root), [BILL]).broken == []
    for number, path in enumerate(leaves(bill)):
        forged = copy.deepcopy(bill)
        place: Any = forged
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = f"{place[path[-1]]}x" if isinstance(place[path[-1]], str) else 2
        try:
            same = told_again(records, forged) == json_bytes(forged)
        except AtlasError:
            same = False
        assert not same, path
        if number % 40 == 0:
            attest(root, forged)
            (fault,) = verify(Records(root), [BILL]).broken
            assert fault.file == BILL
            assert fault.sentence.startswith("says something else than the statements: "), path


def test_a_forged_licence_is_named_with_what_it_would_be(root, records):
    bill = described(records, {WEIGHTS: None})
    bill["metadata"]["component"]["licenses"] = [{"license": {"id": "MIT"}}]
    attest(root, bill)
    (fault,) = verify(Records(root), [BILL]).broken
    assert 'is "MIT", and would be "Apache-2.0"' in fault.sentence
    assert "metadata.component.licenses[0].license.id" in fault.sentence


def test_a_bill_of_a_pool_that_leaves_out_a_model_is_named(root, records):
    name, asked = "results/pools/p/bom.cdx.json", {"roots": [SUM, WEIGHTS], "notices": []}
    for roots, pool, whole in (([WEIGHTS, SUM], "p", True), ([WEIGHTS], "p", False),
                               ([WEIGHTS, SUM], "other", False)):  # fmt: skip
        attest(root, described(records, dict.fromkeys(roots), pool), name, pool="p", **asked)
        broken = verify(Records(root), [name]).broken
        assert whole == (not broken)
        assert whole or "it is of other models than its job was asked for" in broken[0].sentence


def test_the_rule_writes_it(root):
    place = root / BILL
    write_bill(told=[], bill=place, roots=[WEIGHTS], notices=[])
    assert json.loads(place.read_text()) == described(Records(root), {WEIGHTS: None})


def test_a_delta_is_descended_from_its_two_sides(records):
    bill = described(records, {DELTA: None})
    check(json_bytes(bill))
    root = bill["metadata"]["component"]
    assert (root["bom-ref"], root["type"]) == ("delta/chat", "data")
    ancestors = {a["properties"][0]["value"] for a in root["pedigree"]["ancestors"]}
    assert ancestors == {"base/tiny", "base/tiny-chat"}
    assert json_bytes(bill) == told_again(records, bill)


def test_a_composed_model_is_made_of_those_that_were_chosen(records):
    bill = described(records, {COMPOSED: None})
    check(json_bytes(bill))
    root = bill["metadata"]["component"]
    assert (root["bom-ref"], root["name"]) == ("composed/task/random-1", "task/random-1")
    # Of the pool it chose m; the other, and what they were ranked by, are not in it.
    assert set(parts(bill)) - {p for p in parts(bill) if p.startswith("pkg:")} == {
        "composed/task/random-1", "model/m", "base/tiny", "dataset/sums"}  # fmt: skip
    assert "results/models/few/rows.jsonl" in str(root["properties"])
    assert root["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert json_bytes(bill) == told_again(records, bill)


def withdrawn(root: Path) -> tuple[str, str]:
    """Notices of a row behind the model, and of a base that is not."""
    row = sha(Path(f"{DATASET}.jsonl").read_bytes().split(b"\n")[0])
    raw = sha(Path(f"{DATASET}.jsonl").read_bytes())
    thing = Thing("sums:0", "rows", {f"{DATASET}.jsonl": [raw]}, {"0": row})
    other = Thing("base:other", "files", {"results/sources/bases/other/model.safetensors": ["*"]})
    bad, good = (notices.write(root, {"thing": t.plain(), "reason": "it was\nasked for"})
                 for t in (thing, other))  # fmt: skip
    return bad, good


def test_a_bill_or_a_card_that_hides_or_invents_a_withdrawal_is_named(root, records):
    bad, good = withdrawn(root)
    name, read = "results/pushed/m.md", [f"{MODEL}/README.md", f"{BASE}/base.json"]
    asked = {"path": "models/m", "repo": "org/m", "origins": {}, "signed": False}

    def said() -> list[str]:
        faults = verify(Records(root), [BILL, name]).faults
        return [f.sentence.partition(": ")[2] for f in faults if f.kind == "artefact"]

    def attested(ids: list[str]) -> None:
        there = notices.named(root, ids)
        attest(
            root,
            described(records, {WEIGHTS: None}, None, there),
            roots=[WEIGHTS],
            notices=[bad, good],
        )
        card = told([root / one for one in read], withdrawn=there, **asked)
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(card)
        inputs = {one: sha((root / one).read_bytes()) for one in read}
        made = statement({name: sha(card)}, inputs, function="atlas.bills.hub_cards:write_hub_card",
                         params={**asked, "notices": [bad, good]})  # fmt: skip
        statements.store(made, [name], root)

    attested([bad])
    assert said() == []
    attested([])
    assert said() == [f"it tells of no notice, and would tell of the notice {bad}"] * 2
    attested([bad, good])
    assert len(said()) == 2
    attested([bad])
    notices.write(root, {"undoes": bad, "reason": "a mistake"})
    assert said() == []


def test_a_bill_and_a_card_tell_of_what_was_withdrawn(root):
    records = Records(root)
    bad, _ = withdrawn(root)
    place, card, ids = root / "bill", root / "card", notices.standing(root)
    write_bill(told=[], bill=place, roots=[WEIGHTS], notices=ids)
    bill = json.loads(place.read_text())
    said = {p["name"]: p["value"] for p in bill["metadata"]["properties"]}
    hanging = {name: value for name, value in said.items() if name.startswith(HANGS)}
    assert list(hanging) == [f"{HANGS}{bad}"]
    assert "sums:0, which was withdrawn on" in hanging[f"{HANGS}{bad}"]
    check(place.read_bytes())
    write_hub_card(read=[Path(f"{MODEL}/README.md"), Path(f"{BASE}/base.json")], card=card, path="models/m",
                   repo="org/m", origins={}, notices=ids)  # fmt: skip
    text = card.read_text()
    assert f"> **Withdrawn** (notice `{bad}`): it hangs on sums:0, which" in text
    assert "(it was asked for)" in text and notices_of(card.read_bytes()) == [bad]
    assert ModelCard(text).data.base_model == "org/tiny"
    # Told again, they say the same also when the notice is undone; nothing invents one.
    notices.write(root, {"undoes": bad, "reason": "a mistake"})
    assert told_again(records, bill) == place.read_bytes()
    write_bill(told=[], bill=place, roots=[WEIGHTS], notices=notices.standing(root))
    assert HANGS not in place.read_text()
    bill["metadata"]["properties"].append({"name": f"{HANGS}{'0' * 16}", "value": "x"})
    with pytest.raises(AtlasError, match="0000000000000000: is no notice"):
        told_again(records, bill)
