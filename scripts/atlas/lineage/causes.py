"""Why two executions of a job gave, or may give, different files."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from atlas.job.statements import Statement

Kind = Literal["output", "input", "parameter", "module", "package", "rule", "execution"]
Find = Callable[[str, str], Statement | None]  # path, SHA-256 -> the statement that made it
# What may differ between executions that read the same and ran the same code.
EXECUTION = ("device", "attention", "processor", "driver", "python", "platform", "machine",
             "threads")  # fmt: skip


@dataclass(frozen=True)
class Cause:
    """One difference.

    :param kind: an output that is missing or unattested, an input file, a parameter, a module of
        the library, a package, the rule; or, where nothing else differs, the execution (device,
        processor, interpreter).
    :param name: path, dotted key, module or package.
    :param before, after: SHA-256, value, digest of a syntax tree or version; None where absent.
    """

    kind: Kind
    name: str
    before: Any
    after: Any
    job: str


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as dotted keys; leaves are plain values."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    found: dict[str, Any] = {}
    for key, item in pairs:
        found |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    if found or (isinstance(value, Mapping) and not prefix):
        return found
    # What is empty stays a leaf, as text: values are compared, counted and shown.
    return {prefix: json.dumps(value) if isinstance(value, Mapping | list) else value}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Key -> (before, after) where two mappings differ; None stands for absent."""
    pairs = {key: (before.get(key), after.get(key)) for key in sorted({*before, *after})}
    # 1, 1.0 and true are three values to whoever reads them.
    return {
        key: (a, b)
        for key, (a, b) in pairs.items()
        if type(a) is not type(b) or a != b or (key in before) != (key in after)
    }


def own_causes(before: Statement, after: Statement) -> list[Cause]:
    """Differences of two executions that are not differences of their inputs."""
    rules = ({"rule": f"{made.rule} ({made.code['function']})"} for made in (before, after))
    kinds: list[tuple[Kind, dict[str, Any], dict[str, Any]]] = [
        ("rule", *rules),
        ("parameter", flatten(before.params), flatten(after.params)),
        ("module", before.code["modules"], after.code["modules"]),
        ("package", before.code["distributions"], after.code["distributions"]),
    ]
    return [
        Cause(kind, name, a, b, after.job)
        for kind, old, new in kinds
        for name, (a, b) in changed(old, new).items()
    ]


class Causes:
    """Why the outputs of jobs differ: the nearest causes, not their consequences.

    An input that differs because the job that made it had a cause of its own is a consequence,
    and that cause is returned in its place.
    """

    def __init__(self, find_before: Find, find_after: Find) -> None:
        self._find = (find_before, find_after)
        self._known: dict[tuple[str, str], tuple[Cause, ...]] = {}

    def of(self, before: Statement, after: Statement) -> tuple[Cause, ...]:
        """Causes of one job's difference."""
        key = (before.digest, after.digest)
        if key not in self._known:
            self._known[key] = ()  # a forged circle ends here
            self._known[key] = tuple(dict.fromkeys(self._causes(before, after)))
        return self._known[key]

    def _causes(self, before: Statement, after: Statement) -> list[Cause]:
        own = own_causes(before, after)
        inputs = changed(before.inputs, after.inputs)
        earlier: list[Cause] = []
        for path, (a, b) in inputs.items():
            finds = zip(self._find, (a, b), strict=True)
            made, again = (find(path, digest) if digest else None for find, digest in finds)
            if made and again:
                earlier += self.of(made, again)
            elif (a and b) or not own:
                # A file more or less, with a parameter that says so, is that parameter's doing.
                own.append(Cause("input", path, a, b, after.job))
        if own or inputs or not changed(before.outputs, after.outputs):
            return own + earlier
        return [
            Cause("execution", name, a, b, after.job)
            for name, (a, b) in changed(before.execution, after.execution).items()
            if name in EXECUTION
        ] or [Cause("execution", "unknown", None, None, after.job)]


@dataclass(frozen=True)
class Group:
    """One difference, the jobs that it concerns, and the files that it reaches."""

    kind: Kind
    name: str
    before: Any
    after: Any
    jobs: list[str]
    files: list[str]


def group(found: Iterable[tuple[Cause, str]]) -> list[Group]:
    """Causes (each with the file that it reaches) that say the same of several jobs as one.

    Those that reach most come first.
    """
    groups: dict[tuple[Any, ...], dict[tuple[str, str], None]] = {}
    for cause, file in found:
        key = (cause.kind, cause.name, cause.before, cause.after)
        groups.setdefault(key, {})[cause.job, file] = None
    made = [
        Group(*k, *(list(dict.fromkeys(c)) for c in zip(*g, strict=True)))
        for k, g in groups.items()
    ]
    return sorted(made, key=lambda g: (-len(g.files), g.kind, g.name))
