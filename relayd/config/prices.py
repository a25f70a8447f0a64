"""The price list: the `prices:` section, and the file that `prices_file` names.

Strategy: prices are written in dollars per million tokens and read as decimals, so that what is
billed is what stands there, to the last digit. A tier names only what changes there; rates that
are not written at all follow from others (`policy.prices`). Somebody who forgets the output rate
would give it away, so input and output come together, also where they are 0. What is sold by the
picture, the minute of audio, the search or the million characters needs neither.

The file has the same lines, as YAML or as JSON. JSON is what `relayd prices import` writes: of it
thousands of models are read in a moment, where YAML would take seconds. Lines of the section come
before those of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import yaml

from relayd.config.document import (
    MAX_DEPTH,
    ConfigProblems,
    Place,
    Problem,
    Source,
    Wrong,
    read_text,
    root,
)
from relayd.config.models import model_name
from relayd.config.values import Reader, fields, file_path
from relayd.money import DOLLAR, pico, scaled
from relayd.policy.calendar import Calendar
from relayd.policy.prices import (
    DEAREST,
    DEAREST_UNIT,
    MOST_TIERS,
    MOST_TOKENS,
    Price,
    PriceLine,
    Rates,
    Units,
)

SHOWN_PROBLEMS = 5
_MILLION = 10**6
_MOST_REQUEST = 1000 * DOLLAR
_TEXT, _SECTION, _LIST, _NOTHING = (f"tag:yaml.org,2002:{n}" for n in ("str", "map", "seq", "null"))
_NOWHERE = yaml.Mark("", 0, -1, 0, "", 0)  # its lines count from 1, so this one is line 0
_UNITS = {"k": 1000, "K": 1000, "M": 10**6}


def prices(place: Place) -> tuple[PriceLine, ...]:
    """Read a price list."""
    found = []
    for pattern, member in place.members().items():
        price = member.take(_price(pattern))
        if price:
            found.append(PriceLine(pattern, price))
    return tuple(found)


def prices_file(place: Place) -> tuple[PriceLine, ...]:
    """Read the price list in another file; its problems become those of this line."""
    path = file_path(place)
    source = Source(path.parent, place.source.environ)
    try:
        found = prices(_root(read_text(path), source))
    except ConfigProblems as error:
        source.problems.extend(error.problems)
    except Wrong as wrong:
        source.problems.append(Problem("", 0, str(wrong)))
    for problem in source.problems[:SHOWN_PROBLEMS]:
        place.complain(f"{path.name}: {problem}")
    more = len(source.problems) - SHOWN_PROBLEMS
    if more > 0:
        place.complain(f"{path.name}: and {more} more problems")
    return () if source.problems else found


def time_zone(place: Place) -> str:
    """The name of a time zone."""
    try:
        return Calendar(place.text()).zone
    except ValueError as error:
        raise Wrong(f"{place.written!r} {error}") from None


def _root(text: str, source: Source) -> Place:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return root(text, source)
    return Place(_node(found), "", 0, source)


def _node(value: object, depth: int = 0) -> Any:
    """JSON as the YAML that it is, so that both are read by the same readers."""
    if depth > MAX_DEPTH:
        raise Wrong("is nested too deep")
    if isinstance(value, dict):
        names = (yaml.ScalarNode(_TEXT, name, _NOWHERE) for name in value)
        nodes = [_node(member, depth + 1) for member in value.values()]
        return yaml.MappingNode(_SECTION, list(zip(names, nodes, strict=True)), _NOWHERE)
    if isinstance(value, list):
        return yaml.SequenceNode(_LIST, [_node(item, depth + 1) for item in value], _NOWHERE)
    if value is None:
        return yaml.ScalarNode(_NOTHING, "", _NOWHERE)
    return yaml.ScalarNode(_TEXT, str(value), _NOWHERE)


def _price(pattern: str) -> Reader:
    def read(place: Place) -> Price:
        model_name(pattern)
        values = fields(place, _READERS)
        tiers, request = values.pop("tiers", ()), values.pop("request", None)
        units = Units(**{name: values.pop(name, 0) for name in Units._fields})
        _check_sides(place.names())
        return Price(Rates.of(values), _completed(values, tiers), request or 0, units)

    return read


def _check_sides(written: frozenset[str]) -> None:
    if not written & {"input", "output", "request", *Units._fields}:
        others = ", ".join(Units._fields)
        raise Wrong(f"has no price: give input and output, or request, {others}")
    for one, other in (("input", "output"), ("output", "input")):
        if other in written and one not in written:
            raise Wrong(f"has no {one}: write `{one}: 0` where it is free")


def _completed(
    values: Mapping[str, int], tiers: tuple[tuple[int, Mapping[str, int]], ...]
) -> list[tuple[int, Rates]]:
    """The rates of each tier; what it leaves out stays as it is below."""
    found, written = [], dict(values)
    for above, changed in tiers:
        written |= changed
        found.append((above, Rates.of(written)))
    return found


def _tiers(place: Place) -> tuple[tuple[int, Mapping[str, int]], ...]:
    found: list[tuple[int, Mapping[str, int]]] = []
    items = place.items()
    if len(items) > MOST_TIERS:
        raise Wrong(f"has more than {MOST_TIERS} tiers")
    for item in items:
        values = item.take(_tier)
        if values is None:
            continue
        above = values.pop("above")
        if found and above <= found[-1][0]:
            item.complain("is not above the tier before it: write them in order")
        found.append((above, values))
    return tuple(found)


def _tier(place: Place) -> dict[str, int] | None:
    values: dict[str, int] = fields(place, _TIER_READERS)
    if "above" not in place.names():
        raise Wrong("has no `above`: from how many tokens on it counts")
    if len(place.names()) < 2:
        raise Wrong("changes no price")
    return values if "above" in values else None  # the problem is on the list already


def _above(place: Place) -> int:
    text = place.text().replace("_", "")
    digits, unit = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1)
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12):
        raise Wrong(f"{place.written!r} is not a number of tokens such as 200k or 128000")
    if not 1 <= int(digits) * unit <= MOST_TOKENS:
        raise Wrong(f"must be between 1 and {MOST_TOKENS} tokens")
    return int(digits) * unit


def _rate(place: Place) -> int:
    try:
        rate = scaled(place.text(), _MILLION, "a price")
    except ValueError:
        raise Wrong(
            f"{place.written!r} is not a price, in dollars per million tokens, such as 2.5 or"
            " 0.075 (six decimals at most)"
        ) from None
    if not 0 <= rate <= DEAREST:
        raise Wrong(f"must be between 0 and {DEAREST // _MILLION} dollars per million tokens")
    return rate


def _dollars_for(what: str, most: int) -> Reader:
    def read(place: Place) -> int:
        try:
            amount = pico(place.text())
        except ValueError:
            raise Wrong(f"{place.written!r} is not a price of {what}, in dollars") from None
        if not 0 <= amount <= most:
            raise Wrong(f"must be between 0 and {most // DOLLAR} dollars")
        return amount

    return read


_RATES: Mapping[str, Reader] = dict.fromkeys(Rates._fields, _rate)
_TIER_READERS: Mapping[str, Reader] = {"above": _above, **_RATES}
_UNITS_READERS: Mapping[str, Reader] = {
    "image": _dollars_for("a picture", DEAREST_UNIT),
    "minute": _dollars_for("a minute of audio", DEAREST_UNIT),
    "characters": _rate,
    "search": _dollars_for("a search", DEAREST_UNIT),
}
_READERS: Mapping[str, Reader] = {
    **_RATES,
    **_UNITS_READERS,
    "request": _dollars_for("a request", _MOST_REQUEST),
    "tiers": _tiers,
}
