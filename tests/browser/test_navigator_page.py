"""The navigator in a real browser, where one is installed: how one goes about in it."""

from __future__ import annotations

import pytest

from atlas.files import read_csv
from browser.conftest import addresses, needs_browser, wait
from browser.navigator_pages import LEFT, LOOKS, RING, ask, heading, lonely, nearest, pointer, text

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

pytestmark = [pytest.mark.browser, needs_browser]


def test_the_page_opens_and_asks_for_nothing(page):
    assert ask(page, "performance.getEntriesByType('resource').length") == 0
    asked = addresses(page)
    assert page.current_url in asked
    others = [u for u in asked if u != page.current_url and not u.startswith(("data:", "blob:"))]
    assert others == []
    assert text(page, "h1") == "Models of smollm2"
    assert "60 models, 5 domains" in text(page, "#about")
    assert "t-SNE of cosine distances, perplexity 2" in text(page, "#about")
    assert ask(page, "here.map.x.length") == 60
    assert (
        Select(page.find_element(By.ID, "space")).first_selected_option.text == "Delta activations"
    )


def test_hovering_says_what_a_model_is(page, pool):
    name = lonely(page)
    pointer(page, name).perform()
    wait(lambda: name in text(page, "#tip"))
    model = next(m for m in pool["models"] if m["name"] == name)
    for part in (model["domain"], model["recipe"], model["base"], "silhouette"):
        assert part in text(page, "#tip")
    ActionChains(page).move_to_element(page.find_element(By.ID, "find")).perform()
    wait(lambda: not page.find_element(By.ID, "tip").is_displayed())


def test_clicking_shows_neighbours_card_and_lineage(page, pool):
    name = lonely(page)
    pointer(page, name).click().perform()
    wait(lambda: heading(page) == name)
    rows = page.find_elements(By.CSS_SELECTOR, "#panel table:first-of-type tbody tr")
    found = nearest(pool, name)
    shown = [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows[:10]]
    assert [cells[1] for cells in shown] == [r["neighbour"] for r in found]
    assert [cells[2] for cells in shown] == [r["neighbour_domain"] for r in found]
    assert "index" not in text(page, "#panel table caption")
    similarities = [float(cells[3].replace("−", "-")) for cells in shown]
    assert similarities == [round(float(r["similarity"]), 4) for r in found]
    assert ask(page, RING) == 11
    wait(lambda: page.find_elements(By.CSS_SELECTOR, "#panel .lineage li"))
    model = next(m for m in pool["models"] if m["name"] == name)
    for part in (model["data"][0]["dataset"], model["recipe"], str(model["seed"]), model["base"],
                 "base-1.0.whl", f"lineage.py trace results/models/{name}/adapter_model"):  # fmt: skip
        assert part in text(page, "#panel")
    page.find_element(By.CSS_SELECTOR, "#panel summary").click()
    card = text(page, "#panel details .text")
    assert "Trained by Delta Atlas from" in card
    assert f'from_pretrained(base, "results/models/{name}")' in card
    assert ask(page, "document.querySelector('#status').textContent").startswith(name)
    page.find_element(By.XPATH, f"//*[@id='panel']//button[.='{found[0]['neighbour']}']").click()
    assert heading(page) == found[0]["neighbour"]
    assert ask(page, "document.activeElement.tagName") == "H2"
    page.find_element(By.XPATH, "//*[@id='panel']//button[contains(., 'All models')]").click()
    assert ask(page, RING) == 0


def test_the_threshold_draws_links(page, pool):
    slider = page.find_element(By.ID, "threshold")
    assert text(page, "#linked") == "off"
    assert ask(page, "here.map.pairs.length") == 0
    slider.send_keys(*[Keys.ARROW_LEFT] * 12)
    least = float(slider.get_attribute("value"))
    pairs = {frozenset((r["model"], r["neighbour"])) for r in read_csv(pool["neighbours"])
             if r["space"] == "delta_activations" and round(float(r["similarity"]), 4) >= least}  # fmt: skip
    assert pairs
    assert ask(page, "here.map.pairs.length") == len(pairs)
    assert f": {len(pairs)} link" in text(page, "#linked")
    assert slider.get_attribute("aria-valuetext") == text(page, "#linked")
    slider.send_keys(Keys.HOME)
    every = {frozenset((r["model"], r["neighbour"])) for r in read_csv(pool["neighbours"])
             if r["space"] == "delta_activations"}  # fmt: skip
    assert ask(page, "here.map.pairs.length") == len(every)


def test_searching_by_name_and_domain(page):
    box = page.find_element(By.ID, "find")
    box.send_keys("math")
    assert text(page, "#hits") == "12 of 60"
    assert ask(page, LEFT) == 12
    names = [b.text for b in page.find_elements(By.CSS_SELECTOR, "#panel tbody .go")]
    assert names == [f"smollm2-math-{k:04d}" for k in range(12)]
    box.send_keys(" 0003", Keys.ENTER)
    assert heading(page) == "smollm2-math-0003"
    box.send_keys(Keys.ESCAPE)
    assert text(page, "#hits") == ""
    box.send_keys("onerror=alert(1)")
    assert text(page, "#hits") == "12 of 60"
    box.clear()
    box.send_keys("nowhere")
    assert text(page, "#hits") == "none"
    assert "0 models" in text(page, "#panel caption")


def test_colours_and_legend(page, pool):
    for kind, count in (("recipe", 4), ("base", 2), ("domain", 5)):
        Select(page.find_element(By.ID, "colour")).select_by_value(kind)
        entries = page.find_elements(By.CSS_SELECTOR, "#legend button")
        assert [e.find_element(By.TAG_NAME, "span").text for e in entries] == sorted(
            {m[kind] or "fetched" for m in pool["models"]}
        )
        assert len(entries) == count == ask(page, LOOKS)
    button = page.find_element(By.CSS_SELECTOR, "#legend button")
    button.click()
    button = page.find_element(By.CSS_SELECTOR, "#legend button")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.switch_to.active_element == button
    assert ask(page, LEFT) == 12
    button.send_keys(Keys.ENTER)
    assert ask(page, LEFT) == 60
    Select(page.find_element(By.ID, "colour")).select_by_value("silhouette")
    assert page.find_element(By.CSS_SELECTOR, "#legend .scale").is_displayed()
    assert ask(page, LOOKS) > 5


def test_another_space(page, pool):
    name = "smollm2-coding-0000"
    page.find_element(By.XPATH, f"//*[@id='panel']//button[.='{name}']").click()
    before = ask(page, "Array.from(here.map.x)")
    spaces = Select(page.find_element(By.ID, "space"))
    spaces.select_by_visible_text("Output sentences")
    wait(lambda: "Output sentences" in text(page, "#about"))
    assert ask(page, "Array.from(here.map.x)") != before
    assert heading(page) == name
    shown = page.find_elements(By.CSS_SELECTOR, "#panel table:first-of-type tbody .go")[:10]
    assert [b.text for b in shown] == [
        r["neighbour"] for r in nearest(pool, name, "output_sentences")
    ]
    assert "by an index that finds 97.1 % of the nearest" in text(page, "#panel table caption")
    spaces.select_by_visible_text("Flattened weights")
    wait(lambda: page.find_element(By.ID, "note").is_displayed())
    assert text(page, "#note") == "No map: the models are of mixed kinds."
    assert page.find_element(By.ID, "threshold").get_property("disabled")
    spaces.select_by_visible_text("Delta activations")
    wait(lambda: not page.find_element(By.ID, "note").is_displayed())
    assert ask(page, "Array.from(here.map.x)") == before


def test_the_map_by_keys(page):
    element = page.find_element(By.ID, "map")
    for _ in range(12):  # from the top of the page, Tab comes to the map
        if ask(page, "document.activeElement.id") == "map":
            break
        page.switch_to.active_element.send_keys(Keys.TAB)
    assert ask(page, "document.activeElement.id") == "map"
    assert element.value_of_css_property("outline-style") == "solid"
    element.send_keys(Keys.ARROW_RIGHT)
    wait(lambda: heading(page))
    first = ask(page, "here.state.chosen")
    element.send_keys(Keys.ARROW_RIGHT)
    second = wait(lambda: (k := ask(page, "here.state.chosen")) != first and k)
    assert ask(page, "here.map.x[arguments[0]] > here.map.x[arguments[1]]", second, first)
    assert ask(page, "document.activeElement.id") == "map"
    assert ask(page, "here.pool.names[here.state.chosen]") in ask(
        page, "document.querySelector('#status').textContent"
    )
    scale = ask(page, "here.map.scale")
    element.send_keys("+")
    assert ask(page, "here.map.scale") == pytest.approx(1.5 * scale)
    element.send_keys("0")
    assert ask(page, "here.map.scale") == pytest.approx(scale)
    element.send_keys(Keys.ENTER)
    assert ask(page, "document.activeElement.tagName") == "H2"
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert ask(page, "here.state.chosen") == -1
    assert ask(page, "document.activeElement.id") == "map"


def test_dragging_and_the_wheel_move_the_map(page):
    element = page.find_element(By.ID, "map")
    x, scale = ask(page, "here.map.centre[0]"), ask(page, "here.map.scale")
    ActionChains(page).drag_and_drop_by_offset(element, 120, 0).perform()
    wait(lambda: abs(ask(page, "here.map.centre[0]") - (x - 120 / scale)) < 0.3 * 120 / scale)
    ActionChains(page).scroll_from_origin(_origin(element), 0, -400).perform()
    wait(lambda: ask(page, "here.map.scale") > 1.1 * scale)
    page.find_element(By.CSS_SELECTOR, ".whole").click()
    assert ask(page, "here.map.scale") == pytest.approx(scale)


def _origin(element):
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    return ScrollOrigin.from_element(element)


def test_the_list_is_sorted_and_labelled(page, pool):
    head = page.find_element(By.CSS_SELECTOR, "#panel th[data-sort=silhouette]")
    head.find_element(By.TAG_NAME, "button").click()
    head = page.find_element(By.CSS_SELECTOR, "#panel th[data-sort=silhouette]")
    assert head.get_attribute("aria-sort") == "ascending"
    scores = {r["model"]: float(r["silhouette"]) for r in read_csv(pool["neighbours"])
              if r["space"] == "delta_activations"}  # fmt: skip
    shown = [b.text for b in page.find_elements(By.CSS_SELECTOR, "#panel tbody .go")]
    assert len(shown) == 60
    assert shown[0] == min(scores, key=scores.get)
    assert shown[-1] == max(scores, key=scores.get)
    unnamed = ask(page, """[...document.querySelectorAll('input, select, button')].filter(e =>
        !e.labels?.length && !e.getAttribute('aria-label') && !e.textContent.trim()).length""")  # fmt: skip
    assert unnamed == 0
    assert ask(page, "document.querySelector('#status').getAttribute('role')") == "status"


def _open_first(page):
    """Choose the first model of the list, which a change of looks draws anew."""

    def clicked():
        try:
            page.find_element(By.CSS_SELECTOR, "#panel tbody .go").click()
        except StaleElementReferenceException:
            return False
        return True

    wait(clicked)


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(page, dark):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    try:
        _open_first(page)
        wait(lambda: page.find_elements(By.CSS_SELECTOR, "#panel .lineage li"))
        assert ask(page, "document.documentElement.scrollWidth") == 390
        panel, view = (page.find_element(By.CSS_SELECTOR, c).rect for c in ("#panel", ".view"))
        assert panel["width"] == view["width"] == 390
        assert panel["y"] >= view["y"] + view["height"] - 1
        wait(lambda: ask(page, "here.map.box[0]") == 390)
        paper = page.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        assert (int(paper.split("(")[1].split(",")[0]) < 60) is dark
        assert ask(page, "here.map.ink.text") == ("#eceff3" if dark else "#16191d")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
