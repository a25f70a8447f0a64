"""Reading a client's document: every member has a type, and a wrong one is a 400 that names it.

Null is the same as absent, as it is for all four APIs. What a decoder did not ask for is left to
`rest`, with what its loss would mean: nothing is forgotten silently.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import orjson

from relayd.errors import BadCall
from relayd.wire.parts import Document, Extra, Extras, Loss

LARGEST_NUMBER: Final = 2**63 - 1  # what can be written again
MOST_ITEMS: Final = 100_000  # of one list: messages, parts
DEEPEST: Final = 64  # of a schema or of a tool's input
DEEPEST_DOCUMENT: Final = 200  # what is written of it is a little deeper, and orjson stops at 254


def wrong(at: str, expected: str) -> BadCall:
    """The error for a member of the wrong type."""
    return BadCall(f"`{at}` must be {expected}.", code="invalid_type", param=at)


def missing(at: str) -> BadCall:
    """The error for a member that has to be there."""
    return BadCall(f"`{at}` is missing.", code="missing_required_parameter", param=at)


def path(at: str, name: str) -> str:
    """`name` inside of `at`."""
    return f"{at}.{name}" if at else name


def shallow(document: Document) -> Document:
    """`document`, if it is not nested deeper than its translation could be written; else BadCall.

    To be asked before a decoder walks through it.
    """
    if not is_shallow(document):
        raise BadCall("The request body is nested too deep.", code="invalid_json")
    return document


def is_shallow(document: object) -> bool:
    """Whether what was parsed is nested no deeper than `DEEPEST_DOCUMENT`. Looks at it level by
    level: recursion would be what it guards against."""
    level = [document]
    for _ in range(DEEPEST_DOCUMENT):
        level = [inner for each in level for inner in _within(each)]
        if not level:
            return True
    return False


def json_object(text: str) -> Document | None:
    """The object that a JSON text holds, such as a call's arguments; None where it holds none, or
    one that is nested too deep to be written again."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and is_shallow(value) else None


def _within(value: Any) -> list[object]:
    members = value.values() if value.__class__ is dict else value
    return [each for each in members if each.__class__ is dict or each.__class__ is list]


def string(document: Document, name: str, at: str = "") -> str | None:
    """A string; None where there is none."""
    value = document.get(name)
    if value is None or isinstance(value, str):
        return value
    raise wrong(path(at, name), "a string")


def needed(document: Document, name: str, at: str = "") -> str:
    """A string that has to be there."""
    value = string(document, name, at)
    if value is None:
        raise missing(path(at, name))
    return value


def whole(document: Document, name: str, at: str = "", *, least: int = 0) -> int | None:
    """A whole number, also one that is written as 5.0; None where there is none."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(path(at, name), "a whole number")
    if not least <= value <= LARGEST_NUMBER:
        raise wrong(path(at, name), f"between {least} and {LARGEST_NUMBER}")
    return value


def number(document: Document, name: str, at: str = "") -> float | None:
    """A number; None where there is none."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path(at, name), "a number")
    return value


def flag(document: Document, name: str, at: str = "") -> bool | None:
    """A boolean; None where there is none."""
    value = document.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise wrong(path(at, name), "true or false")


def section(document: Document, name: str, at: str = "") -> Document | None:
    """An object; None where there is none."""
    value = document.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise wrong(path(at, name), "an object")


def listed(document: Document, name: str, at: str = "") -> list[Any]:
    """A list; empty where there is none."""
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(path(at, name), "a list")
    if len(value) > MOST_ITEMS:
        raise BadCall(f"`{path(at, name)}` is too long.", code="array_above_max_length", param=name)
    return value


def sections(document: Document, name: str, at: str = "") -> Iterator[tuple[str, Document]]:
    """The objects of a list, each with its path."""
    for index, value in enumerate(listed(document, name, at)):
        place = f"{path(at, name)}[{index}]"
        if not isinstance(value, dict):
            raise wrong(place, "an object")
        yield place, value


def strings(document: Document, name: str, at: str = "") -> list[str]:
    """A list of strings; empty where there is none."""
    values = listed(document, name, at)
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise wrong(f"{path(at, name)}[{index}]", "a string")
    return values


def rest(
    document: Document, known: Collection[str], losses: Mapping[str, Loss], usual: Loss = "lenient"
) -> Extras:
    """The members that nobody asked for.

    Arguments:
        losses: what the loss of each would mean.
        usual: that of a member that is not even listed.
    """
    return {
        name: Extra(value, "silent" if _is_nothing(value) else losses.get(name, usual))
        for name, value in document.items()
        if name not in known and value is not None
    }


def written(extra: Extras, document: Document) -> Document:
    """`document` with what only its own format says, where the document does not say it itself."""
    for name, (value, _) in extra.items():
        document.setdefault(name, value)
    return document


def _is_nothing(value: object) -> bool:
    """What nobody misses: an empty list, an empty object, an empty text, a switch that is off."""
    return value is False or (isinstance(value, list | dict | str) and not value)
