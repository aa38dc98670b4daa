"""A file that no rule makes is told with the one that it may have been meant to be."""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from atlas.job import deployed
from atlas.job.replaced import replace
from atlas.job.statements import RESULTS

WILDCARD = re.compile(r"\{(\w+)(?:,((?:[^{}]|\{[\d,]+\})*))?\}")
ANYTHING = "[^/]+"
# A constraint that spells its names out, and one of these.
SPELT = re.compile(r"(?:[\w|]|\\.)+")
MOST_NAMES = 100_000  # of all wildcards of one part of a path
ALIKE = 0.6  # similarity of each part, as difflib has it


def nearest(path: str, patterns: Iterable[str]) -> str | None:
    """The path most like another one that rules make, or None where there is none like it.

    :param patterns: outputs of rules, as Snakemake has them: ``{name,constraint}`` for wildcards.
    """
    parts, best = path.split("/"), (0.0, "")
    for pattern in patterns:
        wanted = _split(pattern)
        if len(wanted) != len(parts):
            continue
        found = [_most_like(part, one) for part, one in zip(parts, wanted, strict=True)]
        score = math.prod(likeness for likeness, _ in found)
        best = max(best, (score, "/".join(name for _, name in found)))
    return best[1] if best[0] else None


def _split(pattern: str) -> list[str]:
    """A pattern at each / that is not within a wildcard."""
    held = [match[0] for match in WILDCARD.finditer(pattern)]
    parts = WILDCARD.sub("\0", pattern).split("/")
    left = iter(held)
    return [re.sub("\0", lambda _: next(left), part) for part in parts]


def _most_like(part: str, pattern: str) -> tuple[float, str]:
    """How much a part of a path is like one of a pattern, and that one."""
    whole = re.sub(r"[^\0]+", lambda text: re.escape(text[0]), WILDCARD.sub("\0", pattern))
    constraints = [match[2] or ANYTHING for match in WILDCARD.finditer(pattern)]
    left = iter(constraints)
    if re.fullmatch(re.sub("\0", lambda _: f"(?:{next(left)})", whole), part):
        return 1.0, part
    near = difflib.get_close_matches(part, list(_spelt(pattern, constraints)), n=1, cutoff=ALIKE)
    return (difflib.SequenceMatcher(None, part, near[0]).ratio(), near[0]) if near else (0.0, "")


def _spelt(pattern: str, constraints: Sequence[str]) -> Iterator[str]:
    """All that a part of a pattern stands for, where it is spelt out."""
    if not all(map(SPELT.fullmatch, constraints)):
        return
    names = [[re.sub(r"\\(.)", r"\1", name) for name in c.split("|")] for c in constraints]
    if math.prod(map(len, names)) <= MOST_NAMES:
        for chosen in product(*names):
            left = iter(chosen)
            yield WILDCARD.sub(lambda _, left=left: next(left), pattern)


def tell_nearest() -> None:
    """Let Snakemake name the file that was meant where no rule makes what was asked for."""
    from snakemake.dag import DAG

    replace(DAG, "file2jobs", _telling)


def _telling(plain: Any) -> Any:
    from snakemake.exceptions import MissingRuleException

    async def file2jobs(self: Any, targetfile: Any, *args: Any, **settings: Any) -> Any:
        try:
            return await plain(self, targetfile, *args, **settings)
        except MissingRuleException as error:
            own = [
                (rule, place) for rule in self.workflow.rules if (place := deployed.of_rule(rule))
            ]
            roots = tuple({place.path(f"{RESULTS}/") for _, place in own})
            made = (str(file) for rule, _ in own for file in rule.output)
            if targetfile.startswith(roots) and (near := nearest(str(targetfile), made)):
                error.args = (f"{targetfile}: no rule makes it; did you mean {near!r}?",)
            raise

    return file2jobs
