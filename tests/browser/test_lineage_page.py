"""The page of a graph in a real browser, where one is installed."""

from __future__ import annotations

import pytest

from atlas.lineage.graph import Graph
from atlas.lineage.page import arrange, write_page
from browser.conftest import addresses, needs_browser, wait
from unit.lineage.test_page import big_graph

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.browser, needs_browser]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return big_graph()


@pytest.fixture
def page(driver, graph, tmp_path):
    """The page, freshly loaded."""
    driver.get_log("browser")
    driver.get_log("performance")
    write_page(graph, tmp_path / "page.html", "results/tables/main.csv")
    driver.get((tmp_path / "page.html").as_uri())
    yield driver
    assert driver.get_log("browser") == []


def node(page, graph, label):
    """The element of a job, and its place in the order of the page."""
    (at,) = [k for k, i in enumerate(arrange(graph)) if graph.nodes[i].label == label]
    return page.find_element(By.ID, f"n{at}"), at


def lit(page) -> set[str]:
    return set(
        page.execute_script(
            "return [...document.querySelectorAll('.focus .node.lit')].map(n => n.title)"
        )
    )


def lineage(graph, label) -> set[str]:
    """Labels of a job with all behind it and all made from it."""
    (start,) = [i for i, n in graph.nodes.items() if n.label == label]
    found = {start}
    for near, far in ((0, 1), (1, 0)):
        queue = [start]
        while queue:
            at = queue.pop()
            more = [e[far] for e in graph.edges if e[near] == at and e[far] not in found]
            found.update(more)
            queue += more
    return {graph.nodes[i].label for i in found}


MODEL = "train_adapter smollm2-legal-second-r8-seed3"


def test_the_page_opens_and_asks_for_nothing(page):
    assert len(page.find_elements(By.CSS_SELECTOR, ".node")) == 500
    shown = page.find_element(By.CSS_SELECTOR, ".target")
    at, size = shown.rect, page.get_window_size()
    assert 0 <= at["x"] < size["width"]
    assert 0 <= at["y"] < size["height"]
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    asked = addresses(page)
    assert page.current_url in asked
    assert [url for url in asked if url != page.current_url and not url.startswith("data:")] == []
    sizes = page.execute_script(
        "return [...document.querySelectorAll('.node, .node b, .node small')]"
        ".map(n => parseFloat(getComputedStyle(n).fontSize))"
    )
    assert min(sizes) >= 11


def test_hovering_shows_what_is_behind_and_ahead(page, graph):
    element, _ = node(page, graph, MODEL)
    page.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", element)
    ActionChains(page).move_to_element(element).perform()
    wait(lambda: lit(page))
    assert lit(page) == lineage(graph, MODEL)
    ways = [p.get_attribute("d") for p in page.find_elements(By.CSS_SELECTOR, ".way")]
    assert all(ways)
    ActionChains(page).move_to_element(page.find_element(By.ID, "find")).perform()
    wait(lambda: not lit(page))


def test_details(page, graph):
    element, at = node(page, graph, MODEL)
    page.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", element)
    element.click()
    panel = page.find_element(By.ID, "panel")
    assert panel.is_displayed()
    made = graph.nodes[list(arrange(graph))[at]]
    for text in [MODEL, *made.outputs, "fetch_base smollm2", "recipe", "atlas.train_adapter",
                 made.statement.digest[:12], "2026-01-01", "host"]:  # fmt: skip
        assert text in panel.text
    recipe = panel.find_element(By.XPATH, ".//summary[contains(., 'recipe')]")
    assert "learning_rate: 0.0002" not in panel.text
    recipe.click()
    wait(lambda: "learning_rate: 0.0002" in panel.text)
    panel.find_element(By.XPATH, ".//button[text()='fetch_base smollm2']").click()
    assert panel.find_element(By.TAG_NAME, "h2").text == "fetch_base smollm2"
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not panel.is_displayed()
    assert not lit(page)
    assert page.switch_to.active_element.get_attribute("title") == "fetch_base smollm2"


def test_searching(page):
    box, said = page.find_element(By.ID, "find"), page.find_element(By.ID, "hits")
    box.send_keys("legal second train")
    hits = [n.get_attribute("title") for n in page.find_elements(By.CSS_SELECTOR, ".node.hit")]
    assert said.text == "10 hits"
    assert hits == [f"train_adapter smollm2-legal-second-r8-seed{k}" for k in range(10)]
    box.send_keys(Keys.ENTER, Keys.ENTER)
    current = page.find_element(By.CSS_SELECTOR, ".node.current")
    assert current.get_attribute("title") == hits[1]
    assert said.text == "2 of 10"
    box.send_keys(Keys.SHIFT, Keys.ENTER, Keys.ENTER)
    assert said.text == "10 of 10"
    box.send_keys(Keys.NULL, Keys.ESCAPE)
    assert page.find_elements(By.CSS_SELECTOR, ".node.hit") == []
    box.send_keys("adapter_model.safetensors maths-first-r8-seed4")
    assert said.text == "1 hit"
    box.clear()
    box.send_keys("nowhere")
    assert said.text == "no hits"


def test_keys_move_along_the_edges(page, graph):
    element, _ = node(page, graph, MODEL)
    page.execute_script("arguments[0].focus()", element)

    def press(key):
        page.switch_to.active_element.send_keys(key)
        return page.switch_to.active_element.get_attribute("title")

    before = press(Keys.ARROW_LEFT)
    assert before in {"fetch_base smollm2", MODEL.replace("train_adapter", "prepare_rows")}
    assert press(Keys.ARROW_RIGHT) == MODEL
    assert press(Keys.ARROW_DOWN) == MODEL[:-1] + "4"
    assert press(Keys.ARROW_UP) == MODEL
    assert press(Keys.TAB) == MODEL[:-1] + "4"
    wait(lambda: lit(page) == lineage(graph, MODEL[:-1] + "4"))
    press(Keys.ENTER)
    assert page.find_element(By.CSS_SELECTOR, "#panel h2").text == MODEL[:-1] + "4"


def test_the_legend_dims_other_stages(page):
    button = page.find_element(By.CSS_SELECTOR, ".legend [data-stage=datasets]")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    kept = page.find_elements(By.CSS_SELECTOR, ".graph[data-stage] .node.kept")
    assert len(kept) == 15
    other = page.find_element(By.CSS_SELECTOR, ".node:not(.kept)")
    assert float(other.value_of_css_property("opacity")) < 0.5
    button.click()
    assert float(other.value_of_css_property("opacity")) == 1


def test_zoom(page):
    view = page.find_element(By.CSS_SELECTOR, ".view")
    said = page.find_element(By.CSS_SELECTOR, ".zoom output")
    assert page.execute_script("return Math.abs(scale - fitting()) < .005"), "it opens fitted"
    page.find_element(By.CSS_SELECTOR, ".whole").click()
    assert said.text == "100%"
    page.find_element(By.CSS_SELECTOR, ".more").click()
    assert said.text == "125%"
    page.find_element(By.CSS_SELECTOR, ".whole").click()
    sizes = page.execute_script(
        "const v = arguments[0]; return [v.scrollWidth - v.clientWidth, v.scrollHeight - v.clientHeight]",
        view,
    )
    assert max(sizes) <= 0
    page.execute_script(
        "arguments[0].dispatchEvent(new WheelEvent('wheel', "
        "{deltaY: -100, ctrlKey: true, cancelable: true, clientX: 400, clientY: 400}))",
        view,
    )
    assert page.execute_script("return scale > fitting() * 1.2")


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(page, graph, dark):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    try:
        page.refresh()
        assert page.execute_script("return scale >= .6"), "it opens where words can be read"
        _, at = node(page, graph, MODEL)
        page.execute_script(f"open({at})")
        panel = page.find_element(By.ID, "panel").rect
        view = page.find_element(By.CSS_SELECTOR, ".view").rect
        assert panel["width"] == view["width"] == 390
        assert panel["y"] >= view["y"] + view["height"]
        assert page.execute_script("return document.documentElement.scrollWidth") == 390
        paper = page.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        red = int(paper.split("(")[1].split(",")[0])
        assert (red < 60) is dark
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
