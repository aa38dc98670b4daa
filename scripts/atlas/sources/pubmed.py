"""Articles of a PubMed baseline file, as the National Library of Medicine publishes them."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.sources.archives import OBJECT, Allowance, unpacked

ARTICLE = "PubmedArticle"


def pubmed_rows(file: Path) -> Iterator[dict[str, Any]]:
    """One row per article, in the order of the file: pmid, year, journal, title, abstract.

    ``year`` is that of the journal's issue (of ``1977 Nov-Dec`` the first), 0 where there is none;
    the parts of a structured abstract are joined with spaces, an article without one has "".

    :raises AtlasError: where the file is not whole, or is endless.
    """
    left = Allowance(file)
    inside: list[ElementTree.Element] = []
    try:
        with unpacked(file) as handle:
            for event, element in ElementTree.iterparse(handle, ("start", "end")):
                if event == "start":
                    left.take(OBJECT)
                    inside.append(element)
                    continue
                inside.pop()
                if element.tag == ARTICLE:
                    yield _row(element)
                # What is read is let go, and so is what no article has.
                if inside and not any(part.tag == ARTICLE for part in inside):
                    inside[-1].remove(element)
    except (ElementTree.ParseError, LookupError) as error:
        raise AtlasError(
            f"{file.name}: cannot be read as a PubMed file ({error}); is it whole?"
        ) from None


def _row(article: ElementTree.Element) -> dict[str, Any]:
    dated = article.find(".//JournalIssue/PubDate")
    year = re.search(r"\d{4}", _text(dated)) if dated is not None else None
    parts = (_text(part) for part in article.iterfind(".//Article/Abstract/AbstractText"))
    return {
        "pmid": _text(article.find(".//PMID")),
        "year": int(year[0]) if year else 0,
        "journal": _text(article.find(".//Journal/Title")),
        "title": _text(article.find(".//ArticleTitle")),
        "abstract": " ".join(part for part in parts if part),
    }


def _text(element: ElementTree.Element | None) -> str:
    """All text in an element, white space made single."""
    return "" if element is None else " ".join("".join(element.itertext()).split())
