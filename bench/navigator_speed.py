"""What a navigator costs in a browser without a GPU: opening, hovering, labels, search, dragging.

    python bench/navigator_speed.py [--models 20000] [--page navigator.html]

Script, style and layout times are those of Chromium's own counters (CDP ``Performance.getMetrics``); the
pool is made up, with files such as a run would make, unless a page is given.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1400,900",
         "--disable-background-networking", "--enable-unsafe-swiftshader")  # fmt: skip
COUNTED = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
FRAME = "const done = arguments[0]; requestAnimationFrame(() => setTimeout(done, 0));"
COUNT_FRAMES = """window.frames_ = []; window.counting = true;
(function count(t) { frames_.push(t); if (counting) requestAnimationFrame(count); })(performance.now())"""


def browser() -> Any:
    """Headless Chromium with a profile of its own."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


class Page:
    """A navigator in a browser, and what it costs to do something there."""

    def __init__(self, driver: Any, file: Path) -> None:
        self.driver = driver
        driver.set_script_timeout(300)
        driver.set_page_load_timeout(300)
        driver.execute_cdp_cmd("Performance.enable", {})
        driver.get(file.resolve().as_uri())
        while not driver.execute_script("return 'ready' in document.documentElement.dataset"):
            time.sleep(0.1)
        time.sleep(2)
        self.box = driver.execute_script(
            "const r = document.querySelector('#map').getBoundingClientRect();"
            "return [r.left, r.top, r.width, r.height]"
        )

    def counters(self) -> dict[str, float]:
        """Seconds since the page was opened."""
        found = self.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return {m["name"]: m["value"] for m in found}

    def cost(self, act: Callable[[], Any], rest: float = 0.0) -> tuple[float, float, float]:
        """Milliseconds of script, of layout and style, and on the clock until the next frame."""
        before, start = self.counters(), time.perf_counter()
        act()
        self.driver.execute_async_script(FRAME)
        wall = time.perf_counter() - start
        time.sleep(rest)
        after = self.counters()
        script, *drawn = (after[name] - before[name] for name in COUNTED)
        return 1000 * script, 1000 * sum(drawn), 1000 * wall

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """An event of the mouse at a share of the map's width and height."""
        left, top, width, height = self.box
        at = {"x": left + x * width, "y": top + y * height}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **at, **more})

    def drag(self, seconds: float) -> float:
        """Frames per second while the map is dragged to and fro."""
        held = {"button": "left", "buttons": 1}
        self.mouse("mousePressed", 0.5, 0.5, clickCount=1, **held)
        self.driver.execute_script(COUNT_FRAMES)
        start, k = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            k += 1
            self.mouse("mouseMoved", 0.5 + 0.2 * abs(k % 40 - 20) / 20, 0.5, **held)
        times = self.driver.execute_script("counting = false; return frames_")
        self.mouse("mouseReleased", 0.5, 0.5, clickCount=1, button="left")
        return (len(times) - 1) / (times[-1] - times[0]) * 1000


def said(what: str, costs: list[tuple[float, float, float]]) -> None:
    """A line: least and median script time (other work on the machine only adds), and medians beside."""
    script, drawn, wall = zip(*costs, strict=True)
    print(f"{what:24} script {min(script):6.1f} ms (median {statistics.median(script):6.1f}), "
          f"layout and style {statistics.median(drawn):6.1f} ms, "
          f"to the next frame {statistics.median(wall):7.1f} ms")  # fmt: skip


def measure(file: Path) -> None:
    """Open a page and measure it."""
    driver = browser()
    try:
        page = Page(driver, file)
        marks = driver.execute_script(
            "return [performance.getEntriesByName('drawn')[0].startTime,"
            " performance.memory.usedJSHeapSize / 1e6]"
        )
        print(f"{file.stat().st_size / 1e6:.1f} MB; drawn after {marks[0] / 1000:.2f} s; "
              f"{marks[1]:.0f} MB of script objects")  # fmt: skip
        grid = [(0.2 + 0.06 * i, 0.2 + 0.1 * j) for j in range(5) for i in range(10)]
        said(
            "move of the mouse",
            [page.cost(lambda at=at: page.mouse("mouseMoved", *at)) for at in grid],
        )
        more = driver.find_element("css selector", ".more")
        said("zoom, labels", [page.cost(more.click, 0.5) for _ in range(5)])
        driver.find_element("css selector", ".whole").click()
        time.sleep(1)
        find = driver.find_element("id", "find")
        said(
            "a letter of a search",
            [page.cost(lambda c=c: find.send_keys(c), 0.3) for c in "physics 05"],
        )
        find.clear()
        find.send_keys(" ")
        time.sleep(1)
        print(f"dragging: {page.drag(4):.1f} frames a second")
    finally:
        driver.quit()


def main() -> None:
    """Make a page, or take one, and measure it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=int, default=20_000)
    parser.add_argument("--domains", type=int, default=24)
    parser.add_argument("--page", type=Path, help="a page that is there already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.page
        if not file:
            from unit.navigator.navigator_pools import large_pool, write

            pool = large_pool(Path(folder), arguments.models, arguments.domains)
            file = write(pool, Path(folder) / "navigator.html")
        measure(file)


if __name__ == "__main__":
    main()
