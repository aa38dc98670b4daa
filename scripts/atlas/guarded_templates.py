"""The one place where a stranger's templates are rendered: sandboxed, for so long, and no larger."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment

from atlas.errors import AtlasError
from atlas.limits import bounded, without_panics

SECONDS, GIGABYTES = 5.0, 2.0  # for one text
MOST = 1 << 24  # characters of a text
FUNCTIONS = ("range", "dict", "namespace")


class _Environment(SandboxedEnvironment):
    """Jinja without functions that make texts of any length by themselves."""

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True)
        self.globals = {name: self.globals[name] for name in FUNCTIONS}


def compiled(source: str, where: str) -> Template:
    """A template; constant expressions in it are computed here already.

    :raises AtlasError: where it is none, or takes more than it may.
    """
    with limited(where):
        return _Environment().from_string(source)


def rendered(template: Template, values: Mapping[str, Any], where: str) -> str:
    """What a template makes of values.

    :raises AtlasError: where an expression in it fails, or takes more than it may.
    """
    with limited(where):
        text = template.render(**values)
    if len(text) > MOST:
        raise AtlasError(f"{where} makes a text of {len(text):,} characters.")
    return text


@contextlib.contextmanager
def limited(where: str) -> Iterator[None]:
    """Within this context, a template is compiled or rendered, whatever it may do.

    :param where: the template, in words.
    :raises AtlasError: where it fails, or takes more than it may.
    """
    try:
        with bounded(SECONDS, GIGABYTES), without_panics():
            yield
    except Exception as error:  # whatever an expression of somebody's may raise
        raise AtlasError(f"{where} cannot be rendered: {error}.") from None
