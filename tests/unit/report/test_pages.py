from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from atlas.report.pages import html, title, write_page

TEMPLATE = Path(__file__).resolve().parents[3] / "resources/pages/page.html.jinja"


def test_a_table_becomes_a_table():
    found = html("| a | n |\n|---|--:|\n| x | 1 |\n")
    assert '<div class="wide" tabindex="0"><table>' in found
    assert '<td style="text-align:right">1</td>' in found
    assert found.count("<div") == found.count("</div>") == 1


def test_html_in_a_text_is_shown_and_not_interpreted():
    found = html("A <script>alert(1)</script> and [x](javascript:alert(1))\n\n    <b>code</b>\n")
    assert "<script>" not in found
    assert "&lt;script&gt;" in found
    assert "<a " not in found
    assert "&lt;b&gt;code" in found


def test_the_title_is_the_first_heading():
    assert title("## no\n# Yes & no\n# later\n") == "Yes & no"
    assert title("nothing") == ""


def test_a_page_is_one_file_that_asks_for_nothing(tmp_path):
    text, page = tmp_path / "a.md", tmp_path / "a.html"
    text.write_text("# Yes & no\n\nA *word*.\n")
    write_page(text=text, template=TEMPLATE, page=page)
    found = page.read_text()
    assert "<title>Yes &amp; no</title>" in found
    assert "<h1>Yes &amp; no</h1>" in found
    assert "A <em>word</em>." in found
    assert "http:" not in found and "https:" not in found and "src=" not in found
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', found)
    assert policy.startswith("default-src 'none'; ")


@pytest.mark.parametrize(
    "text",
    ["![a](https://evil/x.png)", "![a][1]\n\n[1]: https://evil/x.png", "[![a](//evil/x)](https://evil)",
     "![a](data:image/svg+xml,x)", "<img src=https://evil/x>", "| a |\n|---|\n| ![a](https://evil/x) |"],
    ids=range(6),
)  # fmt: skip
def test_an_image_of_a_stranger_is_never_asked_for(text):
    found = html(text)
    assert "<img" not in found
    assert not re.search(r"<(?!/?(p|a|div|table|thead|tbody|tr|th|td)\b)", found)


def test_figures_that_are_given_are_a_part_of_the_page(tmp_path):
    figure = tmp_path / "figures/main.svg"
    figure.parent.mkdir()
    figure.write_text("<svg/>")
    text, page = tmp_path / "a.md", tmp_path / "a.html"
    text.write_text('# A\n\n![what & how](figures/main.svg)\n\n![no "x](https://evil/x.svg)\n')
    write_page(text=text, template=TEMPLATE, page=page, figures=[figure])
    found = page.read_text()
    data = base64.b64encode(b"<svg/>").decode()
    assert f'<img alt="what &amp; how" src="data:image/svg+xml;base64,{data}">' in found
    assert found.count("<img") == 1
    assert "no &quot;x" in found
    assert "evil" not in found
