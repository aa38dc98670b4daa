"""What goes wrong with an upload, in one sentence that says what to do and holds no secret."""

import re

from atlas.redaction import without_secrets
from atlas.sources.hub import unreachable

QUOTA = re.compile(
    r"storage limit|storage patterns|storage quota|over quota|upgrade your plan", re.I
)


def explain(error: BaseException, repo: str) -> str:
    """One sentence for a failed upload."""
    chain = _chain(error)
    said = " ".join(filter(None, (_words(e) for e in chain)))
    status = next(filter(None, map(_status, reversed(chain))), None)
    return " ".join(without_secrets(f"{repo}: {_sentence(chain, status, said)}").split())


def _sentence(chain: list[BaseException], status: int | None, said: str) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    gated = isinstance(chain[0], GatedRepoError)
    if status == 429:
        return "the hub was asked too often; wait some minutes and give the same command again."
    if status in (402, 413, 507) or QUOTA.search(said):
        return (
            f"the hub has no room for the upload ({said}); make room there, or ask for more, and "
            "give the same command again."
        )
    if any(unreachable(error) for error in chain):
        return (
            "the hub cannot be reached; give the same command again with a network (and without "
            "HF_HUB_OFFLINE)."
        )
    if str(chain[0]).startswith("Error while uploading") and status is not None:
        return (
            f"the store of the hub refused a file (status {status}); nothing was committed, give "
            "the same command again."
        )
    missing = isinstance(chain[0], RepositoryNotFoundError) and not gated
    if status in (404, 409) or missing:
        return (
            "the repository cannot be made or found with this token; check the name, and that the "
            "token may read and write it."
        )
    if status == 401:
        return (
            "the hub does not accept the token; give one that is valid (`hf auth login`, or the "
            "variable HF_TOKEN)."
        )
    if status == 403 or gated:
        return (
            f"the token may not write there{f' ({said})' if said else ''}; give one with write "
            "access to the repository (`hf auth login`, or the variable HF_TOKEN)."
        )
    if status == 412:
        return "the repository was changed meanwhile; give the same command again."
    if "Invalid metadata in README.md" in str(chain[0]):
        return f"the hub refuses the card: {chain[0]}"
    return f"the upload failed: {type(chain[-1]).__name__}: {said or chain[-1]}"


def _chain(error: BaseException) -> list[BaseException]:
    """An error and its causes: the client wraps what happens to one file."""
    found = [error]
    while (cause := found[-1].__cause__) is not None and cause not in found:
        found.append(cause)
    return found


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _words(error: BaseException) -> str:
    """The hub's own words, where it said any."""
    told = str(error) if str(error).startswith("LFS batch API returned errors") else ""
    return str(getattr(error, "server_message", None) or told)
