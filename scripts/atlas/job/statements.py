"""Statements: what one job read and wrote, attested.

An in-toto Statement v1 (https://in-toto.io/Statement/v1) whose predicate is SLSA Provenance v1
(https://slsa.dev/provenance/v1).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import socket
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from atlas.files import write_whole

RECORDS = Path("results/provenance")


def environment() -> dict[str, Any]:
    """Interpreter, platform, processor, driver and installed distributions, as far as known."""
    found = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "host": socket.gethostname(),
        "processor": _line_of("/proc/cpuinfo", r"model name\s*:\s*(.+)"),
        "driver": _line_of("/proc/driver/nvidia/version", r"Module\s+(?:for \S+\s+)?([\d.]+)"),
        "distributions": _distributions(),
    }
    return {name: value for name, value in found.items() if value}


def _line_of(file: str, pattern: str) -> str | None:
    try:
        match = re.search(pattern, Path(file).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return match[1].strip() if match else None


def _distributions() -> dict[str, str]:
    """Installed distributions and versions; only the head of their metadata is read."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        head = text.partition("\n\n")[0]
        fields = dict(re.findall(r"^(Name|Version): *(.+?) *$", head, flags=re.MULTILINE))
        if len(fields) == 2:
            found.setdefault(fields["Name"], fields["Version"])  # the first on the path is imported
    return dict(sorted(found.items()))


def statement(
    *,
    subject: dict[str, str],
    dependencies: dict[str, str],
    names: dict[str, str],
    rule: str,
    wildcards: dict[str, str],
    params: dict[str, Any],
    code: dict[str, Any],
    started: str,
    finished: str,
    run: str,
    host: dict[str, Any],
    temporary: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Any]:
    """The attestation of one job.

    :param subject: output path -> SHA-256.
    :param dependencies: input path -> SHA-256.
    :param names: path -> name under which the rule declares the input or output.
    :param temporary: outputs that are deleted once they were read -> their size in bytes.
    :param host: what is true of this execution only: host, device, threads, and what a batch system
        gave to it.
    """
    resolved = [
        {"uri": path, "digest": {"sha256": d}, "annotations": {"input": names[path]}}
        for path, d in sorted(dependencies.items())
    ]
    host = dict(host)
    packages = host.pop("distributions", {})
    resolved += [
        {"uri": f"pkg:pypi/{name.lower()}@{version}", "name": name}
        for name, version in packages.items()
    ]
    made = [
        {"name": path, "digest": {"sha256": d},
         "annotations": {"output": names[path],
                         **({"temporary": True, "bytes": temporary[path]}
                            if path in temporary else {})}}
        for path, d in sorted(subject.items())
    ]  # fmt: skip
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": made,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:delta-atlas:job:v1",
                "externalParameters": {"rule": rule, "wildcards": wildcards, "params": params},
                "internalParameters": {"code": code},
                "resolvedDependencies": resolved,
            },
            "runDetails": {
                "builder": {"id": "urn:delta-atlas:snakemake"},
                "metadata": {"invocationId": run, "startedOn": started, "finishedOn": finished},
                "delta_atlas_execution": host,
            },
        },
    }


def store(content: dict[str, Any], outputs: list[str]) -> str:
    """Write a statement under its own digest and point the mirror tree to it.

    :returns: the statement's SHA-256.
    """
    data = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    target = RECORDS / "statements" / digest[:2] / f"{digest}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, data)
    for output in outputs:
        link = RECORDS / "attestations" / f"{Path(output).relative_to('results')}.json"
        link.parent.mkdir(parents=True, exist_ok=True)
        scratch = link.with_name(f".{link.name}.{os.getpid()}.tmp")
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(os.path.relpath(target, link.parent))
        scratch.rename(link)
    return digest
