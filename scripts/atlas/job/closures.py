"""Code closures: the modules and packages that a function hangs on."""

import ast
import hashlib
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from atlas.files import WORKFLOW_FOLDER

ROOT = WORKFLOW_FOLDER / "scripts"

# What cannot alter the bytes of an artefact, rooms and modules of the ground, and entries of the
# configuration wherever they stand: it is attested, and a change in it rebuilds nothing.
LIBRARY = "atlas"
OUTSIDE = ("configuration", "plan", "job", "lineage", "errors", "grammar", "progress", "references")
ENTRY = "entry"

# Import name -> distribution, where the two differ.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML", "huggingface_hub": "huggingface-hub",
                 "pypi_simple": "pypi-simple", "sentence_transformers": "sentence-transformers",
                 "markdown_it": "markdown-it-py", "faiss": "faiss-cpu"}  # fmt: skip
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _is_outside(module: str) -> bool:
    library, *rest = module.split(".")
    return library == LIBRARY and (not rest or rest[0] in OUTSIDE or rest[-1] == ENTRY)


def _module_file(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next(filter(Path.is_file, (base.with_suffix(".py"), base / "__init__.py")), None)


def _read_module(module: str, root: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of a module's syntax tree without docstrings, and the names it imports.

    Where it calls import_module with an f-string, the name is a pattern.
    """
    file = _module_file(module, root)
    if file is None:
        raise ModuleNotFoundError(f"{module} is not a module of {root}")
    known = file.stat()
    return _parse(file, root, known.st_mtime_ns, known.st_size, known.st_ino)


@cache
def _parse(file: Path, root: Path, *_: int) -> tuple[str, tuple[str, ...]]:
    """Parse a module; what the file system says of it is part of the key."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imports.add(node.module)
            imports.update(
                f"{node.module}.{alias.name}"
                for alias in node.names
                if _module_file(f"{node.module}.{alias.name}", root)
            )
        elif isinstance(node, ast.Call) and "import_module" in (
            getattr(node.func, "id", ""),
            getattr(node.func, "attr", ""),
        ):
            imports.update(_pattern(n) for n in node.args if isinstance(n, ast.JoinedStr))
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return digest, tuple(sorted(imports))


def _pattern(text: ast.JoinedStr) -> str:
    """An f-string with * in each gap."""
    return "".join(str(p.value) if isinstance(p, ast.Constant) else "*" for p in text.values)


def _named(pattern: str, root: Path) -> list[str]:
    """Modules that a pattern names; a name that is none is itself."""
    if "*" not in pattern:
        return [pattern]
    files = root.glob(pattern.replace(".", "/") + ".py")
    return [".".join(file.relative_to(root).with_suffix("").parts) for file in files]


def modules_behind(target: str, root: Path | None = None) -> tuple[dict[str, str], set[str]]:
    """Modules of the library that a function hangs on, and the packages that they import.

    :param target: ``module:function``.
    :returns: module -> digest of its syntax tree, sorted; names of distributions.
    :raises ModuleNotFoundError: where the target's module is not there.
    """
    root = root or ROOT
    modules: dict[str, str] = {}
    distributions: set[str] = set()
    queue = [target.partition(":")[0]]
    while queue:
        module = queue.pop()
        if module in modules or _is_outside(module):
            continue
        digest, imports = _read_module(module, root)
        modules[module] = digest[:16]
        for name in (name for pattern in imports for name in _named(pattern, root)):
            top = name.partition(".")[0]
            if _module_file(name, root):
                queue.append(name)
            elif top not in sys.stdlib_module_names and not _module_file(top, root):
                distributions.add(DISTRIBUTIONS.get(top, top))
    return dict(sorted(modules.items())), distributions


def closure(target: str) -> dict[str, Any]:
    """The code that makes an artefact.

    :param target: ``module:function``, the function that a script calls.
    :returns: ``function``, ``modules`` (name -> digest of its syntax tree, also of all that it
        imports of this library) and ``distributions`` that these import (name -> version).
    """
    modules, distributions = modules_behind(target)
    return {
        "function": target,
        "modules": modules,
        "distributions": {name: metadata.version(name) for name in sorted(distributions)},
    }


def outside() -> dict[str, str]:
    """Digests of the modules that cannot alter a byte of an artefact: attested all the same."""
    places = (f.relative_to(ROOT).with_suffix("") for f in (ROOT / LIBRARY).rglob("*.py"))
    modules = {".".join(place.parts).removesuffix(".__init__") for place in places}
    return {m: _read_module(m, ROOT)[0][:16] for m in sorted(filter(_is_outside, modules))}
