"""The error sentences of the source, with … in the place of what is filled in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Errors that say what a user can mend -> the argument that is the sentence.
TOLD = {
    "AtlasError": 0, "BrokenRecordError": 0, "MissingFileError": 0, "UnreadError": 0, "WorkflowError": 0,
    "SystemExit": 0, "PydanticCustomError": 1,
}  # fmt: skip
# Errors of the programmer: a rule that does not fit its function, for instance.
PROGRAMMERS = {"TypeError", "RuntimeError", "ModuleNotFoundError"}
# Caught, and stored as the reason of an empty embedding.
REASONS = {"UnknownPathError"}
# What is wrong with a stranger's file, in words that one of the sentences quotes.
QUOTED = {"LimitError", "OSError", "ValueError"}
# Functions that return a sentence for another library's error.
TELLERS = {"scripts/atlas/sources/hub.py": "explain", "scripts/atlas/errors.py": "sentence_of",
           "scripts/atlas/publishing/push_errors.py": "_sentence",
           "scripts/atlas/configuration/validation.py": "_sentence"}  # fmt: skip


def template(node: ast.expr) -> str:
    """A string expression, with … for each part that is not written there."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr():
            return "".join(template(v) if isinstance(v, ast.Constant) else "…" for v in node.values)
        case ast.BinOp(op=ast.Add()):
            return template(node.left) + template(node.right)
    return "…"


def normal(text: str) -> str:
    """White space as one space, neighbouring gaps as one."""
    return re.sub(r"…+", "…", re.sub(r"\s+", " ", text)).strip()


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _modules() -> Iterator[tuple[str, ast.AST]]:
    for file in sorted((ROOT / "scripts").rglob("*.py")):
        yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text(encoding="utf-8"))
    for file in [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]:
        text = file.read_text(encoding="utf-8")
        for call in re.finditer(r"raise (WorkflowError\(.*?\n? *\)(?= from|\n))", text, re.DOTALL):
            yield file.relative_to(ROOT).as_posix(), ast.parse(call[1])


def sentences() -> dict[str, str]:
    """Sentence -> the file that says it; sentences that only pass another on are left out."""
    found: dict[str, str] = {}
    for name, tree in _modules():
        said = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node) in TOLD and node.args:
                said.append(template(node.args[TOLD[_name(node)]]))
            if isinstance(node, ast.FunctionDef) and TELLERS.get(name) == node.name:
                returned = (
                    n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value
                )
                said += map(template, returned)
        for text in map(normal, said):
            if re.search(r"\w{2}", text):
                found[text] = name
    return found


def raised() -> set[str]:
    """Names of all classes that the source raises by a call."""
    return {
        _name(node.exc) for _, tree in _modules() for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _name(node.exc)
    }  # fmt: skip
