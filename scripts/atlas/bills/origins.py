"""Licences, addresses and package URLs of what comes from elsewhere."""

import re
from collections.abc import Mapping
from typing import Any

from packageurl import PackageURL

HUB = "https://huggingface.co"
COMMIT = re.compile(r"at the commit ([0-9a-f]{40})")
SPDX = {
    name.lower(): name
    for name in ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0",
                 "CC-BY-3.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0",
                 "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "ODC-By-1.0", "GPL-3.0-only")
}  # fmt: skip


def project(file: str) -> tuple[str, str]:
    """Name and version of the project of a package file."""
    stem = re.sub(r"(\.whl|\.tar\.gz|\.zip)$", "", file)
    name, version = stem.split("-")[:2] if file.endswith(".whl") else stem.rsplit("-", 1)
    return re.sub(r"[-_.]+", "-", name).lower(), version


def library_purl(name: str, version: str) -> str:
    """The package URL of a Python package."""
    return PackageURL("pypi", None, name, version).to_string()


def package_purl(file: str) -> str:
    """The package URL of a package file's project."""
    return library_purl(*project(file))


def hub_purl(repo: str, commit: str | None, dataset: bool = False) -> str:
    """The package URL of a repository; datasets stand in the hub's own folder of them."""
    organisation, _, name = repo.rpartition("/")
    inside = "/".join(filter(None, ("datasets" if dataset else "", organisation)))
    return PackageURL("huggingface", inside or None, name, commit or None).to_string()


def hub_address(repo: str, commit: str | None, dataset: bool = False) -> str:
    """The page of a repository."""
    at = f"/tree/{commit}" if commit else ""
    return f"{HUB}/{'datasets/' if dataset else ''}{repo}{at}"


def package_files(origin: Mapping[str, Any]) -> list[dict[str, str]]:
    """Package files of an origin: name, SHA-256 and member of each."""
    return list((origin.get("pypi") or {}).get("files", []))


def in_words(origin: Mapping[str, Any]) -> str:
    """Where a record says that a thing is from."""
    if hub := origin.get("hub"):
        return f"the repository {hub['repo']} at the commit {hub.get('commit') or 'unknown'}"
    if files := package_files(origin):
        return "package files: " + ", ".join(f"{f.get('member', '')} of {f['name']}" for f in files)
    if model := origin.get("model"):
        return f"the model {model} of this workflow"
    for key, words in (
        ("random", "random weights, of an architecture and a seed"),
        ("local", "a folder of the person who ran the workflow"),
        ("reasoning_gym", "a program that makes rows"),
    ):
        if key in origin:
            return words
    return ", ".join(sorted(origin)) or "no origin is recorded"
