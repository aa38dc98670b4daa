"""Files of a model hub, through huggingface_hub: resumable, by commit, safetensors only."""

import re
import tempfile
from pathlib import Path
from typing import Any

from atlas import owners
from atlas.deployment import results_root
from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import PICKLES, json_bytes, read_json, write_whole

SCRATCH = "scratch-"  # beginning of the names of folders that pass, before their owner
WAIT_AND_TRY = (408, 429)  # status of a hub that is busy
REVISIONS = Path("results/provenance/revisions")  # from the folder that holds results/


class MissingFileError(AtlasError):
    """A repository does not have a file."""


class UnreachableError(AtlasError):
    """The hub cannot be asked: no fault of what was asked for."""


def beside(cache: str) -> tempfile.TemporaryDirectory[str]:
    """A folder for one job, on the cache's file system: weights are linked there, not copied."""
    Path(cache).mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{owners.owner()}-", dir=cache)


def resolve(repo: str, revision: str, kind: str = "model") -> str:
    """The commit of a revision: recorded when first seen, and the same ever after.

    :raises AtlasError: where the hub now has another commit, or cannot be asked.
    """
    from huggingface_hub import HfApi

    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    name = f"{kind}--{repo.replace('/', '--')}@{revision.replace('/', '--')}.json"
    record = results_root() / REVISIONS / name
    known = read_json(record)["commit"] if record.is_file() else None
    try:
        found = HfApi().repo_info(repo, revision=revision, repo_type=kind).sha
    except Exception as error:
        if known is not None and unreachable(error):
            return str(known)
        told = failure(error, repo, revision)
        raise told from None
    if known is not None and found != known:
        raise AtlasError(
            f"{repo}: the revision {revision!r} is now the commit {found} and was {known} when "
            f"it was first fetched; set revision to the commit you want, or remove {record}."
        )
    if known is None:
        _keep(record, {"repo": repo, "revision": revision, "commit": found})
    return str(found)


def _keep(file: Path, value: Any) -> None:
    """Write a small record whole; jobs that write the same one at once do not disturb it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json_bytes(value))


def fetch(repo: str, commit: str, name: str, cache: Path, kind: str = "model") -> Path:
    """One file of a repository at a commit, from the cache or from the hub.

    :raises AtlasError: where it cannot be had; the sentence says what to do.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    def download(again: bool = False) -> Path:
        return Path(
            hf_hub_download(repo, name, revision=commit, repo_type=kind, cache_dir=cache / "hub",
                            force_download=again)
        ).resolve()  # fmt: skip

    try:
        path = download()
        # The client names large files by their SHA-256; results are linked to them, so look.
        if re.fullmatch(r"[0-9a-f]{64}", path.name) and sha256_file(path) != path.name:
            path = download(again=True)
    except RemoteEntryNotFoundError as error:
        pickles = [file for file in file_names(repo, commit, cache, kind) if file.endswith(PICKLES)]
        if name.endswith(".safetensors") and pickles:
            raise MissingFileError(
                f"{repo} at {commit}: has no {name}, and {pickles[0]} is a pickle, which is "
                "refused; convert it to safetensors and give a local source."
            ) from None
        raise MissingFileError(explain(error, repo, commit, name)) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno and not unreachable(error):
            raise  # of this machine: no room, too many files
        told = failure(error, repo, commit, name)
        raise told from None
    return path


def file_names(repo: str, commit: str, cache: Path, kind: str = "model") -> list[str]:
    """Names of the files of a repository at a commit; asked once, a commit never changes."""
    from huggingface_hub import HfApi

    record = cache / "hub" / "names" / f"{kind}--{repo.replace('/', '--')}@{commit}.json"
    if record.is_file():
        return list(read_json(record))
    try:
        names = sorted(HfApi().list_repo_files(repo, revision=commit, repo_type=kind))
    except Exception as error:
        told = failure(error, repo, commit)
        raise told from None
    _keep(record, names)
    return names


def unreachable(error: BaseException) -> bool:
    """Whether an error of the client says that the hub cannot be asked at all."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        response: Any = getattr(error, "response", None)
        return response is not None and (
            response.status_code >= 500 or response.status_code in WAIT_AND_TRY
        )
    network = {"ConnectError", "TimeoutException", "TransportError", "ConnectionError"}
    return isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError) or any(
        cls.__name__ in network for cls in type(error).__mro__
    )


def failure(error: Exception, repo: str, revision: str, name: str = "") -> AtlasError:
    """What to raise for an error of the client: the hub's fault, or that of what was asked of it."""
    kind = AtlasError if _is_of_request(error) else UnreachableError
    return kind(explain(error, repo, revision, name))


def _is_of_request(error: BaseException) -> bool:
    """Whether what was asked for is wrong: where a connection ends, its parts raise many other kinds."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return isinstance(error, HfHubHTTPError | HFValidationError) and not unreachable(error)


def explain(error: Exception, repo: str, revision: str, name: str = "") -> str:
    """One sentence for what went wrong with a hub, and what to do."""
    from huggingface_hub import errors

    what = f"{repo}{'/' + name if name else ''} at {revision}"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{what}: the repository is gated; accept its terms on its page and give a token "
            "(`hf auth login`, or the variable HF_TOKEN)."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo}: there is no revision {revision!r}."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{repo}: there is no such repository, or it is private; check the name (a folder of your "
            f"own is written ./{repo}), or give a token (`hf auth login`, or the variable HF_TOKEN)."
        )
    if unreachable(error):
        return (
            f"{what}: the hub cannot be reached, and the file is not in the cache; run once with "
            "a network, or give a local source."
        )
    if isinstance(error, errors.EntryNotFoundError):
        return f"{what}: there is no such file in the repository."
    again = "" if _is_of_request(error) else "; give the same command again"
    return f"{what}: {type(error).__name__}: {error}{again}"
