"""The navigator in a real browser, where one is installed."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from atlas.clusters.map_files import read_map
from atlas.clusters.neighbours import NEIGHBOUR_COLUMNS
from atlas.files import read_csv, write_csv
from browser.conftest import addresses, needs_browser, wait
from unit.navigator.navigator_pools import described, large_pool, real_pool, write

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

pytestmark = [pytest.mark.browser, needs_browser]
EVIL = "law</script><img src=x onerror=alert(1)>"
TWINS = {"smollm2-math-0003", "smollm2-math-0004"}
LIKE, FETCHED = "smollm2-medical-0002", "smollm2-medical-0005"
RING = "here.map.marked.length"
LEFT = "here.map.kept ? here.map.kept.reduce((a, b) => a + b, 0) : here.map.count"
LOOKS = "new Set(here.map.looks.style).size"
WORDS = "here.map.words.map(word => word.text)"
ON_CANVAS = """(i => { const {map} = here, [x, y] = map.pixel(i).map(v => Math.round(v * map.ratio));
    return '#' + [...map.pen.getImageData(x, y, 1, 1).data].slice(0, 3)
        .map(v => v.toString(16).padStart(2, '0')).join(''); })(arguments[0])"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Sixty models of five domains; the name of one domain is hostile, one space is empty.

    The neighbours of another are said to be found by an index.
    """
    models = described(60, 5)
    for k, model in enumerate(models):
        if model["domain"] == "legal":
            model["domain"] = EVIL
        model["more"] = {"date": f"2024-05-{1 + k % 28:02d}", "rank": str(2 ** (k % 5))}
        if model["name"] == FETCHED:
            model |= {"origin": "org/fetched at main", "hub": "org/fetched", "source": "org/fetched@main",
                      "data": [], "recipe": None}  # fmt: skip
        elif k % 2:
            model["data"][0] |= {"share": None}
    folder = tmp_path_factory.mktemp("pool")
    found = real_pool(folder, 60, 5, models, empty=["flattened_weights"])
    rows = read_csv(found["neighbours"])
    for row in rows:
        row["recall"] = "0.9712" if row["space"] == "output_sentences" else row["recall"]
    for row in rows:
        pair = {row["model"], row["neighbour"]}
        if pair == TWINS and row["space"] == "delta_activations":
            row["similarity"] = "0.99999"
        if row["model"] == LIKE and row["space"] == "delta_activations" and row["rank"] == "1":
            row["similarity"] = "0.9993"
    write_csv(found["neighbours"], NEIGHBOUR_COLUMNS, rows)
    log = folder / "models" / LIKE / "training.csv"
    lines = [
        {"step": k, "loss": 3.0 / k, "learning_rate": 1e-3, "tokens": 9 * k} for k in range(1, 9)
    ]
    write_csv(log, ("step", "loss", "learning_rate", "tokens"), lines)
    return {**found, "training": [log]}


@pytest.fixture(scope="module")
def file(pool, tmp_path_factory):
    return write(pool, tmp_path_factory.mktemp("page") / "navigator.html")


def opened(driver, file, seconds=60.0, view=""):
    """The page, freshly loaded and drawn; its state is then in reach as `here`."""
    driver.get("about:blank")  # another address of a page that is open would not load it anew
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(file.as_uri() + view)
    wait(
        lambda: driver.execute_script("return 'ready' in document.documentElement.dataset"), seconds
    )
    driver.execute_async_script(
        "const done = arguments[0]; page.then(p => { window.here = p; done(); })"
    )


@pytest.fixture
def page(driver, file):
    opened(driver, file)
    yield driver
    assert driver.get_log("browser") == []


def text(page, css):
    return page.find_element(By.CSS_SELECTOR, css).text


def heading(page):
    return page.execute_script("return document.querySelector('#panel h2')?.textContent")


def ask(page, expression, *values):
    return page.execute_script(f"return {expression}", *values)


def pointer(page, name):
    """A pointer over a model on the map, where its point is drawn."""
    element = page.find_element(By.ID, "map")
    i = ask(page, "here.pool.names.indexOf(arguments[0])", name)
    x, y = ask(page, "here.map.pixel(arguments[0])", i)
    size = element.rect
    return ActionChains(page).move_to_element_with_offset(
        element, round(x - size["width"] / 2), round(y - size["height"] / 2)
    )


def nearest(pool, name, space="delta_activations"):
    return [r for r in read_csv(pool["neighbours"]) if (r["space"], r["model"]) == (space, name)]


def lonely(page):
    """A model with no other within a few pixels, so that a pointer is over it alone."""
    return ask(page, """here.pool.names[here.pool.names.findIndex((_, i) => {
        const [x, y] = here.map.pixel(i);
        return here.pool.names.every((_, j) => j === i
            || Math.hypot(here.map.pixel(j)[0] - x, here.map.pixel(j)[1] - y) > 6);
    })]""")  # fmt: skip


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


def test_places_are_those_of_the_map(page, pool):
    file = next(f for f in pool["maps"] if f.parent.name == "delta_activations")
    places = read_map(file).places
    span = (places.max(axis=0) - places.min(axis=0)).max()
    shown = np.array(ask(page, "[Array.from(here.map.x), Array.from(here.map.y)]")).T
    apart = (places - places[0]) / span
    np.testing.assert_allclose(shown - shown[0], apart, atol=2 / 65535)


def test_points_have_the_colour_of_their_domain(page, pool):
    name = lonely(page)
    i = ask(page, "here.pool.names.indexOf(arguments[0])", name)
    colour = ask(page, "here.map.looks.styles[here.map.looks.style[arguments[0]]][0]", i).lower()
    wait(lambda: ask(page, ON_CANVAS, i) == colour)
    page.execute_script("here.map.look(5, 5, here.map.scale)")  # away from all of them
    wait(lambda: ask(page, WORDS) == [])


def test_clusters_have_names_and_what_all_names_share_is_left_out(page):
    words = ask(page, WORDS)
    assert {"coding", "commonsense", "math", "medical", EVIL} <= set(words)
    assert not [word for word in words if word.startswith("smollm2-")]
    assert any(word.startswith("coding-0") for word in words)
    assert "leave out “smollm2-”" in text(page, "#fit")
    boxes = ask(page, """here.map.words.map(word => { here.map.pen.font = word.font;
        const wide = here.map.pen.measureText(word.text).width, [x, y] = here.map.spot(word);
        const left = x - (word.align === 'left' ? 0 : word.align === 'right' ? wide : wide / 2);
        return [left, y - 8, left + wide, y + 8]; })""")  # fmt: skip
    for k, a in enumerate(boxes):
        for b in boxes[:k]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


def test_the_chosen_model_keeps_its_name_wherever_it_is(page, pool):
    for i in range(0, 60, 7):
        page.execute_script(
            "here.state.chosen = -1; here.map.fit(); here.map.choose(arguments[0], [])", i
        )
        for zoom in (0.4, 1.0, 3.0):
            page.execute_script(
                "here.map.look(here.map.x[arguments[0]] + .4 / here.map.whole * arguments[1],"
                "here.map.y[arguments[0]], here.map.whole * arguments[1]); here.map.settle()", i, zoom,
            )  # fmt: skip
            assert pool["models"][i]["name"].removeprefix("smollm2-") in ask(page, WORDS)


def test_keys_zoom_to_the_chosen_model(page):
    element = page.find_element(By.ID, "map")
    element.send_keys(Keys.ARROW_RIGHT)
    wait(lambda: heading(page))
    before = ask(page, "here.map.pixel(here.state.chosen)")
    element.send_keys("+", "+")
    assert ask(page, "here.map.pixel(here.state.chosen)") == pytest.approx(before, abs=1)
    element.send_keys("-")
    assert ask(page, "here.map.pixel(here.state.chosen)") == pytest.approx(before, abs=1)


def test_the_wheel_zooms_to_the_pointer(page):
    element = page.find_element(By.ID, "map")
    before = ask(page, "here.map.place(here.map.box[0] / 2 + 90, here.map.box[1] / 2 - 50)")
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    ActionChains(page).scroll_from_origin(
        ScrollOrigin.from_element(element, 90, -50), 0, -300
    ).perform()
    scale = ask(page, "here.map.whole")
    wait(lambda: ask(page, "here.map.scale") > 1.2 * scale)
    after = ask(page, "here.map.place(here.map.box[0] / 2 + 90, here.map.box[1] / 2 - 50)")
    assert after == pytest.approx(before, abs=2 / scale)


def test_every_tab_stop_is_seen_and_named(page):
    page.execute_script("document.querySelector('#panel').remove()")
    stops = []
    for _ in range(40):
        page.switch_to.active_element.send_keys(Keys.TAB)
        stop = ask(page, """(e => [e.tagName + '#' + e.id + '.' + e.className, e.offsetWidth * e.offsetHeight,
            e.labels?.length ? e.labels[0].textContent
                : e.getAttribute('aria-label') || e.textContent.trim()])
            (document.activeElement)""")  # fmt: skip
        if stop[0].startswith("BODY"):
            break
        stops.append(stop)
    assert len(stops) > 12
    assert [s for s in stops if not s[1] or not s[2]] == []
    assert len([s for s in stops if "#map" in s[0]]) == 1


def test_the_address_brings_back_the_view(page, file):
    page.execute_script(
        """const set = (id, value) => { const e = document.querySelector(id);
            e.value = value; e.onchange({target: e}); };
        set('#colour', 'recipe');
        document.querySelectorAll('#legend button')[1].click();
        const find = document.querySelector('#find'); find.value = 'coding'; find.oninput();
        const links = document.querySelector('#threshold'); links.value = links.min; links.oninput();
        set('#beside', '2');"""
    )
    wait(lambda: ask(page, "!!here.state.beside"))
    page.find_element(By.CSS_SELECTOR, "#panel tbody .go").click()
    page.execute_script("here.map.zoom(2); here.map.look(.4, .6, here.map.scale)")
    view = wait(lambda: (a := ask(page, "location.hash")) == ask(page, "here.address()") and a)
    for part in ("beside=output_sentences", "colour=recipe", "only=", "find=coding", "links=", "at=",
                 "model=smollm2-coding-"):  # fmt: skip
        assert part in view
    words = ("here.state.chosen", "here.map.scale / here.map.whole", "here.map.pairs.length", LEFT,
             "here.map.centre", "here.state.beside.space")  # fmt: skip
    before = [ask(page, word) for word in words]
    opened(page, file, view=view)
    for word, was in zip(words, before, strict=True):
        assert ask(page, word) == (
            pytest.approx(was, abs=1e-3) if not isinstance(was, str) else was
        )
    page.execute_script("location.hash = '#space=output_sentences'")
    wait(lambda: "Output sentences" in text(page, "#about"))
    assert ask(page, LEFT) == 60


def _saved(page, what):
    """What a button of the menu saves: a name, and text."""
    page.execute_script(
        "window.saved = null; window.save = (name, what) => { window.saved = [name, what]; }"
    )
    page.execute_script(f"document.querySelector('[data-take={what}]').click()")
    return wait(lambda: ask(page, "window.saved"))


def test_a_selection_is_taken_out(page, pool):
    page.find_element(By.ID, "find").send_keys("medical")
    page.find_element(By.CSS_SELECTOR, "#take summary").click()
    assert "12 models" in text(page, "#taken")
    name, table = _saved(page, "table")
    assert name == "smollm2.tsv"
    lines = [line.split("\t") for line in table.splitlines()]
    assert len(lines) == 13
    assert lines[0][:4] == ["model", "domain", "recipe", "base"]
    assert {"loss", "sheet:date", "silhouette", "x"} <= set(lines[0])
    row = dict(zip(lines[0], next(c for c in lines if c[0] == LIKE), strict=True))
    scores = {r["model"]: float(r["silhouette"]) for r in read_csv(pool["neighbours"])
              if r["space"] == "delta_activations"}  # fmt: skip
    assert float(row["silhouette"]) == pytest.approx(scores[LIKE], abs=1e-4)
    assert float(row["loss"]) == pytest.approx((3 / 7 + 3 / 8) / 2, rel=1e-5)
    assert row["sheet:date"].startswith("2024-05-")
    _, sheet = _saved(page, "sheet")
    cells = [line.split("\t") for line in sheet.splitlines()]
    assert cells[0] == ["model", "source", "base", "domain", "kind", "subfolder"]
    assert next(c for c in cells if c[0] == FETCHED)[:2] == [FETCHED, "org/fetched@main"]
    assert next(c for c in cells if c[0] == LIKE)[1] == f"./results/models/{LIKE}"
    _, entry = _saved(page, "pool")
    models = yaml.safe_load(entry)["pools"]["selection"]["models"]
    assert models == [f"smollm2-medical-{k:04d}" for k in range(12)]


def test_the_map_as_svg_and_png(page, pool):
    page.execute_script("here.map.choose(3, [4, 5])")
    name, svg = _saved(page, "svg")
    assert name == "smollm2-delta_activations.svg"
    root = ElementTree.fromstring(svg)
    spelt = "{http://www.w3.org/2000/svg}"
    texts = [e.text for e in root.iter(f"{spelt}text")]
    assert {"coding", EVIL, "coding-0003"} <= set(texts)
    assert len(list(root.iter(f"{spelt}use"))) == 60 + 3
    page.execute_script("""window.saved = null;
        window.save = (name, what) => what.arrayBuffer()
            .then(b => { window.saved = [...new Uint8Array(b).slice(0, 4)]; });
        document.querySelector('[data-take=png]').click()""")  # fmt: skip
    assert wait(lambda: ask(page, "window.saved")) == [0x89, *b"PNG"]


def test_a_line_around_models_selects_them(page):
    element = page.find_element(By.ID, "map")
    width, height = ask(page, "here.map.box")
    inside = ask(
        page,
        "[...here.map.x.keys()].filter(i => here.map.pixel(i)[0] < here.map.box[0] / 2).length",
    )
    corner = (-width / 2 + 4, -height / 2 + 4)
    moves = (
        ActionChains(page)
        .move_to_element_with_offset(element, *map(round, corner))
        .key_down(Keys.SHIFT)
        .click_and_hold()
    )
    for dx, dy in ((width / 2 - 4, 0), (0, height - 8), (4 - width / 2, 0)):
        moves = moves.move_by_offset(round(dx), round(dy))
    moves.release().key_up(Keys.SHIFT).perform()
    found = wait(lambda: (n := ask(page, LEFT)) < 60 and n)
    assert abs(found - inside) <= 2
    assert text(page, "#hits") == f"{found} of 60"
    view = wait(lambda: "around=" in (a := ask(page, "location.hash")) and a)
    assert "in=delta_activations" in view
    page.find_element(By.CSS_SELECTOR, ".lasso").click()
    assert ask(page, LEFT) == 60


def test_two_spaces_side_by_side(page, pool):
    Select(page.find_element(By.ID, "beside")).select_by_visible_text("Output sentences")
    wait(lambda: page.find_element(By.ID, "second").is_displayed())
    name = lonely(page)
    pointer(page, name).click().perform()
    wait(lambda: heading(page) == name)
    i = ask(page, "here.pool.names.indexOf(arguments[0])", name)
    assert ask(page, "[here.map.chosen, here.second.chosen]") == [i, i]
    near = [ask(page, "here.pool.names[arguments[0]]", j) for j in ask(page, "here.second.near")]
    assert near == [r["neighbour"] for r in nearest(pool, name, "output_sentences")]
    assert ask(page, "here.map.box[0]") < 0.6 * ask(page, "here.map.box[0] + here.second.box[0]")
    Select(page.find_element(By.ID, "beside")).select_by_value("-1")
    wait(lambda: not page.find_element(By.ID, "second").is_displayed())


def test_identical_models_the_hub_and_the_training_curve(page):
    a, b = sorted(TWINS)
    page.find_element(By.ID, "find").send_keys(a, Keys.ENTER)
    assert text(page, "#panel .twins") == f"Identical to four decimals of similarity: {b}"
    page.find_element(By.ID, "find").clear()
    page.find_element(By.ID, "find").send_keys(LIKE, Keys.ENTER)
    assert text(page, "#panel .twins").startswith("Nearly identical (similarity at least 0.999)")
    drawn = wait(lambda: page.find_elements(By.CSS_SELECTOR, "#panel .curve"))[0]
    said = "Training loss from 3.000 at step 1 to 0.375 at step 8"
    assert drawn.get_attribute("aria-label").startswith(said)
    assert "null" not in text(page, "#panel .lineage")
    page.find_element(By.ID, "find").clear()
    page.find_element(By.ID, "find").send_keys(FETCHED, Keys.ENTER)
    link = wait(lambda: page.find_elements(By.CSS_SELECTOR, "#panel a"))[0]
    assert link.get_attribute("href") == "https://huggingface.co/org/fetched"


@pytest.mark.parametrize(
    ("kind", "said"),
    [("sheet:date", "date 2024-05-01"), ("sheet:rank", "rank 1"), ("chosen", "Choose a model")],
)
def test_colours_by_numbers_and_dates(page, kind, said):
    Select(page.find_element(By.ID, "colour")).select_by_value(kind)
    assert text(page, "#legend").startswith(said)
    if kind == "chosen":
        assert ask(page, LOOKS) == 1
        page.find_element(By.CSS_SELECTOR, "#panel .go").click()
        wait(lambda: "neither is among the nearest" in text(page, "#legend"))
    assert ask(page, LOOKS) > 4


def test_printing_gives_the_whole_map_in_light(page):
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    try:
        page.execute_script("here.map.zoom(4)")
        scale = ask(page, "here.map.scale")
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert ask(page, "[here.map.fitted, here.map.ink.page]") == [True, "#f6f7f9"]
        page.execute_script("dispatchEvent(new Event('afterprint'))")
        assert ask(page, "[here.map.scale, here.map.ink.page]") == [scale, "#14171b"]
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_twenty_thousand_models(driver, tmp_path):
    """Small enough to send, quickly seen, and searched through without waiting."""
    file = write(large_pool(tmp_path, 20_000, 24), tmp_path / "navigator.html")
    assert file.stat().st_size < 10e6
    opened(driver, file, 120)
    paints = ask(driver, """Object.fromEntries([...performance.getEntriesByType('paint'),
        ...performance.getEntriesByName('drawn')].map(p => [p.name, p.startTime]))""")  # fmt: skip
    print(f"{file.stat().st_size / 1e6:.2f} MB", paints)
    assert paints["first-contentful-paint"] < 3000
    assert ask(driver, "here.map.x.length") == 20_000
    assert len(driver.find_elements(By.CSS_SELECTOR, "#panel tbody tr")) == 100
    driver.find_element(By.ID, "find").send_keys("physics 0500")
    assert text(driver, "#hits") == "1 of 20,000"
    driver.find_element(By.CSS_SELECTOR, "#panel tbody .go").click()
    wait(lambda: driver.find_elements(By.CSS_SELECTOR, "#panel .lineage li"))
    assert heading(driver) == "smollm2-physics-0500"
    driver.find_element(By.ID, "threshold").send_keys(Keys.HOME)
    assert "4,000 of " in text(driver, "#linked")
    assert driver.get_log("browser") == []
