"""What a result is made of: code closures and attestations.

A statement is an in-toto Statement v1 (https://in-toto.io/Statement/v1) whose predicate is
SLSA Provenance v1 (https://slsa.dev/provenance/v1).
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import re
import socket
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from atlas.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
RECORDS = Path("results/provenance")

# Modules that cannot alter the bytes of an artefact: they are attested, and a change in them
# rebuilds nothing.
OUTSIDE = frozenset(
    {"atlas.job", "atlas.provenance", "atlas.progress", "atlas.errors", "atlas.config",
     "atlas.plan", "atlas.deathwatch", "atlas.attempts", "atlas.digest_cache", "atlas.completeness",
     "atlas.execution", "atlas.validation", "atlas.names", "atlas.planned", "atlas.grids",
     "atlas.sheets", "atlas.table_checks", "atlas.task_entries", "atlas.recipe_checks",
     "atlas.push_checks", "atlas.batch_system", "atlas.job_sizes", "atlas.gpu_share", "atlas"}
)  # fmt: skip

# Import name -> distribution, where the two differ.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML", "huggingface_hub": "huggingface-hub",
                 "pypi_simple": "pypi-simple", "sentence_transformers": "sentence-transformers",
                 "markdown_it": "markdown-it-py", "faiss": "faiss-cpu"}  # fmt: skip


def _module_file(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _read_module(module: str, root: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of a module's syntax tree without docstrings, and the names it imports."""
    file = _module_file(module, root)
    if file is None:
        raise ModuleNotFoundError(f"{module} is not a module of {root}")
    known = file.stat()
    return _parse(file, root, known.st_mtime_ns, known.st_size, known.st_ino)


@cache
def _parse(file: Path, root: Path, *_: int) -> tuple[str, tuple[str, ...]]:
    """Parse a module; what the file system says of it is part of the key."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imports.add(node.module)
            imports.update(
                f"{node.module}.{alias.name}"
                for alias in node.names
                if _module_file(f"{node.module}.{alias.name}", root)
            )
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return digest, tuple(sorted(imports))


def modules_behind(target: str, root: Path | None = None) -> tuple[dict[str, str], set[str]]:
    """Modules of the library that a function hangs on, and the packages that they import.

    :param target: ``module:function``.
    :param root: folder that holds the library; this one's by default.
    :returns: module -> digest of its syntax tree, sorted; names of distributions.
    :raises ModuleNotFoundError: where the target's module is not there.
    """
    root = root or ROOT
    modules: dict[str, str] = {}
    distributions: set[str] = set()
    queue = [target.partition(":")[0]]
    while queue:
        module = queue.pop()
        if module in modules or module in OUTSIDE:
            continue
        digest, imports = _read_module(module, root)
        modules[module] = digest[:16]
        for name in imports:
            top = name.partition(".")[0]
            if _module_file(name, root):
                queue.append(name)
            elif top not in sys.stdlib_module_names and not _module_file(top, root):
                distributions.add(DISTRIBUTIONS.get(top, top))
    return dict(sorted(modules.items())), distributions


def closure(target: str) -> dict[str, Any]:
    """The code that makes an artefact.

    :param target: ``module:function``, the function that a script calls.
    :returns: ``function``, ``modules`` (name -> digest of its syntax tree, for the module and
        all that it imports of this library) and ``distributions`` (name -> installed version,
        for the third-party packages that these modules import).
    """
    modules, distributions = modules_behind(target)
    return {
        "function": target,
        "modules": modules,
        "distributions": {name: metadata.version(name) for name in sorted(distributions)},
    }


def outside() -> dict[str, str]:
    """Digests of the modules that cannot alter a byte of an artefact: attested all the same."""
    return {m: _read_module(m, ROOT)[0][:16] for m in sorted(OUTSIDE) if _module_file(m, ROOT)}


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
