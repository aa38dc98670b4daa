"""The one place where a stranger's templates are rendered: sandboxed, for so long, and no larger."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, Template, nodes
from jinja2.sandbox import SandboxedEnvironment

from atlas.errors import AtlasError
from atlas.limits import bounded, without_panics

SECONDS, GIGABYTES = 5.0, 2.0  # for one text
MOST = 1 << 24  # characters of a text
FUNCTIONS = ("range", "dict", "namespace")
# What puts values into a text, and computes nothing; bounds would take longer than the text.
PLAIN = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.CondExpr,
         nodes.Compare, nodes.Operand)  # fmt: skip
FEW = 100  # parts of a plain template


class _Environment(SandboxedEnvironment):
    """Jinja without functions that make texts of any length by themselves."""

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True)
        self.globals = {name: self.globals[name] for name in FUNCTIONS}


@dataclass(frozen=True)
class Compiled:
    """A template, and whether it needs no bounds."""

    template: Template
    plain: bool


def compiled(source: str, where: str) -> Compiled:
    """A template; constant expressions in it are computed here already.

    :raises AtlasError: where it is none, or takes more than it may.
    """
    with limited(where):
        environment = _Environment()
        parts = list(environment.parse(source).find_all(nodes.Node))
        plain = len(parts) <= FEW and all(isinstance(part, PLAIN) for part in parts)
        return Compiled(environment.from_string(source), plain)


def rendered(template: Compiled, values: Mapping[str, Any], where: str) -> str:
    """What a template makes of values.

    :raises AtlasError: where an expression in it fails, or takes more than it may.
    """
    with limited(where, plain=template.plain):
        text = template.template.render(**values)
    if len(text) > MOST:
        raise AtlasError(f"{where} makes a text of {len(text):,} characters.")
    return text


@contextlib.contextmanager
def limited(where: str, *, plain: bool = False) -> Iterator[None]:
    """Within this context, a template is compiled or rendered, whatever it may do.

    :param where: the template, in words. :param plain: it needs no bounds.
    :raises AtlasError: where it fails, or takes more than it may.
    """
    try:
        with contextlib.nullcontext() if plain else bounded(SECONDS, GIGABYTES), without_panics():
            yield
    except Exception as error:  # whatever an expression of somebody's may raise
        raise AtlasError(f"{where} cannot be rendered: {error}.") from None
