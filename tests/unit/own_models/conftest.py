"""A hub in memory."""

from __future__ import annotations

import pytest

from atlas.sources import hub


@pytest.fixture
def on_hub(monkeypatch, tmp_path):
    """Files of repositories, repository -> name -> bytes."""
    held: dict[str, dict[str, bytes]] = {}

    def fetch(repo, commit, name, cache, kind="model"):
        file = tmp_path / "hub" / repo / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(held[repo][name])
        return file

    monkeypatch.setattr(hub, "resolve", lambda repo, revision, kind="model": "0" * 40)
    monkeypatch.setattr(hub, "file_names", lambda repo, *_: sorted(held[repo]))
    monkeypatch.setattr(hub, "fetch", fetch)
    return held
