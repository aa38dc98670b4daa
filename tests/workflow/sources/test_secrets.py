"""A run with a token against a hub that fails: nothing that it leaves anywhere holds a secret."""

import pytest

from failing_hub import SECRETS, failing_hub
from micro import micro, micro_config, snakemake

pytestmark = pytest.mark.workflow


def test_a_run_against_a_failing_hub_leaves_no_secret(tmp_path):
    config = micro_config()
    config["bases"]["far"] = {"source": {"hub": {"repo": "org/far", "revision": "main"}}}
    folder = micro(tmp_path / "checkout", config)
    with failing_hub(400) as hub:
        done = snakemake(
            folder, "results/sources/bases/far/base.json", "--cores", "1", "-p", "--show-failed-logs",
            check=False, HF_HOME=str(tmp_path / "home"), **hub,
        )  # fmt: skip
    assert done.returncode != 0
    assert "org/far at main: " in done.stdout
    texts = {"what was printed": done.stdout.encode()}
    texts |= {str(f): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    assert any("/provenance/attempts/" in name for name in texts)
    assert any(b"org/far at main: " in text for name, text in texts.items() if "/logs/" in name)
    for secret in SECRETS:
        assert not [name for name, text in texts.items() if secret.encode() in text]
