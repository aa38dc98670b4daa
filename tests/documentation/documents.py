"""The pages that people read, as blocks of code and commands that tests try."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    file.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "config")
    for file in (ROOT / folder).glob("*.md")
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (.+?) -->\n\Z")
INLINE = re.compile(r"(?<!`)`((?:snakemake|python|pip|pytest|uv|hf|scancel|apptainer) [^`]+)`(?!`)")
SHELL = ("bash", "console", "sh", "shell")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    :param section: the heading that it stands under.
    :param mark: text of the comment on the line before it, which tests read.
    """

    page: str
    section: str
    mark: str
    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that the reader is to write, where the mark names one."""
        return self.mark.removeprefix("file: ") if self.mark.startswith("file: ") else ""


@dataclass(frozen=True)
class Command:
    """One line that a reader may type; the mark is that of its block."""

    page: str
    mark: str
    line: str


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in their order."""
    text, found = text_of(page), []
    for fence in FENCE.finditer(text):
        before = text[: fence.start()]
        heads = re.findall(r"^#+ (.+)$", FENCE.sub("", before), re.MULTILINE)
        mark = MARK.search(before)
        found.append(Block(page, heads[-1] if heads else "", mark[1] if mark else "",
                           fence[1], fence[2]))  # fmt: skip
    return found


def commands(page: str) -> Iterator[Command]:
    """Command lines of a page: those of shell blocks, and those that stand in a sentence."""
    for block in blocks(page):
        if block.language in SHELL:
            for line in block.text.replace("\\\n", " ").splitlines():
                line = re.sub(r"(^|\s+)# .*$", "", line).strip()
                if line:
                    yield Command(page, block.mark, line)
    for inline in INLINE.finditer(FENCE.sub("", text_of(page))):
        for line in re.split(r" && ", re.sub(r"\s+", " ", inline[1])):
            if "…" not in line and not re.search(r"[A-Z]+=|\{", line):
                yield Command(page, "", line)


def heads() -> Iterator[Command]:
    """Commands in the comments that configurations and the Snakefile begin with."""
    for file in [ROOT / "Snakefile", *sorted((ROOT / "config").glob("*.yaml"))]:
        for line in re.findall(r"^# +(snakemake .+)$", file.read_text(), re.MULTILINE):
            yield Command(file.relative_to(ROOT).as_posix(), "", line)


def write_file(block: Block, folder: Path) -> None:
    """Write one file, or lengthen it."""
    place = folder / block.file
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a", encoding="utf-8") as handle:
        handle.write(block.text)
