"""The report of a run, as one would send it to a colleague, and the findings in sentences."""

import re
import shutil

import pytest

from atlas.configuration.pools import MAIN_SPACES
from atlas.figures.canvas import COLUMN, PAGE
from browser.conftest import addresses, driver, needs_browser, wait  # noqa: F401 (a fixture)
from micro import lineage, planned, snakemake
from reports import check_report, make_report, part, words

pytestmark = pytest.mark.workflow
SUMMARY = "results/summary.html"
TABLE = "results/tables/main.html"


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """A finished run with its summary."""
    target = tmp_path_factory.mktemp("report") / "copy"
    shutil.copytree(finished, target, symlinks=True)
    assert planned(target, SUMMARY) == {"show the table main as a page", "write what the tables say",
                                        "show the summary as a page"}  # fmt: skip
    snakemake(target, SUMMARY, "--cores", "1")
    return target


@pytest.fixture(scope="module")
def report(folder):
    return make_report(folder, SUMMARY)


def test_every_table_and_figure_is_there(folder, report):
    patterns = ("summary.*", "tables/*.csv", "tables/*.html", "pools/*/*.csv", "pools/*/*.html",
                "pools/*/figures/*.svg", "figures/*.svg")  # fmt: skip
    files = [file.relative_to(folder).as_posix() for pattern in patterns
             for file in (folder / "results").glob(pattern)
             if not file.stem.endswith("_column")]  # fmt: skip
    assert len(files) == 2 + 2 + 3 + len(MAIN_SPACES) * 3 + 1
    results = check_report(report, *files)
    assert results.keys() == set(files)
    for file in (folder / "results").glob("**/figures/*.svg"):
        wide = COLUMN if file.stem.endswith("_column") else PAGE
        assert f'width="{wide * 72:g}pt"' in file.read_text(), file
    assert part(report, "categories").keys() == {
        "Findings", "Tables", "Figures of experiments", "Pool micro",
    }  # fmt: skip


def test_captions_have_the_parameters_of_the_run(report):
    results = part(report, "results")
    table = words(results[TABLE]["caption"])
    assert "Silhouettes by domain of the pools micro in every embedding space" in table
    assert "smollm2" not in table
    assert "of the pool micro by delta activations" in words(
        results["results/pools/micro/figures/map_delta_activations.svg"]["caption"]
    )
    navigator = words(results["results/pools/micro/navigator.html"]["caption"])
    assert f"4 models of 1 base(s), mapped in {len(MAIN_SPACES)} embedding space(s)" in navigator
    about = words(part(report, "workflow-desc"))
    for stated in ("main main pools micro", "micro 4 alpha, beta micro quick", "Global seeds: 42."):
        assert stated in about
    assert "system-message" not in part(report, "workflow-desc")
    # It opens on what was found, in words and pictures.
    assert about.index("What was found Main: ") < about.index("Tables Table Kind")
    assert part(report, "workflow-desc").count("<svg") == 3


def test_the_summary_is_attested_and_says_what_the_table_says(folder):
    text = (folder / "results/summary.md").read_text()
    assert text.startswith("# Summary of findings\n")
    assert "## Main" in text
    assert "`micro`" in text
    assert "![Main](figures/main.svg)" in text
    for place in re.findall(r"\]\(([^)]+)\)", text):
        assert (folder / "results" / place).is_file(), place
    page = (folder / SUMMARY).read_text()
    assert page.count('src="data:image/svg+xml;base64,') == text.count("![") == 3
    assert "| micro | 4 | alpha, beta | micro | quick |" in text
    assert lineage(folder, "verify", "results/summary.md").returncode == 0
    assert "Nothing to be done" in snakemake(folder, SUMMARY, "--cores", "1").stdout


def show(driver, kind, place):  # noqa: F811
    """A result as a click on its eye shows it: a figure, or a page with a heading."""
    view = "app.setView({content: arguments[0], contentPath: arguments[1]})"
    driver.execute_script(view, kind, place)
    if kind == "img":
        image = f"document.querySelector('#app img[src=\"{place}\"]')"
        wait(
            lambda: driver.execute_script(f"return {image}?.complete && {image}.naturalWidth > 100")
        )
    else:
        driver.switch_to.frame(wait(lambda: driver.find_elements("css selector", "iframe"))[0])
        wait(lambda: driver.find_elements("css selector", "h1"))
        driver.switch_to.default_content()


def tell(driver, file, caption):  # noqa: F811
    """The caption of a result, as a click on its i shows it."""
    driver.execute_script("app.showResultInfo(arguments[0])", file)
    start = words(caption).split()[0]
    wait(lambda: start in driver.find_element("id", "app").text)


@pytest.mark.browser
@needs_browser
def test_the_report_opens_in_a_browser(driver, report):  # noqa: F811
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get((report / "report.html").as_uri())
    wait(lambda: driver.find_elements("css selector", "#rulegraph canvas, #rulegraph svg"))
    title = driver.find_element("css selector", "h1.title")
    assert title.text == "Delta Atlas"
    assert title.rect["y"] >= 0
    driver.find_element("xpath", "//a[contains(., 'Tables')]").click()
    wait(lambda: "HTML page" in driver.find_element("id", "app").text)
    for file, result in part(report, "results").items():
        tell(driver, file, result["caption"])
        kind = {"svg": "img", "html": "html"}.get(file.rpartition(".")[2])
        if kind:
            show(driver, kind, result["data_uri"])
    # Snakemake's own library of styles warns about itself.
    found = [entry for entry in driver.get_log("browser") if "tailwindcss" not in entry["message"]]
    assert found == []
    asked = [u for u in addresses(driver) if not u.startswith(("data:", "blob:", "file:"))]
    assert asked == []
