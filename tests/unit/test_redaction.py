from __future__ import annotations

import base64
import http.server
import json
import os
import sys
import threading
from pathlib import Path

import pytest

import programs
from atlas.errors import AtlasError
from atlas.redaction import without_secrets

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TOKEN = "hf_canaryABCDEFGHIJKLMNOPQRSTUV"
PASSWORD = "pass%21word"
SECRETS = (TOKEN, PASSWORD, "pass!word", base64.b64encode(b"user:pass!word").decode())
# Each path to a hub that an error may come from.
PATHS = {
    "resolve": "hub.resolve('org/m', 'main')",
    "names": "hub.file_names('org/m', 'a' * 40, Path('cache'))",
    "fetch": "hub.fetch('org/m', 'a' * 40, 'config.json', Path('cache'))",
    "weights": "hub.fetch('org/m', 'a' * 40, 'model.safetensors', Path('cache'))",
    "rows": "hub.resolve('org/m', 'main', 'dataset')",
    "push": "push._upload({}, b'', {}, 'org/m', True, os.environ['HF_TOKEN'], 'x')",
}
CALL = """
import json, logging, os, sys, time
from pathlib import Path
from atlas import redaction
from atlas.sources import hub
from atlas.publishing import push, push_errors
redaction.clean_logs()
time.sleep = lambda seconds: None
logging.basicConfig(level=logging.DEBUG)
for name, call in json.loads(sys.argv[1]).items():
    try:
        eval(call)
    except Exception as error:
        print(name, push_errors.explain(error, "org/m") if name == "push" else error)
        print(redaction.traceback_without_secrets(), file=sys.stderr)
    else:
        raise SystemExit(f"{name}: the hub did not fail")
"""


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"sent {TOKEN}.", "sent …."),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer …"),
        ("'authorization': 'Bearer abc'", "'authorization': 'Bearer …'"),
        ("authorization=Basic dXNlcg==", "authorization=Basic …"),
        ("bearer x.y-z, then", "bearer …, then"),
        ("at https://user:pw@hub/x?X-Amz-Signature=1 now", "at https://hub/x now"),
        ("https://hub/x?y", "https://hub/x"),
        ("nothing to hide in hf_transfer or ./hf_models/a", None),
        ("it is basic", None),
    ],
    ids=range(9),
)
def test_what_lets_somebody_in_is_taken_out(text, left):
    assert without_secrets(text) == (text if left is None else left)
    assert str(AtlasError(text)) == (text if left is None else left)


def test_secrets_of_the_environment_are_known(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "another-form")
    monkeypatch.setenv("HF_ENDPOINT", f"https://user:{PASSWORD}@hub")
    for secret in ("another-form", *SECRETS[1:]):
        assert secret not in without_secrets(f"the server says {secret!r}: no")


class Echo(http.server.BaseHTTPRequestHandler):
    """A hub that fails, and tells in every way what it was sent."""

    def answer(self):
        told = f"{self.headers.get('Authorization')} {SECRETS}"
        body = json.dumps({"error": told, "message": told}).encode()
        self.send_response(self.server.status)
        for name in ("X-Error-Message", "X-Error-Code", "X-Request-Id"):
            self.send_header(name, told.encode("latin-1", "replace").decode("latin-1"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("status", [400, 403, 500])
def test_no_path_to_a_failing_hub_tells_a_secret(tmp_path, status):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.status = status
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    endpoint = f"http://user:{PASSWORD}@127.0.0.1:{server.server_port}"
    env = {**clean, "HF_TOKEN": TOKEN, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"),
           "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(SCRIPTS), "HF_HUB_OFFLINE": "0",
           "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip
    try:
        done = programs.run([sys.executable, "-c", CALL, json.dumps(PATHS)], cwd=tmp_path, env=env)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    for name in PATHS:
        assert f"{name} org/m" in done.stdout
    written = [f.read_text(errors="replace") for f in tmp_path.rglob("*") if f.is_file()]
    for secret in SECRETS:
        assert not [text for text in (done.stdout, done.stderr, *written) if secret in text]
