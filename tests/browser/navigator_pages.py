"""Pages of navigators in a real browser, and what tests ask of them."""

from __future__ import annotations

import pytest

from atlas.clusters.neighbours import NEIGHBOUR_COLUMNS
from atlas.files import read_csv, write_csv
from browser.conftest import wait
from unit.navigator.navigator_pools import described, real_pool

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

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


def hostile_pool(folder):
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
