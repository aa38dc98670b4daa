from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import programs
from atlas.errors import AtlasError
from atlas.redaction import without_secrets
from failing_hub import PASSWORD, SECRETS, TOKEN, failing_hub

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
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


@pytest.mark.parametrize("status", [400, 403, 500])
def test_no_path_to_a_failing_hub_tells_a_secret(tmp_path, status):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    with failing_hub(status) as hub:
        env = {**clean, **hub, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(SCRIPTS)}
        done = programs.run([sys.executable, "-c", CALL, json.dumps(PATHS)], cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    for name in PATHS:
        assert f"{name} org/m" in done.stdout
    written = [f.read_text(errors="replace") for f in tmp_path.rglob("*") if f.is_file()]
    for secret in SECRETS:
        assert not [text for text in (done.stdout, done.stderr, *written) if secret in text]
