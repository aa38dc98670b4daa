"""The picture of a navigator, made by a real browser."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from atlas.clusters.map_files import read_map
from atlas.errors import AtlasError
from atlas.publishing import picture
from browser.conftest import needs_browser
from unit.navigator.navigator_pools import real_pool, write

pytestmark = [pytest.mark.browser, needs_browser]


def test_a_picture_shows_every_domain_and_says_what_it_shows(tmp_path):
    pool = real_pool(tmp_path, 15, 5)
    page = write(pool, tmp_path / "navigator.html")
    made = tmp_path / "navigator.png"
    picture.picture_of(page, pool["maps"][0], "0123", made)
    names, places, method, _ = read_map(pool["maps"][0])
    told = picture.told_by(made)
    assert told == {"configuration": "0123", "method": method,
                    "map": dict(zip(names, places.tolist(), strict=True))}  # fmt: skip
    pixels = np.asarray(Image.open(made).convert("RGB")).reshape(-1, 3).astype(int)
    assert len(pixels) == picture.SIZE[0] * picture.SIZE[1]
    for colour in pool["palette"][:5]:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - wanted).max(axis=1) < 8).sum() > 40, colour
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_without_a_browser_or_a_page_nothing_is_replaced(tmp_path, monkeypatch):
    made = tmp_path / "navigator.png"
    made.write_bytes(b"as it was")
    monkeypatch.setattr(picture, "BROWSERS", ("no-such-browser",))
    with pytest.raises(AtlasError, match="needs Chromium, which is not installed"):
        picture.picture_of(tmp_path / "page.html", tmp_path / "map.csv", "", made)
    monkeypatch.setattr(picture, "BROWSERS", ("false",))
    with pytest.raises(AtlasError, match="Chromium made no picture"):
        picture.picture_of(tmp_path / "page.html", tmp_path / "map.csv", "", made)
    assert made.read_bytes() == b"as it was"
