"""The picture of a navigator for a page of the documentation: what Chromium shows of it.

The file says of itself what it shows: the places of all models on the map of the run, and the
configuration that made them. A test holds these against a run.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from atlas.clusters.map_files import read_map
from atlas.errors import AtlasError
from atlas.files import passing
from atlas.guarded_json import parse_json

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1200, 640)  # pixels of the window
COLOURS = 256
TIME_MS = 20_000  # of the page's own clock, until which it has drawn
KEY = "delta-atlas"  # of the text in the file
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--force-device-scale-factor=1",
    "--force-prefers-reduced-motion", "--enable-unsafe-swiftshader",
)  # fmt: skip


def browser() -> str | None:
    """Chromium, where it is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def picture_of(
    navigator: Path, map_file: Path, signature: str, picture: Path, view: str = ""
) -> None:
    """Make a picture of a navigator.

    :param map_file: map.csv of the space that it opens with.
    :param signature: of the configuration that made it.
    :param view: what follows # in the address, which chooses what is shown.
    :raises AtlasError: where there is no browser, or it draws nothing.
    """
    program = browser()
    if not program:
        raise AtlasError(f"{picture}: needs Chromium, which is not installed; it is left as it is.")
    with tempfile.TemporaryDirectory() as scratch:
        shot = Path(scratch) / "shot.png"
        command = [program, *FLAGS, f"--user-data-dir={scratch}/profile", f"--screenshot={shot}",
                   f"--window-size={SIZE[0]},{SIZE[1]}", f"--virtual-time-budget={TIME_MS}",
                   navigator.resolve().as_uri() + (f"#{view}" if view else "")]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, "TZ": "UTC"})  # fmt: skip
        if not shot.is_file():
            raise AtlasError(
                f"{picture}: Chromium made no picture of {navigator}: {done.stderr[-500:]}"
            )
        names, places, method, _ = read_map(map_file)
        shown = {name: [float(x), float(y)] for name, (x, y) in zip(names, places, strict=True)}
        told = PngInfo()
        told.add_text(KEY, json.dumps({"configuration": signature, "method": method, "map": shown}))
        beside = passing(picture)
        Image.open(shot).convert("RGB").quantize(COLOURS).save(
            beside, "PNG", pnginfo=told, optimize=True
        )
        beside.replace(picture)


def told_by(picture: Path) -> dict[str, Any]:
    """What a picture says of itself: configuration, method, and map (model -> x, y)."""
    with Image.open(picture) as image:
        return dict(parse_json(image.text[KEY]))  # type: ignore[attr-defined]
