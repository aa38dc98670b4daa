"""The map of the navigator in a real browser, and what is taken out of it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from atlas.clusters.map_files import read_map
from atlas.files import read_csv
from atlas.spaces.embeddings import read_embeddings
from browser.conftest import needs_browser, wait
from browser.navigator_pages import (
    EVIL,
    FETCHED,
    LEFT,
    LIKE,
    LOOKS,
    ON_CANVAS,
    TWINS,
    WORDS,
    ask,
    heading,
    lonely,
    nearest,
    opened,
    pointer,
    text,
)
from unit.navigator.navigator_pools import large_pool, real_pool, write

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

pytestmark = [pytest.mark.browser, needs_browser]


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
    for part in ("Delta activations: near points are", "Output sentences: near points are"):
        assert part in text(page, "#fit")
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
    assert text(page, "#fit").startswith("Near points are")


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


def test_a_small_pool_is_coloured_by_its_similarities_to_the_chosen(driver, pool, tmp_path):
    files = [file.with_name("embeddings.npz") for file in pool["maps"]]
    opened(
        driver,
        write({**pool, "embeddings": files}, tmp_path / "navigator.html"),
        view=f"#model={LIKE}&colour=chosen",
    )
    wait(lambda: heading(driver) == LIKE)
    assert "neither" not in text(driver, "#legend")
    found = read_embeddings(next(file for file in files if file.parent.name == "delta_activations"))
    expected = found.cosine_similarity()[found.model_names.index(LIKE)]
    assert ask(driver, "here.kinds.chosen.values") == pytest.approx(expected, abs=1e-4)
    assert driver.get_log("browser") == []


def test_names_of_domains_stand_clear_of_models_of_others(driver, tmp_path):
    opened(driver, write(real_pool(tmp_path, 15, 5), tmp_path / "navigator.html"))
    near = ask(driver, """here.map.words.filter(word => word.cluster).map(word => {
        here.map.pen.font = word.font;
        const half = here.map.pen.measureText(word.text).width / 2, [x, y] = here.map.spot(word);
        const middle = word.align === 'left' ? x + half : word.align === 'right' ? x - half : x;
        return [...here.map.x].filter((_, i) => { const [px, py] = here.map.pixel(i);
            return Math.abs(px - middle) < half + here.map.now / 2 + 5
                && Math.abs(py - y) < 9 + here.map.now / 2 + 5; }).length; })""")  # fmt: skip
    assert near == [0] * len(near) != []


def test_a_pool_without_silhouette_says_why(driver, tmp_path):
    opened(driver, write(real_pool(tmp_path, 3, 3), tmp_path / "navigator.html"))
    about = text(driver, "#about")
    assert "no silhouette (a silhouette needs a domain with at least two models)" in about


def test_cards_in_several_blocks_are_those_of_their_models(driver, pool, tmp_path, monkeypatch):
    monkeypatch.setattr("atlas.navigator.page.TOGETHER", 7)
    opened(driver, write(pool, tmp_path / "navigator.html"))
    for name in (LIKE, FETCHED, LIKE):
        driver.execute_script("location.hash = `model=${arguments[0]}`", name)
        wait(lambda name=name: heading(driver) == name)
        file = f"results/models/{name}/adapter_model.safetensors"
        wait(lambda file=file: file in text(driver, "#panel .lineage"))
        (card,) = [c for c in pool["cards"] if c.parent.name == name]
        digest = re.findall(r"[0-9a-f]{64}", card.read_text())[-1]
        assert digest in ask(driver, "document.querySelector('#panel details').textContent")
    assert driver.get_log("browser") == []


def test_printing_gives_the_whole_map_in_light(page):
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    try:
        page.execute_script("here.map.zoom(4)")
        scale = ask(page, "here.map.scale")
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert ask(page, "[here.map.fitted, here.map.ink.page]") == [True, "#ffffff"]
        corner = ask(page, "[...here.map.pen.getImageData(0, 0, 1, 1).data]")
        assert corner == [255, 255, 255, 255]
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
