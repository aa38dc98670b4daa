"""Code closures: the modules and packages that a function hangs on."""

import ast
import contextlib
import hashlib
import json
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

from atlas.digests import sha256_file
from atlas.files import WORKFLOW_FOLDER, write_whole
from atlas.job.statements import version

ROOT = WORKFLOW_FOLDER / "scripts"
STORES = Path(".snakemake/atlas/modules")

# What cannot alter the bytes of an artefact, rooms and modules of the ground, and entries of the
# configuration wherever they stand: it is attested, and a change in it rebuilds nothing.
LIBRARY = "atlas"
OUTSIDE = ("configuration", "plan", "job", "lineage", "deployment", "errors", "grammar", "owners",
           "printable", "progress", "redaction", "references")  # fmt: skip
ENTRY = "entry"
WORKFLOW = ("Snakefile", "rules/*.smk", "scripts/*.py", "notebooks/*.ipynb")

# Import name -> distribution, where the two differ.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML", "huggingface_hub": "huggingface-hub",
                 "pypi_simple": "pypi-simple", "sentence_transformers": "sentence-transformers",
                 "markdown_it": "markdown-it-py", "faiss": "faiss-cpu",
                 "packageurl": "packageurl-python", "cyclonedx": "cyclonedx-python-lib",
                 "model_signing": "model-signing"}  # fmt: skip
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# What a parsed module says: digest of its syntax tree without docstrings, names that it imports
# (patterns among them), and names that are modules only if there is a file of that name.
Parsed = tuple[str, list[str], list[str]]


def is_outside(module: str) -> bool:
    """Whether a module cannot alter a byte of an artefact."""
    library, *rest = module.split(".")
    return library == LIBRARY and (not rest or rest[0] in OUTSIDE or rest[-1] == ENTRY)


@cache
def _parse(text: str) -> Parsed:
    """Parse a module; what the crates of a run hold is mostly the same text.

    Where it calls import_module with an f-string, the name is a pattern.
    """
    tree = ast.parse(text)
    imports: set[str] = set()
    members: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imports.add(node.module)
            members.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in (
            getattr(node.func, "id", ""),
            getattr(node.func, "attr", ""),
        ):
            imports.update(_pattern(n) for n in node.args if isinstance(n, ast.JoinedStr))
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return digest, sorted(imports), sorted(members)


def _pattern(text: ast.JoinedStr) -> str:
    """An f-string with * in each gap."""
    return "".join(str(p.value) if isinstance(p, ast.Constant) else "*" for p in text.values)


class Store:
    """What parsed modules say, by the SHA-256 of their files, kept in a file from run to run.

    It says nothing that parsing would not: it is of one Python and of this very module, and is
    taken only where its first line is the SHA-256 of the rest. Whoever writes replaces it whole.
    """

    def __init__(self, folder: Path = STORES) -> None:
        maker = platform.python_version().encode() + Path(__file__).read_bytes()
        self._file = folder / f"{hashlib.sha256(maker).hexdigest()[:16]}.json"

    def read(self) -> dict[str, Parsed]:
        """What is stored; nothing where the file is not there, or not whole."""
        with contextlib.suppress(OSError):
            seal, _, body = self._file.read_bytes().partition(b"\n")
            if seal == hashlib.sha256(body).hexdigest().encode():
                return {key: (d, i, m) for key, (d, i, m) in json.loads(body).items()}
        return {}

    def write(self, parsed: dict[str, Parsed]) -> None:
        """Store it; where that cannot be done, the next process parses again."""
        body = json.dumps(parsed).encode()
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


class Library:
    """The modules below a folder as they are now: each is read once.

    :param root: the folder that imports start from.
    :param store: what was parsed before; all that was not is parsed now and left there. Without
        it, a module is parsed when it is first asked for.
    """

    def __init__(self, root: Path | None = None, store: Store | None = None) -> None:
        self.root = root or ROOT
        # Of a module and a package of one name, the module is taken.
        files = sorted(self.root.rglob("*.py"), key=lambda file: file.name != "__init__.py")
        self._files = {self._name(file).removesuffix(".__init__"): file for file in files}
        self._stored = store.read() if store else {}
        self._read: dict[str, tuple[str, Parsed]] = {}  # module -> SHA-256 of its file, and this
        self._imports: dict[str, tuple[list[str], list[str]]] = {}
        self._versions: dict[str, str] = {}
        if store:
            for module in self._files:
                # What cannot be parsed is an error of what hangs on it, when it is asked for.
                with contextlib.suppress(OSError, SyntaxError, ValueError):
                    self._module(module)
            found = dict(self._read.values())
            if not found.keys() <= self._stored.keys():
                store.write(found)

    def _name(self, file: Path) -> str:
        return ".".join(file.parts[len(self.root.parts) :]).removesuffix(".py")

    def _module(self, module: str) -> Parsed:
        if module not in self._read:
            if module not in self._files:
                raise ModuleNotFoundError(f"{module} is not a module of {self.root}")
            data = self._files[module].read_bytes()
            key = hashlib.sha256(data).hexdigest()
            self._read[module] = key, self._stored.get(key) or _parse(data.decode())
        return self._read[module][1]

    def _imported(self, module: str) -> tuple[list[str], list[str]]:
        """Modules of the library and distributions that a module imports."""
        if module not in self._imports:
            _, imports, members = self._module(module)
            names = [name for pattern in imports for name in self._named(pattern)]
            modules = [name for name in (*names, *members) if name in self._files]
            tops = {name.partition(".")[0] for name in names if name not in self._files}
            others = tops - sys.stdlib_module_names - self._files.keys()
            self._imports[module] = modules, [DISTRIBUTIONS.get(top, top) for top in others]
        return self._imports[module]

    def _named(self, pattern: str) -> list[str]:
        """Modules that a pattern names; a name that is none is itself."""
        if "*" not in pattern:
            return [pattern]
        return [self._name(file) for file in self.root.glob(pattern.replace(".", "/") + ".py")]

    def modules_behind(self, target: str) -> tuple[dict[str, str], set[str]]:
        """Modules of the library that a function hangs on, and the packages that they import.

        :param target: ``module:function``.
        :returns: module -> digest of its syntax tree, sorted; names of distributions.
        :raises ModuleNotFoundError: where the target's module is not there.
        """
        modules: dict[str, str] = {}
        distributions: set[str] = set()
        queue = [target.partition(":")[0]]
        while queue:
            module = queue.pop()
            if module in modules or is_outside(module):
                continue
            modules[module] = self._module(module)[0][:16]
            inside, others = self._imported(module)
            queue += inside
            distributions.update(others)
        return dict(sorted(modules.items())), distributions

    def closure(self, target: str) -> dict[str, Any]:
        """The code that makes an artefact.

        :param target: ``module:function``, the function that a script calls.
        :returns: ``function``, ``modules`` (name -> digest of its syntax tree, also of all that it
            imports of this library) and ``distributions`` that these import (name -> version).
        """
        modules, distributions = self.modules_behind(target)
        versions = {name: self._version(name) for name in sorted(distributions)}
        return {"function": target, "modules": modules, "distributions": versions}

    def _version(self, distribution: str) -> str:
        if distribution not in self._versions:
            self._versions[distribution] = version(distribution)
        return self._versions[distribution]

    def outside(self) -> dict[str, str]:
        """Digests of what cannot alter a byte of an artefact, attested all the same: files by their paths.

        Modules outside closures, and what Snakemake reads: Snakefile, rules, and scripts that they name.
        """
        folder = self.root.parent
        files = {file for module, file in self._files.items() if is_outside(module)}
        files |= {file for pattern in WORKFLOW for file in folder.glob(pattern)}
        return {
            file.relative_to(folder).as_posix(): sha256_file(file)[:16] for file in sorted(files)
        }
