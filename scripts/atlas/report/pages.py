"""Pages that are read in a browser: what is written in Markdown, as one offline HTML file."""

from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt

from atlas.files import write_bytes


def write_page(*, text: Path, template: Path, page: Path) -> None:
    """Write a Markdown file as a page; its first heading is the title of the page.

    HTML within the text is shown as it is written and never interpreted, and images are links: models
    write it, too.

    :param template: Jinja template with the variables title and body.
    """
    source = text.read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    rendered = environment.from_string(template.read_text(encoding="utf-8")).render(
        title=title(source), body=html(source)
    )
    write_bytes(page, (rendered + "\n").encode())


def title(source: str) -> str:
    """The first heading of a Markdown text; an empty text where there is none."""
    lines = (line for line in source.splitlines() if line.startswith("# "))
    return next(lines, "").removeprefix("# ").strip()


def html(source: str) -> str:
    """Markdown (CommonMark and tables) as HTML, tables within boxes that scroll by themselves."""
    # Without images, which a browser would ask a stranger's server for.
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    found = str(reader.render(source))
    opened = '<div class="wide" tabindex="0"><table>'
    return found.replace("<table>", opened).replace("</table>", "</table></div>")
