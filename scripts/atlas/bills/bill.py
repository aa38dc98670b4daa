"""The bill of materials of a model, a merged model or a pool: CycloneDX 1.7 with model cards.

https://cyclonedx.org/docs/1.7/json/. The same for the same statements.
"""

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from atlas.bills.components import OWN, component
from atlas.bills.minimum import told
from atlas.bills.origins import library_purl
from atlas.bills.things import Thing, gather, read_training, short, thing_of
from atlas.deployment import results_root
from atlas.errors import AtlasError
from atlas.files import json_bytes, write_bytes
from atlas.job.records import Records
from atlas.job.withdrawn.notices import Notice, Withdrawn, named

BILL = "bom.cdx.json"
SPEC = "1.7"
NAMESPACE = uuid.UUID("6f2a8f4e-0d0f-5b0e-9f5d-2f4b4c1d7a90")  # of serial numbers of these bills
HANGS = f"{OWN}withdrawn "  # before the id of a notice
ROOT = f"{OWN}root "  # before a file of a model's weights, in the property with its statement


def write_bill(
    *, told: list[Path], bill: Path, roots: list[str], notices: list[str], pool: str | None = None
) -> None:
    """Write a bill of materials, which is valid against the schema.

    :param told: cards, settings and records that it is told from.
    :param roots: a file of the weights of each model.
    :param notices: ids of those that withdraw something; those that a model hangs on are told of.
    :param pool: name of the pool that the models are of; None for one model.
    :raises AtlasError: where a model has no statement, or a file is not what a job wrote.
    """
    records = Records(results_root())
    withdrawn = Withdrawn(records).behind(roots, notices)
    found = described(records, dict.fromkeys(roots), pool, withdrawn)
    data = json_bytes(found)
    check(data)
    write_bytes(bill, data)


def described(
    records: Records, roots: Mapping[str, str | None], pool: str | None = None,
    withdrawn: Iterable[Notice] = (),
) -> dict[str, Any]:  # fmt: skip
    """A bill as JSON values.

    :param roots: a file of the weights of each model -> the statement to go by (None: the newest).
    :param withdrawn: notices that one of them hangs on.
    :raises AtlasError: as :func:`atlas.bills.things.gather`.
    """
    things = gather(records, roots)
    chosen = {path: things["/".join(thing_of(path) or ())] for path in roots}
    parts = {t.ref: component(t, things, read_training(records, t)) for t in things.values()}
    libraries = _libraries(things)
    depends = {t.ref: sorted({*t.behind, *_packages(t)}) for t in things.values()}
    if pool is None:
        (root,) = (parts.pop(thing.ref) for thing in chosen.values())
    else:
        ref = f"pool/{pool}"
        models = [thing.ref for thing in chosen.values()]
        depends[ref] = sorted(models)
        version = short([thing.weights for thing in chosen.values()])
        root = {"type": "data", "bom-ref": ref, "name": pool, "version": f"sha256:{version}",
                "description": f"A pool: {len(models)} models that are compared with one another.",
                "data": [{"type": "other", "name": pool}]}  # fmt: skip
    finished = max(thing.made.finished for thing in chosen.values())
    code = sorted({short(thing.made.code["modules"]) for thing in chosen.values()})
    bill: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {
            "timestamp": finished,
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "Delta Atlas",
                                      "version": f"code {short(code)}"}]},
            "component": root,
        },
        "components": [*(parts[ref] for ref in sorted(parts)), *libraries],
        "dependencies": [{"ref": ref, "dependsOn": on} for ref, on in sorted(depends.items()) if on],
    }  # fmt: skip
    own = [{"name": f"{ROOT}{path}", "value": thing.made.digest} for path, thing in chosen.items()]
    own += [{"name": f"{HANGS}{n.id}", "value": f"hangs on {n.sentence}"} for n in withdrawn]
    bill["metadata"]["properties"] = [*own, *told(bill)]
    bill["serialNumber"] = uuid.uuid5(NAMESPACE, json_bytes(bill).decode()).urn
    return bill


def told_again(records: Records, bill: Any, asked: Mapping[str, Any] | None = None) -> bytes:
    """What a bill would be, told anew from the statements that it names.

    :param asked: arguments of :func:`write_bill`; None where they are not known.
    :raises AtlasError: where it names no statement, is of other models than were asked for, or where they
        do not say enough any more.
    """
    try:
        properties = bill["metadata"]["properties"]
        kind, _, name = bill["metadata"]["component"]["bom-ref"].partition("/")
        roots = _said(properties, ROOT)
    except (KeyError, TypeError, AttributeError):
        raise AtlasError("it is no bill of materials of this workflow") from None
    if not roots:
        raise AtlasError("it names no statement that it was told from")
    pool = name if kind == "pool" else None
    if asked and (roots.keys(), pool) != (set(asked["roots"]), asked.get("pool")):
        raise AtlasError("it is of other models than its job was asked for")
    ids = _said(properties, HANGS)
    return json_bytes(described(records, roots, pool, named(records.root, ids)))


def notices_of(bill: Any) -> list[str]:
    """Ids of the notices that a bill tells of."""
    return list(_said(bill["metadata"]["properties"], HANGS))


def _said(properties: Iterable[Mapping[str, Any]], head: str) -> dict[str, str]:
    """Properties whose names begin so, without that."""
    said = {str(p["name"]): str(p["value"]) for p in properties}
    return {name.removeprefix(head): said[name] for name in said if name.startswith(head)}


def check(data: bytes) -> None:
    """Hold a bill against the schema of CycloneDX, which comes with its library: no network.

    :raises AtlasError: with the first difference.
    """
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    if error := JsonStrictValidator(SchemaVersion.V1_7).validate_str(data.decode()):
        told = str(error).partition("\n")[0]
        raise AtlasError(
            f"the bill of materials does not fit CycloneDX {SPEC}: {told}; please report this."
        )


def _packages(thing: Thing) -> dict[str, tuple[str, str]]:
    """Packages behind the code that made a thing: purl -> name and version."""
    found = thing.made.code["distributions"].items()
    return {library_purl(name, version): (name, version) for name, version in found}


def _libraries(things: Mapping[str, Thing]) -> list[dict[str, str]]:
    packages = {k: v for thing in things.values() for k, v in _packages(thing).items()}
    return [
        {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        for purl, (name, version) in sorted(packages.items())
    ]
