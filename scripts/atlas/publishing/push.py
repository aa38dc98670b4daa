"""Uploads to a hub: what was verified, whole, with its card, and looked at again afterwards."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from atlas.bills.hub_cards import CARD
from atlas.errors import AtlasError
from atlas.files import write_json
from atlas.job.records import Records
from atlas.lineage.file_digests import FileDigests
from atlas.lineage.verify import verify
from atlas.publishing.push_errors import explain


def push(
    *, files: list[Path], card: Path, path: str, repo: str, private: bool, name: str, record: Path
) -> None:  # fmt: skip
    """Upload one folder below results/, in one commit, and write down what the hub then lists.

    :param files: files of the folder, but its README.md. :param card: the README.md of the upload.
    :param path: the folder below results/: ``deltas/…``, ``merged/…`` or ``models/…``.
    :param private: the visibility that the repository has, or is made with; it is never changed.
    :raises AtlasError: where a file, or anything that it was made from, is not what its attestation
        says; where the repository has another visibility or holds other weights; where the hub
        refuses or cannot be reached, or afterwards lists something else than was sent.
    """
    digests = _verified([*files, card], path)
    contents = {file.name: file for file in files}
    token = _token(repo)
    try:
        commit = _upload(
            contents, card.read_bytes(), digests, repo, private, token, f"Delta Atlas: {path}"
        )
    except AtlasError:
        raise
    except Exception as error:
        raise AtlasError(explain(error, repo)) from None
    write_json(record, {"name": name, "path": path, "repo": repo, "private": private, **commit})


def _verified(files: Sequence[Path], path: str) -> dict[str, str]:
    """Check files and all that stands behind them; file name -> SHA-256.

    :raises AtlasError: naming the first broken file.
    """
    records, digests = Records(Path()), FileDigests()
    broken = verify(records, [str(file) for file in files], digests).broken
    if broken:
        first = broken[0]
        more = len({fault.file for fault in broken}) - 1
        raise AtlasError(
            f"{path}: {first.file} {first.sentence}{f'; and {more} more files' if more else ''}; "
            "nothing was uploaded. Look with `python scripts/lineage.py verify`, and make it again."
        )
    found = {}
    for file in files:
        digest = digests.of(records.path(str(file)))
        if digest is None:
            raise AtlasError(f"{path}: {file} is missing; nothing was uploaded. Make it again.")
        found[file.name] = digest
    return found


def _token(repo: str) -> str:
    from huggingface_hub import get_token

    try:
        token = get_token()
    except Exception as error:
        raise AtlasError(explain(error, repo)) from None
    if not token:
        raise AtlasError(
            f"{repo}: there is no token to upload with; give one that may write there (`hf auth "
            "login`, or the variable HF_TOKEN)."
        )
    return token


def _upload(
    contents: Mapping[str, Path], card: bytes, digests: Mapping[str, str], repo: str,
    private: bool, token: str, message: str,
) -> dict[str, Any]:  # fmt: skip
    """One commit with all files, checked against what the hub lists of it."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=token)
    head = _repository(api, repo, private)
    _refuse_other_weights(api, repo, head, set(contents))
    additions = {n: CommitOperationAdd(n, file) for n, file in contents.items()}
    for name, addition in additions.items():
        # The client has now read what it will send: these very bytes were verified.
        if addition.upload_info.sha256.hex() != digests[name]:
            raise AtlasError(
                f"{contents[name]} was changed after it was verified; nothing was uploaded."
            )
    additions[CARD] = CommitOperationAdd(CARD, card)
    done = api.create_commit(
        repo, list(additions.values()), commit_message=message, parent_commit=head
    )
    sent = {
        name: {
            "name": name,
            "bytes": added.upload_info.size,
            "sha256": added.upload_info.sha256.hex(),
        }
        for name, added in sorted(additions.items())
    }
    _check_listed(api, repo, done.oid, sent, {**contents, CARD: card})
    _visibility(api, repo, private)
    address = urlsplit(api.endpoint)
    hub = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    return {"hub": hub, "commit": done.oid, "files": list(sent.values())}


def _repository(api: Any, repo: str, private: bool) -> str:
    """The newest commit of the repository, which is made where there is none.

    :raises AtlasError: for a repository of the other visibility.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return _visibility(api, repo, private)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private)
    # An organisation may decide the visibility of new repositories by itself.
    return _visibility(api, repo, private)


def _visibility(api: Any, repo: str, private: bool) -> str:
    info = api.repo_info(repo)
    if info.private is False and private:
        raise AtlasError(
            f"{repo}: the repository is public, and private: true is asked for; make it private on "
            "its page, name another, or set private: false."
        )
    if info.private is not private:
        raise AtlasError(
            f"{repo}: the repository is private, and private: false is asked for; make it public on "
            "its page, name another, or set private: true."
        )
    return str(info.sha)


def _refuse_other_weights(api: Any, repo: str, head: str, names: set[str]) -> None:
    """Refuse a repository that would hold two models afterwards: nothing of a user's is deleted."""
    kinds = (".safetensors", ".safetensors.index.json")
    there = api.list_repo_files(repo, revision=head)
    if found := sorted(f for f in there if f.endswith(kinds) and f not in names):
        raise AtlasError(
            f"{repo}: holds {found[0]}, which is not of this upload, and one would be loaded for "
            "the other; remove it there, or name another repository."
        )


def _check_listed(
    api: Any, repo: str, commit: str, sent: Mapping[str, Mapping[str, Any]],
    contents: Mapping[str, Path | bytes],
) -> None:  # fmt: skip
    """Compare the hub's list of a commit with what was sent: size, and SHA-256 or git's digest."""
    listed = {e.path: e for e in api.list_repo_tree(repo, recursive=True, revision=commit)}
    for name, file in sent.items():
        there = listed.get(name)
        if there is None:
            wrong = "does not list it"
        elif there.size != file["bytes"]:
            wrong = f"lists it with {there.size} bytes, and {file['bytes']} were sent"
        elif there.lfs is not None and there.lfs.sha256 != file["sha256"]:
            wrong = f"lists it with the SHA-256 {there.lfs.sha256[:12]}…, and {file['sha256'][:12]}… was sent"
        elif there.lfs is None and there.blob_id != _git_digest(contents[name]):
            wrong = "lists it with another content than was sent"
        else:
            continue
        raise AtlasError(
            f"{repo}/{name}: the hub {wrong} (commit {commit}); give the same command again, and "
            "do not use what is there now."
        )


def _git_digest(content: Path | bytes) -> str:
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
