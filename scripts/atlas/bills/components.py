"""Models, bases, deltas and datasets as components of CycloneDX 1.7."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from atlas.bills.origins import SPDX, hub_address, hub_purl, in_words, package_files, package_purl
from atlas.bills.things import MODELS, Thing, base_of, short

OWN = "delta-atlas:"  # before the names of properties that CycloneDX has no place for
KWH = 3_600_000  # joules
APPROACHES = {"sft": "supervised", "dpo": "supervised", "cpt": "self-supervised",
              "grpo": "reinforcement-learning"}  # fmt: skip
NOUNS = {"model": "A model", "merged": "A merged model: a model plus an instruction delta",
         "composed": "A composed model: adapters of a pool, weighed for a task (LoraHub)",
         "base": "A base", "delta": "An instruction delta", "dataset": "Raw rows"}  # fmt: skip


def component(
    thing: Thing, things: Mapping[str, Thing], training: list[str] | None = None
) -> dict[str, Any]:
    """A thing with its digests, licence, address, and what it is descended from.

    :param training: lines of training.csv.
    """
    of_model = thing.kind in MODELS
    found: dict[str, Any] = {
        "type": "machine-learning-model" if of_model else "data",
        "bom-ref": thing.ref,
        "name": thing.name,
        "version": f"sha256:{_joint(thing)}",
        "description": described(thing, things),
        "hashes": _hashes(*thing.weights.values()) if len(thing.weights) == 1 else None,
        "licenses": _licences(licence_of(thing, things)),
        "purl": purl_of(thing),
        "externalReferences": list(_references(thing)),
        "pedigree": _pedigree(thing, things),
        "components": [_file(thing, path, digest) for path, digest in sorted(thing.made.outputs.items())],
        "modelCard": model_card(thing, things, training or []) if of_model else None,
        "data": None if of_model else [_data(thing)],
        "properties": list(_properties(thing)),
    }  # fmt: skip
    if hub := thing.origin.get("hub"):
        found["supplier"] = {"name": hub["repo"].partition("/")[0]}
    return {key: value for key, value in found.items() if value}


def described(thing: Thing, things: Mapping[str, Thing]) -> str:
    """What it is, in a sentence."""
    recipe, base = thing.made.params.get("recipe"), base_of(thing, things)
    if recipe and base:
        how = f"{recipe['objective']} ({recipe['parameters']})"
        return f"{NOUNS[thing.kind]}, trained from {base.name} with {how}."
    if thing.origin:
        return f"{NOUNS[thing.kind]}, from {in_words(thing.origin)}."
    made_of = ", ".join(things[ref].name for ref in thing.behind)
    return f"{NOUNS[thing.kind]}, made of {made_of}."


def licence_of(thing: Thing, things: Mapping[str, Thing]) -> str | None:
    """The licence of its record; a model has that of its base, as its card says."""
    if "licence" in thing.record:
        return str(thing.record["licence"])
    base = base_of(thing, things) if thing.kind in MODELS else None
    return str(base.record["licence"]) if base and "licence" in base.record else None


def purl_of(thing: Thing) -> str | None:
    """The package URL of what a hub or a package index has."""
    if hub := thing.origin.get("hub"):
        return hub_purl(hub["repo"], hub.get("commit"), thing.kind == "dataset")
    files = {package_purl(file["name"]) for file in package_files(thing.origin)}
    return files.pop() if len(files) == 1 else None


def model_card(thing: Thing, things: Mapping[str, Thing], training: list[str]) -> dict[str, Any]:
    """How a model was trained and on what, as far as statements say."""
    recipe = thing.made.params.get("recipe") or {}
    base = base_of(thing, things)
    config = thing.config or (base.config if base else {})
    names = config.get("architectures") or []
    parameters: dict[str, Any] = {
        "approach": {"type": APPROACHES[recipe["objective"]]} if recipe else None,
        "task": "text2text-generation" if config.get("is_encoder_decoder") else "text-generation",
        "architectureFamily": config.get("model_type"),
        "modelArchitecture": names[0] if names else None,
        "datasets": [{"ref": ref} for ref in thing.behind if things[ref].kind == "dataset"],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    card: dict[str, Any] = {"modelParameters": {k: v for k, v in parameters.items() if v}}
    if metrics := list(_metrics(training)):
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if energy := _energy(thing):
        card["considerations"] = {"environmentalConsiderations": {"energyConsumptions": [energy]}}
    if settings := list(_settings(thing)):
        card["properties"] = settings
    return card


def _metrics(training: list[str]) -> Iterator[dict[str, str]]:
    """What the last line of training.csv measures."""
    if len(training) > 1:
        last = dict(zip(training[0].split(","), training[-1].split(","), strict=True))
        for name in ("loss", "reward"):
            if last.get(name):
                where = (
                    f"training rows, at step {last['step']}" if "step" in last else "training rows"
                )
                yield {"type": f"training {name}", "value": last[name], "slice": where}


def _energy(thing: Thing) -> dict[str, Any] | None:
    """What the machine measured while the job ran; None where it measures nothing."""
    joules = thing.made.execution.get("energy_j")
    if not isinstance(joules, dict) or not joules:
        return None
    measured = {"value": sum(joules.values()) / KWH, "unit": "kWh"}
    provider = {"description": "Nothing is known of where the machine has its power from.",
                "organization": {"name": "unknown"}, "energySource": "unknown",
                "energyProvided": measured}  # fmt: skip
    return {
        "activity": "fine-tuning" if thing.made.params.get("recipe") else "other",
        "energyProviders": [provider],
        "activityEnergyCost": measured,
        "properties": [_property(f"energy_j.{name}", value) for name, value in sorted(joules.items())],
    }  # fmt: skip


def _settings(thing: Thing) -> Iterator[dict[str, str]]:
    """Recipe, seed and precision of a training."""
    params = thing.made.params
    for name, value in sorted((params.get("recipe") or {}).items()):
        yield _property(f"recipe.{name}", value)
    for name in ("seed", "dtype"):
        if params.get("recipe") and name in params:
            yield _property(name, params[name])


def _properties(thing: Thing) -> Iterator[dict[str, str]]:
    """The job behind it: statement, code, device and time; and the rows between it and its datasets."""
    made, execution = thing.made, thing.made.execution
    for path, digest in thing.weights.items():
        yield _property(f"sha256 {PurePosixPath(path).name}", digest)
    yield _property("statement", made.digest)
    yield _property("rule", made.rule)
    yield _property("code", f"{made.code['function']} {short(made.code['modules'])}")
    for name in ("device", "processor", "driver", "platform", "attention"):
        if name in execution:
            yield _property(name, execution[name])
    yield _property("started", made.started)
    yield _property("finished", made.finished)
    seconds = datetime.fromisoformat(made.finished) - datetime.fromisoformat(made.started)
    yield _property("seconds", f"{seconds.total_seconds():.3f}")
    for path, digest in sorted({**thing.rows, **thing.outside}.items()):
        yield _property(f"read {path}", f"sha256:{digest}")


def _pedigree(thing: Thing, things: Mapping[str, Thing]) -> dict[str, Any] | None:
    """What it is descended from, nearest first, down to bases and datasets."""
    order, queue = dict.fromkeys(thing.behind), list(thing.behind)
    for ref in queue:
        new = [r for r in things[ref].behind if r not in order]
        order |= dict.fromkeys(new)
        queue += new
    if not order:
        return None
    notes = f"{thing.made.rule}: {thing.made.code['function']}"
    return {"ancestors": [_ancestor(things[ref], things) for ref in order], "notes": notes}


def _ancestor(thing: Thing, things: Mapping[str, Thing]) -> dict[str, Any]:
    found = {
        "type": "machine-learning-model" if thing.kind in MODELS else "data",
        "name": thing.name,
        "version": f"sha256:{_joint(thing)}",
        "hashes": _hashes(*thing.weights.values()) if len(thing.weights) == 1 else None,
        "licenses": _licences(licence_of(thing, things)),
        "purl": purl_of(thing),
        "properties": [_property("bom-ref", thing.ref)],
    }
    return {key: value for key, value in found.items() if value}


def _references(thing: Thing) -> Iterator[dict[str, Any]]:
    """Where the bytes that were fetched are."""
    if hub := thing.origin.get("hub"):
        address = hub_address(hub["repo"], hub.get("commit"), thing.kind == "dataset")
        yield {"type": "distribution", "url": address}
    for file in package_files(thing.origin):
        yield {"type": "distribution", "url": package_purl(file["name"]),
               "comment": f"{file.get('member', '')} of {file['name']}",
               "hashes": _hashes(file["sha256"])}  # fmt: skip


def _data(thing: Thing) -> dict[str, Any]:
    counted = {k: v for k, v in thing.record.items() if k.startswith("rows")}
    contents = [_property(name, value) for name, value in sorted(counted.items())]
    found = {"type": "dataset" if thing.kind == "dataset" else "other", "name": thing.name}
    return found | ({"contents": {"properties": contents}} if contents else {})


def _file(thing: Thing, path: str, digest: str) -> dict[str, Any]:
    return {"type": "file", "bom-ref": f"{thing.ref}/{PurePosixPath(path).name}",
            "name": path, "hashes": _hashes(digest)}  # fmt: skip


def _joint(thing: Thing) -> str:
    digests = list(thing.weights.values())
    return (digests[0] if len(digests) == 1 else short(thing.weights))[:12]


def _hashes(*digests: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest} for digest in digests]


def _licences(name: str | None) -> list[dict[str, Any]]:
    if not name:
        return []
    spdx = SPDX.get(name.lower())
    return [{"license": {"id": spdx} if spdx else {"name": name}}]


def _property(name: str, value: Any) -> dict[str, str]:
    return {"name": f"{OWN}{name}", "value": value if isinstance(value, str) else str(value)}
