"""What tells of statements in a format of others, told again and compared."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from atlas.bills import bill, croissant, hub_cards
from atlas.errors import AtlasError
from atlas.files import json_bytes, read_bounded, read_object
from atlas.guarded_json import parse_json
from atlas.job.records import Records
from atlas.job.statements import Statement
from atlas.job.withdrawn import notices
from atlas.job.withdrawn.notices import Withdrawn


def _bill(records: Records, made: Statement, data: bytes) -> bytes:
    return bill.told_again(records, parse_json(data), made.params)


def _croissant(records: Records, made: Statement, _: bytes) -> bytes:
    place = {name: records.path(path) for path, name in made.input_names.items()}
    described = croissant.description(place["rows"], read_object(place["record"]), **made.params)
    return json_bytes(described)


def _card(records: Records, made: Statement, data: bytes) -> bytes:
    asked = dict(made.params)
    asked["withdrawn"] = notices.named(records.root, hub_cards.notices_of(data))
    del asked["notices"]
    return hub_cards.told([records.path(path) for path in made.inputs], **asked)


# The function that wrote a file -> what it would write now.
TELLERS: dict[str, Callable[[Records, Statement, bytes], bytes]] = {
    "atlas.bills.bill:write_bill": _bill,
    "atlas.bills.croissant:describe_dataset": _croissant,
    "atlas.bills.hub_cards:write_hub_card": _card,
}


def differs(records: Records, name: str, made: Statement, withdrawn: Withdrawn) -> str | None:
    """In what a file differs from what its teller would write; None for the same, or no such file.

    The file has the bytes of its statement, which says nothing of whether they are true.

    :param withdrawn: what hangs on something that is withdrawn.
    """
    teller = TELLERS.get(made.code["function"])
    place = records.path(name)
    if teller is None or not place.is_file():
        return None
    try:
        data = read_bounded(place)
        again = teller(records, made, data)
        return (
            _untold(made, data, withdrawn)
            if again == data
            else _first(_values(data), _values(again))
        )
    except (AtlasError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be told again from them ({error})"


def _untold(made: Statement, data: bytes, withdrawn: Withdrawn) -> str | None:
    """Whether it tells of other notices than it hangs on, of those that stood when it was made."""
    if "notices" not in made.params:
        return None
    if "roots" in made.params:
        said, files = set(bill.notices_of(parse_json(data))), made.params["roots"]
    else:
        said, files = set(hub_cards.notices_of(data)), list(made.inputs)
    asked = set(made.params["notices"])
    hanging = {notice.id for notice in withdrawn.behind(files, asked)}
    undone = asked - {notice.id for notice in withdrawn.notices}  # then it may have hung on them
    if said - undone == hanging:
        return None
    return f"it tells of {_listed(said)}, and would tell of {_listed(hanging)}"


def _listed(ids: Iterable[str]) -> str:
    return ", ".join(f"the notice {id_}" for id_ in sorted(ids)) or "no notice"


def _values(data: bytes) -> Any:
    try:
        return parse_json(data)
    except ValueError:
        return data.decode(errors="replace").splitlines()


def _first(there: Any, told: Any, where: str = "") -> str:
    """The first place in which two values differ."""
    if isinstance(there, dict) and isinstance(told, dict):
        for key in [*told, *(k for k in there if k not in told)]:
            if there.get(key) != told.get(key):
                return _first(there.get(key), told.get(key), f"{where}.{key}" if where else key)
    if isinstance(there, list) and isinstance(told, list):
        for i, (a, b) in enumerate(zip(there, told, strict=False)):
            if a != b:
                return _first(a, b, f"{where}[{i}]")
    return f"{where or 'it'} is {_cut(there)}, and would be {_cut(told)}"


def _cut(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
