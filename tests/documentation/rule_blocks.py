"""The rules of rules/, as blocks of text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "rules").glob("*.smk"))
RULES = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
HEAD = re.compile(r"^ *(?:use rule (\w+) as (\w+) with|rule(?: (\w+))?):$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A rule.

    :param origin: the rule that it takes from what it does not say; empty where there is none.
    """

    name: str
    file: Path
    origin: str
    text: str

    def directive(self, name: str) -> str:
        """What the rule says of one thing; empty where it says nothing."""
        found = re.search(rf"^( *){name}: ?(.*\n(?:\1 +.*\n|\n)*)", self.text, re.MULTILINE)
        return " ".join(found[2].split()) if found else ""


def rule_blocks() -> dict[str, Block]:
    """Rule -> its block; of rules made in a loop, the name as it is written."""
    found = {}
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        heads = list(HEAD.finditer(text))
        starts = [*(head.start() for head in heads), len(text)]
        for head, end in zip(heads, starts[1:], strict=True):
            block = text[head.start() : end]
            named = re.search(r'name:\s+f"(.+)"', block)
            name = head[2] or head[3] or named[1]
            found[name] = Block(name, file, head[1] or "", block)
    return found


def said(block: Block, directive: str) -> str:
    """What a rule says, or the rule that it takes it from."""
    text = block.directive(directive)
    return text or (said(rule_blocks()[block.origin], directive) if block.origin else "")
