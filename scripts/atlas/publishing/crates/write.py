"""An RO-Crate of one target: a Provenance Run Crate that holds all that stands behind it.

https://w3id.org/ro/wfrun/provenance/0.5, on RO-Crate 1.1.
"""

import hashlib
from pathlib import Path
from typing import Any

from atlas.deployment import results_root
from atlas.files import WORKFLOW_FOLDER, json_bytes, write_bytes
from atlas.job.records import CRATE_FILE, Records
from atlas.lineage.crate_files import seal
from atlas.publishing.crates.contents import Contents, clear, fill, gather
from atlas.publishing.crates.entities import PROFILES, Entities, moment, ref
from atlas.publishing.crates.run import WORKFLOW, Run


def write_crate(
    *, artefact: Path, metadata: Path, target: str, companions: list[str],
    source: Path = WORKFLOW_FOLDER
) -> None:  # fmt: skip
    """Write a crate: its folder is the one of the metadata, which are written last.

    :param artefact: what the crate is about.
    :param target: its name in the path of the crate.
    :param companions: artefacts that belong to it and are not behind it (the figures of a table).
    :raises AtlasError: where an artefact has no statement, is missing, or is not what its
        statement says.
    """
    root = results_root()
    records = Records(root)
    contents = gather(records, artefact.relative_to(root).as_posix(), companions)
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
    for identifier, (name, version) in PROFILES.items():
        entities.add(identifier, "CreativeWork", name=name, version=version)
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
    for name, value in root.items():
        entities.crate.root_dataset[name] = value
    return dict(entities.crate.metadata.generate())
