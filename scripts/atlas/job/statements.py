"""Statements: what one job read and wrote, attested.

An in-toto Statement v1 (https://in-toto.io/Statement/v1) whose predicate is SLSA Provenance v1
(https://slsa.dev/provenance/v1).
"""

import hashlib
import json
import os
import platform
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from atlas.files import passing, write_whole

RESULTS = "results"
PROVENANCE = f"{RESULTS}/provenance"
STATEMENTS = f"{PROVENANCE}/statements"
ATTESTATIONS = f"{PROVENANCE}/attestations"
KERNEL = ("/proc/", "/sys/", "/dev/")  # what is read there may never end
REQUIRED = ("modules", "distributions")  # parts of the code that every statement has
SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
KNOWN_PATHS = 1 << 16  # that need no second look
Kind = TypeVar("Kind")


def is_artefact(path: str) -> bool:
    """Whether a file is below results/, where every file has its job."""
    return path.startswith(f"{RESULTS}/")


def place_of(digest: str) -> str:
    """Where the statement with a SHA-256 is stored."""
    return f"{STATEMENTS}/{digest[:2]}/{digest}.json"


def pointer_to(artefact: str) -> str:
    """Where the link to the newest statement of an artefact is."""
    return f"{ATTESTATIONS}/{artefact.removeprefix(f'{RESULTS}/')}.json"


@dataclass(frozen=True)
class Statement:
    """One job's attestation.

    :param code: what is behind the rule (:func:`atlas.job.closures.Library.closure`).
    :param outputs, inputs: path -> SHA-256 of each file that the job wrote, or read.
    :param output_names, input_names: path -> name under which the rule declares it.
    :param temporary: outputs that are deleted once they were read -> their size in bytes.
    :param packages: distribution -> version, all that were installed.
    :param execution: what is true of this execution only (host, device, batch system ...).
    :param started, finished: ISO 8601.
    :param digest: SHA-256 of the statement, where it was read.
    """

    rule: str
    wildcards: dict[str, str]
    params: dict[str, Any]
    code: dict[str, Any]
    outputs: dict[str, str]
    inputs: dict[str, str]
    output_names: dict[str, str] = field(default_factory=dict)
    input_names: dict[str, str] = field(default_factory=dict)
    temporary: dict[str, int] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    execution: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    run: str = ""
    digest: str = ""

    @property
    def job(self) -> str:
        """The job in words: rule and wildcards."""
        return " ".join([self.rule, *(v for _, v in sorted(self.wildcards.items()))])


def content(made: Statement) -> dict[str, Any]:
    """A statement as the JSON that is stored.

    :raises KeyError: for an input or output without a name.
    """
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": path, "digest": {"sha256": digest},
             "annotations": {"output": made.output_names[path],
                             **({"temporary": True, "bytes": made.temporary[path]}
                                if path in made.temporary else {})}}
            for path, digest in sorted(made.outputs.items())
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:delta-atlas:job:v1",
                "externalParameters": {
                    "rule": made.rule, "wildcards": made.wildcards, "params": made.params,
                },
                "internalParameters": {"code": made.code},
                "resolvedDependencies": [
                    *({"uri": path, "digest": {"sha256": digest},
                       "annotations": {"input": made.input_names[path]}}
                      for path, digest in sorted(made.inputs.items())),
                    *({"uri": f"pkg:pypi/{name.lower()}@{version}", "name": name}
                      for name, version in made.packages.items()),
                ],
            },
            "runDetails": {
                "builder": {"id": "urn:delta-atlas:snakemake"},
                "metadata": {"invocationId": made.run, "startedOn": made.started,
                             "finishedOn": made.finished},
                "delta_atlas_execution": made.execution,
            },
        },
    }  # fmt: skip


def kept_from(made: Statement) -> str | None:
    """SHA-256 of the statement of an earlier execution, of which a job kept what it had computed."""
    kept = made.execution.get("kept")
    digest = kept.get("statement") if isinstance(kept, dict) else None
    return digest if isinstance(digest, str) else None


def parse(stored: Any, digest: str) -> Statement:
    """The statement that some JSON is; anybody may have written it.

    :raises KeyError, TypeError, ValueError, AttributeError: where it is none.
    """
    predicate = _a(dict, _a(dict, stored)["predicate"])
    definition, details = (_a(dict, predicate[key]) for key in ("buildDefinition", "runDetails"))
    asked = _a(dict, definition["externalParameters"])
    made = [_a(dict, subject) for subject in _a(list, stored["subject"])]
    resolved = _a(list, definition["resolvedDependencies"])
    read = [_a(dict, d) for d in resolved if "digest" in d]
    packages = {d["name"]: d["uri"].rpartition("@")[2] for d in resolved if "digest" not in d}
    said = {id(d): _a(dict, d["annotations"]) for d in (*made, *read)}
    when = _a(dict, details["metadata"])
    outputs = _unique((_artefact(s["name"]), _sha256(s)) for s in made)
    inputs = _unique((_path(d["uri"]), _sha256(d)) for d in read)
    return Statement(
        rule=_a(str, asked["rule"]),
        wildcards=_texts(asked["wildcards"]),
        params=_a(dict, asked["params"]),
        code=_code(_a(dict, definition["internalParameters"])["code"]),
        outputs=outputs,
        inputs=inputs,
        output_names={s["name"]: _a(str, said[id(s)]["output"]) for s in made},
        input_names={d["uri"]: _a(str, said[id(d)]["input"]) for d in read},
        temporary={s["name"]: _a(int, said[id(s)]["bytes"]) for s in made
                   if said[id(s)].get("temporary")},
        packages=_texts(packages),
        execution=_a(dict, details["delta_atlas_execution"]),
        started=_time(when["startedOn"]),
        finished=_time(when["finishedOn"]),
        run=_a(str, when["invocationId"]),
        digest=digest,
    )  # fmt: skip


def _a(kind: type[Kind], value: Any) -> Kind:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _texts(value: Any) -> dict[str, str]:
    if not all(isinstance(text, str) for item in _a(dict, value).items() for text in item):
        raise TypeError("a name or a text is none")
    return value


def _code(value: Any) -> dict[str, Any]:
    code = _a(dict, value)
    if not re.fullmatch(r"[\w.]+:\w+", str(code["function"])):
        raise TypeError("function")
    for part in ("modules", "distributions", "outside"):
        texts = code[part] if part in REQUIRED else code.get(part, {})
        if not (isinstance(texts, dict) and all(isinstance(v, str) for v in texts.values())):
            raise TypeError(part)
    return code


def _sha256(entry: dict[str, Any]) -> str:
    found = _a(str, _a(dict, entry["digest"])["sha256"])
    if not SHA256(found):
        raise ValueError(f"{found!r:.40} is no SHA-256")
    return found


def _time(value: Any) -> str:
    datetime.fromisoformat(_a(str, value))
    return value


def _path(value: Any) -> str:
    return _path_of(_a(str, value))


def _artefact(value: Any) -> str:
    return _artefact_of(_a(str, value))


# The same files stand in many statements.
@lru_cache(KNOWN_PATHS)
def _path_of(path: str) -> str:
    """A path as a job reads it; one below results/ is written in one way only."""
    if not path or "\0" in path or path.startswith(KERNEL):
        raise ValueError(f"{path!r:.40} is no file that a job reads")
    inside = is_artefact(path) or is_artefact(os.path.normpath(path))
    return _artefact_of(path) if inside else path


@lru_cache(KNOWN_PATHS)
def _artefact_of(path: str) -> str:
    if not is_artefact(path) or "\0" in path or os.path.normpath(path) != path:
        raise ValueError(f"{path!r:.40} is no path below {RESULTS}/")
    return path


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path, digest in pairs:
        if found.setdefault(path, digest) != digest:
            raise ValueError(f"{path} has two digests")
    return found


def store(made: Statement, outputs: Iterable[str], root: Path = Path()) -> str:
    """Write a statement under its own digest, and point the mirror tree to it for some outputs.

    :param root: the folder that holds results/.
    :returns: the statement's SHA-256.
    """
    data = json.dumps(content(made), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(data.encode()).hexdigest()
    target = root / place_of(digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, data.encode())
    for output in outputs:
        link = root / pointer_to(output)
        link.parent.mkdir(parents=True, exist_ok=True)
        scratch = passing(link)
        scratch.symlink_to(os.path.relpath(target, link.parent))
        scratch.rename(link)
    return digest


def environment() -> dict[str, Any]:
    """Interpreter, platform, processor and driver, as far as known."""
    found = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "host": socket.gethostname(),
        "processor": _line_of("/proc/cpuinfo", r"model name\s*:\s*(.+)"),
        "driver": _line_of("/proc/driver/nvidia/version", r"Module\s+(?:for \S+\s+)?([\d.]+)"),
    }
    return {name: value for name, value in found.items() if value}


def _line_of(file: str, pattern: str) -> str | None:
    try:
        match = re.search(pattern, Path(file).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return match[1].strip() if match else None


def _head(distribution: metadata.Distribution) -> dict[str, str]:
    """Name and version; only the head of the metadata is read, for the rest may be long."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    head = text.partition("\n\n")[0]
    return dict(re.findall(r"^(Name|Version): *(.+?) *$", head, flags=re.MULTILINE))


def version(name: str) -> str:
    """Version of an installed distribution.

    :raises PackageNotFoundError: where it is not installed.
    """
    return _head(metadata.distribution(name))["Version"]


def installed() -> Iterator[metadata.Distribution]:
    """Installed distributions, in the order of the search path; of one name, the first is imported.

    Each folder is read once: the path of a script of Snakemake has most of them several times.
    """
    yield from metadata.distributions(path=list(dict.fromkeys(sys.path)))


def distributions() -> dict[str, str]:
    """Installed distributions and versions."""
    found: dict[str, str] = {}
    for distribution in installed():
        fields = _head(distribution)
        if len(fields) == 2:
            found.setdefault(fields["Name"], fields["Version"])
    return dict(sorted(found.items()))
