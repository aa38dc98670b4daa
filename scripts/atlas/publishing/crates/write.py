"""An RO-Crate of one target: a Provenance Run Crate that holds all that stands behind it.

https://w3id.org/ro/wfrun/provenance/0.5, on RO-Crate 1.1.
"""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from atlas.files import WORKFLOW_FOLDER, json_bytes, write_bytes
from atlas.job.records import CRATE_FILE, Records
from atlas.lineage.crate_files import seal
from atlas.publishing.crates.contents import Contents, clear, fill, gather
from atlas.publishing.crates.entities import PROFILES, TERMS, VERSION, Entities, moment, ref
from atlas.publishing.crates.run import WORKFLOW, Run


def write_crate(
    *,
    artefact: Path,
    metadata: Path,
    target: str,
    companions: list[str],
    source: Path = WORKFLOW_FOLDER,
) -> None:
    """Write a crate: its folder is the one of the metadata, which are written last.

    :param artefact: what the crate is about, relative to the working folder.
    :param target: its name in the path of the crate.
    :param companions: artefacts that belong to it and are not behind it (the figures of a table).
    :param source: folder of the Snakefile.
    :raises AtlasError: where an artefact has no statement, is missing, or is not what its
        statement says.
    """
    records = Records(Path())
    contents = gather(records, artefact.as_posix(), companions)
    folder = metadata.parent
    clear(folder, keep=metadata)
    fill(records, contents, source, folder)
    data = json_bytes(describe(contents, folder, target))
    seal(folder, {CRATE_FILE: hashlib.sha256(data).hexdigest()}, skip=metadata)
    write_bytes(metadata, data)


def describe(contents: Contents, folder: Path, target: str) -> dict[str, Any]:
    """The metadata of a filled crate: the same for the same results and records."""
    entities = Entities(contents, folder)
    run = Run(entities)
    actions = run.add_all()
    entities.add_things()
    entities.add_files()
    author = run.agent(contents.made_by[contents.target].run)
    entities.add(
        "#licence", "CreativeWork", name="Each part under its own licence",
        description="The workflow is under the licence of the file LICENSE. Bases, encoders and "
        "datasets are under the licences that their entities name; what was made from them is "
        "bound by these.",
    )  # fmt: skip
    root = {
        "name": f"Delta Atlas: {target}",
        "description": f"How {contents.target} came about: {len(contents.jobs)} jobs, what they "
        "read and wrote, the workflow, and the statement of each job.",
        "license": ref("#licence"),
        "author": ref(author),
        "datePublished": moment(contents.made_by[contents.target].finished),
        "conformsTo": ref(*PROFILES),
        "mainEntity": ref(WORKFLOW),
        "mentions": ref(*actions),
    }
    for identifier, (name, version) in PROFILES.items():
        entities.add(identifier, "CreativeWork", name=name, version=version)
    return _as_crate(entities, root)


def _as_crate(found: Entities, root: dict[str, Any]) -> dict[str, Any]:
    """Hand the entities to the library that knows the format."""
    from rocrate.model import ContextEntity, Dataset, File
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=VERSION)
    crate.metadata.extra_terms.update(TERMS)
    crate.metadata["conformsTo"] = ref(
        f"https://w3id.org/ro/crate/{VERSION}", "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
    )
    for name, value in root.items():
        crate.root_dataset[name] = value
    for identifier, properties in found.entities.items():
        kinds = properties["@type"]
        if "File" in (kinds if isinstance(kinds, list) else [kinds]):
            local = not urlsplit(identifier).scheme
            place = {"dest_path": unquote(identifier)} if local else {"source": identifier}
            crate.add(File(crate, **place, properties=properties))
        elif kinds == "Dataset" and not identifier.startswith("#"):
            crate.add(Dataset(crate, dest_path=identifier, properties=properties))
        else:
            crate.add(ContextEntity(crate, identifier, properties=properties))
    return dict(crate.metadata.generate())
