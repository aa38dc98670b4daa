"""Pages that are read in a browser: what is written in Markdown, as one offline HTML file."""

import base64
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token

from atlas.files import write_bytes


def write_page(*, text: Path, template: Path, page: Path, figures: Sequence[Path] = ()) -> None:
    """Write a Markdown file as a page; its first heading is the title of the page.

    HTML within the text is shown as it is written and never interpreted, and images are links, but for
    the figures that are given: models write it, too.

    :param template: Jinja template with the variables title and body.
    :param figures: SVG files that the text shows, which become a part of the page.
    """
    source = text.read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    known = {Path(os.path.relpath(file, text.parent)).as_posix(): file for file in figures}
    rendered = environment.from_string(template.read_text(encoding="utf-8")).render(
        title=title(source), body=html(source, known)
    )
    write_bytes(page, (rendered + "\n").encode())


def title(source: str) -> str:
    """The first heading of a Markdown text; an empty text where there is none."""
    lines = (line for line in source.splitlines() if line.startswith("# "))
    return next(lines, "").removeprefix("# ").strip()


def html(source: str, figures: Mapping[str, Path] | None = None) -> str:
    """Markdown (CommonMark and tables) as HTML, tables within boxes that scroll by themselves.

    :param figures: what the text calls an image -> the SVG file that is shown there.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    if figures:

        def image(_: Any, tokens: Sequence[Token], place: int, *more: Any) -> str:
            return _image(figures, tokens[place])

        reader.add_render_rule("image", image)
    else:
        reader.disable("image")
    found = str(reader.render(source))
    opened = '<div class="wide" tabindex="0"><table>'
    return found.replace("<table>", opened).replace("</table>", "</table></div>")


def _image(figures: Mapping[str, Path], token: Token) -> str:
    """A figure that is given, as a part of the page; of another image what it shows, in words.

    A browser would ask a stranger's server for it.
    """
    words = escape(token.content)
    if (file := figures.get(str(token.attrGet("src")))) is None:
        return words
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="{words}" src="data:image/svg+xml;base64,{data}">'
