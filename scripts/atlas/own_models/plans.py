"""What will be mapped: pools of models that have a base in common, each with a name and a domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.configuration.files import DEFAULT_FILE, given, layers, own_default
from atlas.errors import AtlasError
from atlas.files import WORKFLOW_FOLDER
from atlas.grammar import NAMES, is_valid_name
from atlas.job.records import BrokenRecordError, Records
from atlas.own_models.bases import Bases, turn
from atlas.own_models.domains import guess_domains
from atlas.own_models.found import FoundModel, find_models, unused
from atlas.own_models.runs import Size, spaces_of
from atlas.own_models.written import Member, earlier_domains, write_configuration
from atlas.plan.building import build
from atlas.plan.resolved import Plan
from atlas.plan.sheets import sheet_source
from atlas.sources.hub import UnreachableError

LEAST = 2  # models that can be compared
# Names of models and guesses -> their domains: asks a person, where there is one.
Ask = Callable[[Sequence[str], Sequence[str]], Sequence[str]]


@dataclass(frozen=True)
class OwnPools:
    """Pools that are ready to be written.

    :param alone: models whose base no other has: they are on no map.
    :param how: where domains are from, in words.
    """

    name: str
    pools: Mapping[str, Sequence[Member]]
    bases: Bases
    alone: Sequence[tuple[FoundModel, str]]
    how: str

    @property
    def spaces(self) -> dict[str, tuple[str, ...]]:
        """Spaces of each pool."""
        return {
            pool: spaces_of(member.found for member in members)
            for pool, members in self.pools.items()
        }

    @property
    def sizes(self) -> list[Size]:
        """What decides how long each pool takes."""
        return [
            Size(len(members), self.bases.billions(members[0].base))
            for members in self.pools.values()
        ]

    def write(self) -> Path:
        """Write the configuration and its sheets."""
        return write_configuration(self.name, self.pools, self.bases.entries(), self.spaces)


def current_plan(configfiles: Sequence[Path]) -> Plan:
    """The plan of the configuration, with files of the user laid over it."""
    default = [WORKFLOW_FOLDER / DEFAULT_FILE]
    own = given([*own_default(WORKFLOW_FOLDER), *configfiles], {})
    whole, beneath = layers(default, own)
    return build(whole, default=beneath)


def own_pools(
    typed: Sequence[str], name: str, plan: Plan, *, base: str | None = None,
    domains: Sequence[str] = (), ask: Ask | None = None
) -> OwnPools:  # fmt: skip
    """Find models, their bases and their domains.

    :param domains: one for each model, in the order in which they are found; empty: guessed.
    :raises AtlasError: where a model cannot be found, or no two of them can be compared.
    """
    _check_name("--name", name)
    earlier = earlier_domains(name)
    cache = Path(plan.config.cache)
    models = find_models(typed, cache)
    if len(models) < LEAST:
        raise AtlasError(f"{models[0].where}: is one model, and a map compares several; name more.")
    bases = Bases(plan, cache, base)
    of_base = _by_base(models, bases)
    alone = [(some[0], base) for base, some in of_base.items() if len(some) < LEAST]
    if len(alone) == len(of_base):
        told = ", ".join(f"{model.where} of {base}" for model, base in alone)
        raise AtlasError(
            f"every model has a base of its own ({told}), and only models of one base are compared; name "
            "more models of one of them."
        )
    labels, how = _domains(models, plan, domains, earlier, ask)
    names = _names(models, name, plan)
    kept = [base for base, some in of_base.items() if len(some) >= LEAST]
    pools = {
        name if len(kept) == 1 else f"{name}--{base}": [
            Member(model, names[model.where], base, labels[model.where]) for model in of_base[base]
        ]
        for base in kept
    }
    return OwnPools(
        name, {pool: _apart(members) for pool, members in pools.items()}, bases, alone, how
    )


def _check_name(where: str, name: str) -> None:
    if not is_valid_name(name):
        raise AtlasError(f"{where}: {name!r} is not a name; {NAMES}")


def _by_base(models: Sequence[FoundModel], bases: Bases) -> dict[str, list[FoundModel]]:
    """Models by their base; those whose base cannot be had are told together."""
    of: dict[str, str] = {}
    faults: dict[str, str] = {}
    for model in sorted(models, key=turn):
        try:
            of[model.where] = bases.of(model)
        except UnreachableError:
            raise
        except AtlasError as error:
            faults[model.where] = str(error)
    if faults:
        raise AtlasError(*(faults[model.where] for model in models if model.where in faults))
    found: dict[str, list[FoundModel]] = {}
    for model in models:
        found.setdefault(of[model.where], []).append(model)
    return found


def _apart(members: Sequence[Member]) -> Sequence[Member]:
    """The members of a pool, which has two domains at least: where all have one, each has its own."""
    if len({member.domain for member in members}) > 1:
        return members
    return [Member(**{**vars(member), "domain": member.name}) for member in members]


def _domains(
    models: Sequence[FoundModel], plan: Plan, given: Sequence[str], earlier: Mapping[str, str],
    ask: Ask | None,
) -> tuple[dict[str, str], str]:  # fmt: skip
    """Where a model is -> its domain; and where they are from."""
    if given and len(given) != len(models):
        raise AtlasError(
            f"--domains: {len(given)} are given for {len(models)} models "
            f"({', '.join(model.where for model in models)}); give one for each, in this order."
        )
    known = {name: entry.domain for name, entry in plan.config.datasets.items()}
    guessed, how = guess_domains(models, known)
    if given:
        guessed, how = list(given), "what was given"
    elif all(model.where in earlier for model in models):
        guessed, how = [earlier[model.where] for model in models], "the sheet"
    elif ask:
        answered = list(ask([model.where for model in models], guessed))
        how = how if answered == guessed else "what was answered"
        guessed = answered
    for label in guessed:
        _check_name("a domain", label)
    return dict(zip((model.where for model in models), guessed, strict=True)), how


def _names(models: Sequence[FoundModel], pool: str, plan: Plan) -> dict[str, str]:
    """Where a model is -> its name, which no other model of this folder has."""
    records, found = Records(Path()), dict[str, str]()
    for model in models:
        taken = {*plan.models, *found.values()}
        name = model.name
        if name in taken or _is_another(records, name, model):
            name = f"{pool}--{name}"
        found[model.where] = unused(name, taken)
    return found


def _is_another(records: Records, name: str, model: FoundModel) -> bool:
    """Whether results/ has a model of a name that is from elsewhere."""
    file = f"results/models/{name}/{'adapter_config.json' if model.adapter else 'config.json'}"
    if not Path(file).exists():
        return False
    source: dict[str, Any] = sheet_source(
        model.source, model.subfolder, Path(), "map_models.py"
    ).model_dump(exclude_none=True)
    try:
        made = records.statement(file)
    except BrokenRecordError:
        return True
    return made is None or made.params.get("source") != source
