"""A stand-in for a model hub on this machine: what huggingface_hub asks, answered from memory.

    with Hub() as hub:
        commit = hub.commit("org/name", {"config.json": b"{}"})
        subprocess.run(..., env={**os.environ, **hub.environment()})

As on a real hub, large files are behind a redirect, downloads may ask for a range, repositories
may be gated, and a missing repository is answered like a private one. What uploads ask is in
hub_uploads. The client is the real one.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hub_uploads import UPLOAD_ROUTES, Uploads, git_digest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
_home = tempfile.TemporaryDirectory(prefix="hub-home-")
_ports: list[int] = []  # of stand-ins that have stopped, for the next

TOKEN = "hf_accepted"
READ_TOKEN = "hf_reads_only"
LARGE = (".safetensors", ".bin", ".parquet")
REPO = r"(?P<repo>[^/]+/[^/]+|[^/]+)"
ROUTES = {
    "info": re.compile(rf"/api/(?P<kind>models|datasets)/{REPO}(/revision/(?P<revision>[^/]+))?"),
    "tree": re.compile(rf"/api/(?P<kind>models|datasets)/{REPO}/tree/(?P<revision>[^/]+)"),
    "resolve": re.compile(
        rf"(/(?P<kind>datasets))?/{REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)"
    ),
    "content": re.compile(r"/content/(?P<digest>[0-9a-f]{64})"),
    **UPLOAD_ROUTES,
}


@dataclass
class Repository:
    """Files by commit, commits by branch or tag."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def find(self, revision: str) -> str | None:
        """The commit of a revision."""
        return self.revisions.get(revision, revision if revision in self.files else None)


class Hub:
    """The stand-in.

    `requests` lists (method, path, range) of what it was asked; `tokens` says what a token may do,
    and `organisations` in whose names it may write. `refusals` makes a route of an upload answer
    with a status and words; `spoil` makes a commit keep all but the last byte of a file;
    `visibility` is that of every new repository, whatever is asked for.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.drops: dict[str, int] = {}
        self.tokens = {TOKEN: "write", READ_TOKEN: "read"}
        self.organisations = {"org"}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.spoil: str | None = None
        self.visibility: str | None = None
        self.stored: dict[str, bytes] = {}
        self._server = _listening(_handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,),
                                        daemon=True)  # fmt: skip

        self.port = self._server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def environment(self, **extra: str) -> dict[str, str]:
        """Variables with which the client asks this hub and no other."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1,localhost",
                "no_proxy": "127.0.0.1,localhost", **extra}  # fmt: skip

    def client(self, **extra: str) -> dict[str, str]:
        """Environment of a process that asks this hub, from an empty home.

        It is the same for each test: processes that have imported the client serve them all.
        """
        shutil.rmtree(_home.name)
        Path(_home.name).mkdir()
        others = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return {**others, **self.environment(), "PYTHONPATH": str(SCRIPTS), "HF_HOME": _home.name,
                **extra}  # fmt: skip

    def commit(
        self, repo: str, files: dict[str, bytes], *, kind: str = "model", revision: str = "main",
        gated: bool = False, private: bool = False,
    ) -> str:  # fmt: skip
        """Make these the files of a revision; the answer is the new commit."""
        repository = self.repositories.setdefault((f"{kind}s", repo), Repository())
        repository.gated, repository.private = gated, private
        text = json.dumps([repo, len(repository.files), sorted(files)]).encode()
        commit = hashlib.sha1(text).hexdigest()
        repository.files[commit] = dict(files)
        repository.revisions[revision] = commit
        return commit

    def drop(self, name: str, after: int) -> None:
        """Break the next download of a file of this name after so many bytes."""
        self.drops[name] = after

    def downloads(self) -> list[tuple[str, str | None]]:
        """(path, range) of every download."""
        return [(p, r) for m, p, r in self.requests if m == "GET" and not p.startswith("/api/")]

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """Files of a model's repository, without what the hub itself put there."""
        repository = self.repositories["models", repo]
        found = repository.files[repository.find(revision)]
        return {name: data for name, data in found.items() if name != ".gitattributes"}

    def stop(self) -> None:
        """Stop answering, as a hub that cannot be reached."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        if self.port not in _ports:
            _ports.append(self.port)

    def __enter__(self) -> "Hub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _listening(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """A server on the port of a stand-in that has stopped, unless somebody else has it by now."""
    while _ports:
        with contextlib.suppress(OSError):
            return ThreadingHTTPServer(("127.0.0.1", _ports.pop()), handler)
    return ThreadingHTTPServer(("127.0.0.1", 0), handler)


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(Uploads, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are sent one after the other
        store = hub

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _answer(self) -> None:
            self.body = self._read_body()
            path = urlsplit(self.path).path
            hub.requests.append((self.command, unquote(path), self.headers.get("Range")))
            for route, pattern in ROUTES.items():
                match = pattern.fullmatch(path)
                if match:
                    values = {k: v and unquote(v) for k, v in match.groupdict().items()}
                    return getattr(self, f"_{route}")(**values)
            return self._error(404, "EntryNotFound", "no such page")

        def _find(self, kind: str | None, repo: str, revision: str | None):
            repository = hub.repositories.get((kind or "models", repo))
            if repository is None or (repository.private and self._token() not in hub.tokens):
                self._error(401, "RepoNotFound", "Invalid username or password.")
                return None
            commit = repository.find(revision or "main")
            if commit is None:
                self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
                return None
            return repository, commit

        def _info(self, kind: str, repo: str, revision: str | None) -> None:
            if found := self._find(kind, repo, revision):
                repository, commit = found
                names = [{"rfilename": name} for name in sorted(repository.files[commit])]
                self._json({"id": repo, "sha": commit, "private": repository.private, "tags": [],
                            "gated": "manual" if repository.gated else False,
                            "siblings": names})  # fmt: skip

        def _tree(self, kind: str, repo: str, revision: str) -> None:
            if found := self._find(kind, repo, revision):
                repository, commit = found
                self._json([
                    {"type": "file", "path": name, "size": len(data), "oid": git_digest(data),
                     **({"lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data),
                                 "pointerSize": 130}} if name.endswith(LARGE) else {})}
                    for name, data in sorted(repository.files[commit].items())
                ])  # fmt: skip

        def _resolve(self, kind: str | None, repo: str, revision: str, name: str) -> None:
            found = self._find(kind, repo, revision)
            if not found:
                return
            repository, commit = found
            token = self._token()
            if repository.gated and token != TOKEN:
                self._error(403 if token else 401, "GatedRepo",
                            f"Access to {kind or 'model'} {repo} is restricted.")  # fmt: skip
                return
            data = repository.files[commit].get(name)
            if data is None:
                self._error(404, "EntryNotFound", "Entry not found", commit)
                return
            digest = hashlib.sha256(data).hexdigest()
            if not name.endswith(LARGE):
                self._send(data, name, {"ETag": f'"{digest}"', "X-Repo-Commit": commit})
                return
            # Another host, as the client keeps following redirects that stay on the hub's.
            place = f"http://localhost:{hub.port}/content/{digest}"
            self._head(302, {"Location": place, "X-Repo-Commit": commit,
                             "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)),
                             "Content-Length": "0"})  # fmt: skip

        def _content(self, digest: str) -> None:
            for repository in hub.repositories.values():
                for files in repository.files.values():
                    for name, data in files.items():
                        if hashlib.sha256(data).hexdigest() == digest:
                            self._send(data, name, {"ETag": f'"{digest}"'})
                            return
            self._error(404, "EntryNotFound", "no such content")

        def _send(self, data: bytes, name: str, headers: dict[str, str]) -> None:
            start = int(re.sub(r"\D", "", (self.headers.get("Range") or "0").split("-")[0]))
            headers |= {"Accept-Ranges": "bytes", "Content-Length": str(len(data) - start)}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._head(206 if start else 200, headers)
            if self.command == "HEAD":
                return
            after = hub.drops.pop(name, None)
            if after is None:
                self.wfile.write(data[start:])
                return
            self.wfile.write(data[start : start + after])
            self.wfile.flush()
            self.close_connection = True

        def _json(self, value: object, status: int = 200) -> None:
            data = json.dumps(value).encode()
            self._head(
                status, {"Content-Type": "application/json", "Content-Length": str(len(data))}
            )
            if self.command != "HEAD":
                self.wfile.write(data)

        def _error(self, status: int, code: str, message: str, commit: str = "") -> None:
            data = json.dumps({"error": message}).encode()
            headers = {"X-Error-Code": code, "X-Error-Message": message,
                       "Content-Length": str(len(data))}  # fmt: skip
            self._head(status, headers | ({"X-Repo-Commit": commit} if commit else {}))
            if self.command != "HEAD":
                self.wfile.write(data)

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()

    return Handler
