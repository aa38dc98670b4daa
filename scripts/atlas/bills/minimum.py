"""The minimum elements of a bill of materials for AI, and where a bill has each.

'Software Bill of Materials for AI: Minimum Elements', G7 Cybersecurity Working Group, 12 May 2026.
Of an element that no statement says anything of, the bill says why it is absent.
"""

from collections.abc import Callable, Iterator
from typing import Any

Bill = dict[str, Any]
UNKNOWN = "absent: no statement says it"
PREFIX = "g7-sbom-for-ai:"
MODEL, DATASET = "machine-learning-model", "dataset"


def _root(bill: Bill) -> Bill:
    return dict(bill["metadata"]["component"])


def _every(bill: Bill, kind: str) -> list[Bill]:
    """All models, or all datasets."""
    parts = (_root(bill), *bill["components"])
    if kind == DATASET:
        return [part for part in parts if part.get("bom-ref", "").startswith(f"{DATASET}/")]
    return [part for part in parts if part["type"] == kind]


def _all(kind: str, key: str) -> Callable[[Bill], bool]:
    """Whether all models, or all datasets, have a key."""

    def found(bill: Bill) -> bool:
        every = _every(bill, kind)
        return bool(every) and all(key in part for part in every)

    return found


def _card(*keys: str) -> Callable[[Bill], bool]:
    """Whether the card of a model has a part."""

    def found(bill: Bill) -> bool:
        for part in (_root(bill), *bill["components"]):
            value: Any = part.get("modelCard", {})
            for key in keys:
                value = value.get(key, {})
            if value:
                return True
        return False

    return found


def _any_property(*names: str) -> Callable[[Bill], bool]:
    def found(bill: Bill) -> bool:
        parts = (_root(bill), *bill["components"])
        known = {p["name"] for part in parts for p in part.get("properties", ())}
        return any(f"delta-atlas:{name}" in known for name in names)

    return found


def _always(_: Bill) -> bool:
    return True


def _never(_: Bill) -> bool:
    return False


# Element, name, where the bill has it, whether it does, and otherwise why not.
ELEMENTS: tuple[tuple[str, str, str, Callable[[Bill], bool], str], ...] = (
    ("MD-01", "SBOM author", "metadata.tools: the bill is written by a program", _always, ""),
    ("MD-02", "SBOM version", "version", _always, ""),
    ("MD-03", "SBOM data format name", "bomFormat", _always, ""),
    ("MD-04", "SBOM data format version", "specVersion", _always, ""),
    ("MD-05", "SBOM author signature", "", _never,
     "absent: the bill is attested by the statement of its job, and signed beside it (model.sig, "
     "lineage.py sign), not in it"),
    ("MD-06", "SBOM tool name", "metadata.tools", _always, ""),
    ("MD-07", "SBOM tool version", "metadata.tools", _always, ""),
    ("MD-08", "SBOM generation context", "metadata.lifecycles", _always, ""),
    ("MD-09", "SBOM timestamp", "metadata.timestamp", _always, ""),
    ("MD-10", "SBOM dependency relationship", "dependencies", lambda b: bool(b["dependencies"]), UNKNOWN),
    ("SLP-01", "System name", "metadata.component.name", _always, ""),
    ("SLP-02", "System components", "components", lambda b: bool(b["components"]), UNKNOWN),
    ("SLP-03", "System producer", "metadata.component.supplier", lambda b: "supplier" in _root(b),
     "absent: statements name an account and a machine, and no organisation"),
    ("SLP-04", "System version", "metadata.component.version", _always, ""),
    ("SLP-05", "System timestamp", "metadata.timestamp", _always, ""),
    ("SLP-06", "System data flow", "dependencies, and pedigree of each component", _always, ""),
    ("SLP-07", "System data usage", "modelCard.modelParameters.datasets, and properties delta-atlas:read",
     _card("modelParameters", "datasets"), UNKNOWN),
    ("SLP-08", "System input/output properties", "modelCard.modelParameters.inputs, outputs",
     _card("modelParameters", "inputs"), UNKNOWN),
    ("SLP-09", "Intended application area", "", _never,
     "absent: what a model is for is its publisher's to say"),
    ("MDL-01", "Model name", "name", _always, ""),
    ("MDL-02", "Model identifier", "bom-ref, hashes; purl of what is from a hub or a package index",
     _always, ""),
    ("MDL-03", "Model version", "version: the beginning of its digest", _all(MODEL, "version"), UNKNOWN),
    ("MDL-04", "Model timestamp", "property delta-atlas:finished", _any_property("finished"), UNKNOWN),
    ("MDL-05", "Model producer", "supplier", _all(MODEL, "supplier"),
     "absent of models that are from no hub: no statement names an organisation"),
    ("MDL-06", "Model description", "description", _all(MODEL, "description"), UNKNOWN),
    ("MDL-07", "Model hash value", "hashes; components of type file where there are several", _always, ""),
    ("MDL-08", "Model hash algorithm", "hashes", _always, ""),
    ("MDL-09", "Model properties", "modelCard.modelParameters", _card("modelParameters"), UNKNOWN),
    ("MDL-10", "Model input/output properties", "modelCard.modelParameters.inputs, outputs",
     _card("modelParameters", "inputs"), UNKNOWN),
    ("MDL-11", "Model training properties", "modelCard.properties, modelParameters.approach",
     _card("properties"), "absent: no model of this bill was trained by this workflow"),
    ("MDL-12", "Model license", "licenses: that of the record of its base", _all(MODEL, "licenses"),
     "absent of some: the record of their base names none"),
    ("MDL-13", "Model external references", "externalReferences",
     lambda b: any("externalReferences" in part for part in _every(b, MODEL)),
     "absent: no model of this bill is from a hub or a package index"),
    ("DP-01", "Dataset name", "name of components of type data", _all(DATASET, "name"), UNKNOWN),
    ("DP-02", "Dataset description", "description", _all(DATASET, "description"), UNKNOWN),
    ("DP-03", "Dataset content", "data.contents: numbers of rows", _all(DATASET, "data"), UNKNOWN),
    ("DP-04", "Dataset identifier", "bom-ref, hashes; purl of what is from a hub or a package index",
     _all(DATASET, "bom-ref"), UNKNOWN),
    ("DP-05", "Dataset hash", "components of type file", _all(DATASET, "components"), UNKNOWN),
    ("DP-06", "Dataset provenance", "externalReferences, description, property delta-atlas:statement",
     _all(DATASET, "description"), UNKNOWN),
    ("DP-07", "Dataset statistical properties", "data.contents: rows read, left out, duplicate",
     lambda b: any("contents" in d for part in _every(b, DATASET) for d in part["data"]),
     "absent: nothing is counted of the data"),
    ("DP-08", "Dataset sensitivity", "", _never,
     "absent: nobody has classified the data; statements say where it is from"),
    ("DP-09", "Dataset dependency relationship", "modelCard.modelParameters.datasets, dependencies",
     _card("modelParameters", "datasets"), UNKNOWN),
    ("DP-10", "Dataset license", "licenses", _all(DATASET, "licenses"),
     "absent of some: their record names none"),
    ("INF-01", "Infrastructure software", "components of type library; property delta-atlas:platform",
     lambda b: any(c["type"] == "library" for c in b["components"]), UNKNOWN),
    ("INF-02", "Infrastructure hardware", "properties delta-atlas:device, processor, driver",
     _any_property("device", "processor"), UNKNOWN),
    ("SP-01", "Security controls", "", _never,
     "absent: a model has none; its bytes are attested, and safetensors hold no code"),
    ("SP-02", "Security compliance", "", _never, "absent: no assessment is known"),
    ("SP-03", "Cybersecurity policy information", "", _never,
     "absent: no statement names a publisher, whose policy it would be"),
    ("SP-04", "Vulnerability referencing", "", _never,
     "absent: vulnerabilities are found after a bill is written; look up the purls of its components"),
    ("KPI-01", "Security metrics", "", _never, "absent: none was measured"),
    ("KPI-02", "Operational performance KPIs",
     "modelCard.quantitativeAnalysis; property delta-atlas:seconds; energy where the machine measures it",
     _any_property("seconds"), UNKNOWN),
)  # fmt: skip


def told(bill: Bill) -> Iterator[dict[str, str]]:
    """Each element, with where the bill has it or why it does not."""
    has_data = bool(_every(bill, DATASET))
    for number, name, where, is_there, otherwise in ELEMENTS:
        if is_there(bill):
            value = where
        elif number.startswith("DP-") and not has_data and otherwise == UNKNOWN:
            value = "absent: no dataset stands behind it, as far as statements say"
        else:
            value = otherwise
        yield {"name": f"{PREFIX}{number} {name}", "value": value}
