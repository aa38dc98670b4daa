"""What axe finds on the pages: nothing, at any width, in light and in dark."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.lineage.page import write_page as write_lineage
from atlas.report.pages import write_page
from browser.conftest import needs_browser, wait
from unit.lineage.test_page import big_graph

axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
pytest.importorskip("selenium", reason="selenium is not installed")

pytestmark = [pytest.mark.browser, needs_browser]

AXE = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
TEMPLATE = Path(__file__).parents[2] / "resources" / "pages" / "page.html.jinja"
RUN = """const done = arguments[0];
axe.run(document, {resultTypes: ["violations"]}).then(found => done(found.violations.map(
    v => [v.id, v.nodes.map(n => n.html.slice(0, 200))])));"""
SUMMARY = """# Summary of findings

One finding with `code`, and a [link](tables/main.csv).

## Main

| space | silhouette |
|---|--:|
| delta activations | 0.67 |

```yaml
seeds: [42]
```
"""
CHOSEN = "#model=smollm2-medical-0002&colour=chosen&beside=output_sentences"


@pytest.fixture(scope="module")
def pages(file, tmp_path_factory):
    """Addresses of the pages, by name."""
    folder = tmp_path_factory.mktemp("pages")
    write_lineage(big_graph(12), folder / "lineage.html", "results/tables/main.csv")
    (folder / "summary.md").write_text(SUMMARY)
    write_page(text=folder / "summary.md", template=TEMPLATE, page=folder / "summary.html")
    found = {name: (folder / f"{name}.html").as_uri() for name in ("lineage", "summary")}
    return {"navigator": file.as_uri(), "a model": file.as_uri() + CHOSEN, **found}


def violations(driver, address, width=1400, scheme="light"):
    """What axe holds against a page: rules, and the elements that break them."""
    look = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", look)
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        driver.get("about:blank")
        driver.get(address)
        driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE})
        if "navigator" in address:
            wait(
                lambda: driver.execute_script("return 'ready' in document.documentElement.dataset")
            )
        return driver.execute_async_script(RUN)
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (320, "dark"), (390, "light")])
@pytest.mark.parametrize("page", ["navigator", "a model", "lineage", "summary"])
def test_axe_finds_nothing(driver, pages, page, width, scheme):
    assert violations(driver, pages[page], width, scheme) == []


def test_axe_finds_what_is_wrong(driver, tmp_path):
    (tmp_path / "bad.html").write_text(
        "<title>x</title><img src='data:,'><p style='color:#ccc'>pale"
    )
    found = {rule for rule, _ in violations(driver, (tmp_path / "bad.html").as_uri())}
    assert {"image-alt", "color-contrast", "html-has-lang"} <= found
