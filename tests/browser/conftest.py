"""Headless Chromium, where it is installed."""

from __future__ import annotations

import json
import shutil
import time

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="no Chromium with its driver here (Debian: apt-get install chromium chromium-driver)",
)
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--force-prefers-reduced-motion", "--window-size=1400,900",
    "--enable-unsafe-swiftshader",  # WebGL without a GPU: without it, the browser logs a warning
]  # fmt: skip


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in [*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield found
    found.quit()


def wait(check, seconds=20.0):
    """Wait until something is so; what it gives is returned."""
    end = time.monotonic() + seconds
    while not (found := check()) and time.monotonic() < end:
        time.sleep(0.05)
    assert found
    return found


def addresses(driver) -> list[str]:
    """What a page from a file has asked the network for since the last look at the log."""
    events = [json.loads(e["message"])["message"] for e in driver.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [r["request"]["url"] for r in sent if r["documentURL"].startswith("file:")]


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """Sixty models of five domains, made up."""
    from browser.navigator_pages import hostile_pool

    return hostile_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="session")
def file(pool, tmp_path_factory):
    """The navigator of the pool."""
    from unit.navigator.navigator_pools import write

    return write(pool, tmp_path_factory.mktemp("page") / "navigator.html")


@pytest.fixture
def page(driver, file):
    """The navigator, freshly loaded; whatever it complains of is a fault."""
    from browser.navigator_pages import opened

    opened(driver, file)
    yield driver
    assert driver.get_log("browser") == []
