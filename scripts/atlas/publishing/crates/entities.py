"""The entities of a crate's metadata: files, bases, models, datasets, and where they came from."""

import json
import re
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from atlas.bills.origins import COMMIT, HUB, SPDX, package_purl, project
from atlas.files import read_json
from atlas.job.statements import ATTESTATIONS, Statement
from atlas.lineage.crate_files import CrateFile
from atlas.publishing.crates.contents import README, Contents

VERSION = "1.1"  # of RO-Crate: what Provenance Run Crate 0.5 builds on
CRATE_PROFILE = f"https://w3id.org/ro/crate/{VERSION}"
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
RUN_TERMS = "https://w3id.org/ro/terms/workflow-run#"
# Terms that RO-Crate 1.1 does not have.
TERMS = {
    "sha256": "https://schema.org/sha256",
    **{name: f"{RUN_TERMS}{name}"
       for name in ("ParameterConnection", "connection", "sourceParameter", "targetParameter")},
}  # fmt: skip
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
FORMATS = {
    ".csv": "text/csv", ".tsv": "text/tab-separated-values", ".md": "text/markdown",
    ".txt": "text/plain", ".rst": "text/x-rst", ".py": "text/x-python", ".html": "text/html",
    ".json": "application/json", ".jsonl": "application/jsonl", ".ipynb": "application/x-ipynb+json",
    ".yaml": "application/yaml", ".yml": "application/yaml", ".smk": "text/x-snakemake",
    ".svg": "image/svg+xml", ".png": "image/png", ".pdf": "application/pdf", ".npz": "application/x-npz",
    ".h5": "application/x-hdf5", ".safetensors": "application/x-safetensors",
    ".in": "text/plain", ".gz": "application/gzip", ".parquet": "application/vnd.apache.parquet",
    ".cff": "application/yaml",
}  # fmt: skip
NAMED = {"Snakefile": "text/x-snakemake", "LICENSE": "text/plain"}
# Folder -> kind of the things in it, each named by its folder (or file).
KINDS = {"results/sources/bases": "base", "results/sources/encoders": "encoder",
         "results/sources/datasets": "dataset", "results/models": "model"}  # fmt: skip
TRAINED_FROM = ("base", "dataset")


def moment(time: str) -> str:
    """A time as the profiles want it: ISO 8601 to the millisecond, with its offset."""
    return datetime.fromisoformat(time).isoformat(timespec="milliseconds")


def ref(*ids: str) -> Any:
    """References to entities: one alone, or a list; None for none."""
    found = [{"@id": i} for i in dict.fromkeys(ids)]
    return found if len(found) > 1 else next(iter(found), None)


class Entities:
    """Entities of a crate in the order in which they were added, in rocrate's own form."""

    def __init__(self, contents: Contents, folder: Path) -> None:
        from rocrate.rocrate import ROCrate

        self.contents = contents
        self.folder = folder
        self.crate = ROCrate(version=VERSION)
        self.crate.metadata.extra_terms.update(TERMS)
        self.crate.metadata["conformsTo"] = ref(CRATE_PROFILE, WORKFLOW_CRATE)
        self.known: set[str] = set()
        self.examples: dict[str, list[str]] = {}  # path -> parameters that it was a value of
        # Artefacts come first; a source that is also a file of the workflow is one of them.
        artefacts = contents.artefacts
        self.files = {**artefacts, **contents.workflow, **contents.records, **artefacts}
        self.ids = {path: quote(path) if entry.included else self._address(entry)
                    for path, entry in self.files.items()}  # fmt: skip

    def add(self, identifier: str, kind: str | list[str], /, **properties: Any) -> str:
        """Add an entity once; what is None or empty is left out, a list of one is its element."""
        from rocrate.model import ContextEntity, Dataset, File

        if identifier in self.known:
            return identifier
        self.known.add(identifier)
        known = {k: v[0] if isinstance(v, list) and len(v) == 1 else v
                 for k, v in properties.items() if v not in (None, [], "")}  # fmt: skip
        about = {"@type": kind, **known}
        if "File" in ([kind] if isinstance(kind, str) else kind):
            local = not urlsplit(identifier).scheme
            place = {"dest_path": unquote(identifier)} if local else {"source": identifier}
            self.crate.add(File(self.crate, **place, properties=about))
        elif kind == "Dataset" and not identifier.startswith("#"):
            self.crate.add(Dataset(self.crate, dest_path=identifier, properties=about))
        else:
            self.crate.add(ContextEntity(self.crate, identifier, properties=about))
        return identifier

    def add_files(self) -> None:
        """All files; call it last, when it is known what they were values of."""
        places: dict[str, list[str]] = {}  # the same bytes elsewhere are one file of several names
        for path in self.files:
            places.setdefault(self.ids[path], []).append(path)
        for identifier, paths in places.items():
            properties, made = self.file_properties(*paths), self.contents.made_by.get(paths[0])
            if not self.files[paths[0]].included:
                properties["alternateName"] = paths
                properties["sdDatePublished"] = moment(made.finished) if made else None
            if paths[0] == README:
                properties["about"] = ref("./")
            if paths[0] != "Snakefile":
                kind = ["File", "CreativeWork"] if paths[0] == "LICENSE" else "File"
                self.add(identifier, kind, **properties)
        self.add(
            f"{ATTESTATIONS}/", "Dataset", name="Statements by artefact",
            description="For each artefact the statement of the job that made it, at its own path.",
        )  # fmt: skip

    def file_properties(self, path: str, *others: str) -> dict[str, Any]:
        """What is said of every file, of any further names of it, too."""
        place, entry = PurePosixPath(path), self.files[path]
        kind = NAMED.get(place.name) or FORMATS.get(place.suffix.lower())
        return {
            "name": path, "sha256": entry.sha256, "contentSize": str(entry.size),
            "encodingFormat": kind or "application/octet-stream",
            "exampleOfWork": ref(*(e for p in (path, *others) for e in self.examples.get(p, []))),
        }  # fmt: skip

    def licence(self, name: str) -> str:
        """A licence by the name that a record gives it."""
        if spdx := SPDX.get(name.lower()):
            return self.add(f"https://spdx.org/licenses/{spdx}", "CreativeWork", name=spdx)
        return self.add(f"#licence/{quote(name)}", "CreativeWork", name=f"Licence: {name}",
                        description="The licence as the record of the source names it.")  # fmt: skip

    def add_things(self) -> None:
        """Bases, encoders, datasets and models, each with its files, licence and origin."""
        groups: dict[tuple[str, str], list[str]] = {}
        for path in sorted(self.contents.artefacts):
            if thing := thing_of(path):
                groups.setdefault(thing, []).append(path)
        for (kind, name), paths in groups.items():
            file = f"{name if kind == 'dataset' else kind}.json"
            record = next((self._json(p) for p in paths if PurePosixPath(p).name == file), {})
            origin = self._origin(kind, record.get("origin", {}))
            if kind == "model":
                origin += self._model_origin(paths)
            self.add(
                f"#{kind}/{quote(name)}", "Dataset" if kind == "dataset" else "CreativeWork",
                name=name, description=_describe(kind, record),
                license=ref(self.licence(str(record["licence"]))) if "licence" in record else None,
                isBasedOn=ref(*origin), hasPart=ref(*(self.ids[path] for path in paths)),
            )  # fmt: skip

    def _json(self, path: str) -> dict[str, Any]:
        """A record such as base.json."""
        value = read_json(self.folder / path)
        return value if isinstance(value, dict) else {}

    def _model_origin(self, paths: list[str]) -> list[str]:
        """The bases of a model, and the rows that it was trained on."""
        made_by = self.contents.made_by
        inputs = {p for path in paths for p in made_by[path].inputs}
        behind = {p for path in inputs & set(paths) for p in made_by[path].inputs}
        known = sorted({t for t in map(thing_of, inputs | behind) if t and t[0] in TRAINED_FROM})
        splits = sorted({p.split("/")[2] for p in behind if p.startswith("results/datasets/")})
        return [f"#{kind}/{quote(name)}"
                for kind, name in [*known, *(("dataset", name) for name in splits)]]  # fmt: skip

    def _origin(self, kind: str, origin: dict[str, Any]) -> list[str]:
        """Where a record says that a thing is from."""
        if hub := origin.get("hub"):
            prefix = "datasets/" if kind == "dataset" else ""
            address = f"{HUB}/{prefix}{hub['repo']}/tree/{hub['commit']}"
            return [self.add(address, "CreativeWork", name=hub["repo"], version=hub["commit"])]
        if pypi := origin.get("pypi"):
            return [
                self.add(f"{package_purl(f['name'])}?file_name={quote(f['name'])}", "CreativeWork",
                         name=f["name"], sha256=f["sha256"], version=project(f["name"])[1],
                         description="A package file; the members that were taken are data.")
                for f in pypi["files"]
            ]  # fmt: skip
        if model := origin.get("model"):
            return [f"#model/{quote(model)}"]
        return []

    def _address(self, entry: CrateFile) -> str:
        """An absolute address of a file that is not in the crate."""
        made = self.contents.made_by.get(entry.path)
        source = self._source_of(made, entry.path) if made else {}
        name = quote(PurePosixPath(entry.path).name)
        if (hub := source.get("hub")) and (commit := hub.get("commit")):
            return f"{HUB}/{hub['repo']}/resolve/{commit}/{name}"
        if pypi := source.get("pypi"):
            package, member = pypi["files"][0], quote(pypi["files"][0].get("member", ""))
            if pypi["format"] == "transformers":
                return f"{package_purl(package['name'])}#{member.rstrip('/')}/{name}"
            # Made from the member when it was fetched: what was made is told apart by its digest.
            return f"{package_purl(package['name'])}?sha256={entry.sha256}#{member}"
        return f"urn:sha256:{entry.sha256}"

    def _source_of(self, made: Statement, path: str) -> dict[str, Any]:
        """Origin of a fetched file, by its record or, for a model, by its card."""
        folder = path.rpartition("/")[0]
        for name in ("base.json", "encoder.json"):
            if f"{folder}/{name}" in made.outputs:
                return dict(self._json(f"{folder}/{name}").get("origin", {}))
        hub = (made.params.get("source") or {}).get("hub")
        if hub is None:
            return {}
        commit = COMMIT.search((self.folder / folder / README).read_text(encoding="utf-8"))
        return {"hub": {**hub, "commit": commit[1] if commit else None}}


def thing_of(path: str) -> tuple[str, str] | None:
    """Kind and name of the base, encoder, dataset or model to which a file belongs."""
    for place, kind in KINDS.items():
        if path.startswith(f"{place}/"):
            name = path.removeprefix(f"{place}/").partition("/")[0]
            return kind, re.sub(r"\.jsonl?$", "", name) if kind == "dataset" else name
    return None


def _describe(kind: str, record: dict[str, Any]) -> str:
    origin = record.get("origin", {})
    if "random" in origin:
        how = json.dumps(origin["random"], sort_keys=True)
        return f"A {kind} with random weights, made from an architecture and a seed: {how}"
    if "local" in origin:
        return f"A {kind} from a folder of the person who ran the workflow."
    if kind == "model":
        return "A model: its weights, configuration and card, and the rows that it was trained on."
    return f"A {kind}, as the workflow fetched it."
