"""The `groups:` section: what accounts may do and what they pay; and the proxies that are trusted.

There is always a group `default`, which accounts belong to if nothing else is said; a section of
that name changes it. Amounts are decimal dollars and multipliers decimal numbers, read exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

from relayd.accounts import DEFAULT_GROUP, ENDPOINTS, NO_LIMITS, UNIT, Caps, Endpoint, Group
from relayd.config.document import Place, Wrong, unknown
from relayd.config.models import model_name
from relayd.config.values import Reader, choice, fields, record, seconds, switch, whole
from relayd.money import pico, scaled

T = TypeVar("T")
Network = IPv4Network | IPv6Network

LONGEST_NAME = 64
LARGEST_MULTIPLIER = 1000 * UNIT


def groups(place: Place) -> tuple[Group, ...]:
    """Read the section; the group `default` comes first."""
    found = {DEFAULT_GROUP.name: DEFAULT_GROUP}
    for name, member in place.members().items():
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            member.complain("is not a name for a group")
            continue
        group = member.take(_group(name))
        if group is not None:
            found[name] = group
    return tuple(found.values())


def networks(place: Place) -> tuple[Network, ...]:
    """A list of networks such as `10.0.0.0/8`, or single addresses, of those who are trusted."""
    return _each(place, _some_network)


def _group(name: str) -> Callable[[Place], Group]:
    def read(place: Place) -> Group:
        values = {_FIELDS.get(key, key): one for key, one in fields(place, _READERS).items()}
        limits = {key: values.pop(key) for key in _LIMITS if key in values}
        return Group(name, limits=replace(NO_LIMITS, **limits), **values)

    return read


def _each(place: Place, reader: Callable[[Place], T]) -> tuple[T, ...]:
    """One value, or a list of different ones."""
    if not place.is_list:
        return (reader(place),)
    found: list[T] = []
    for item in place.items():
        one = item.take(reader)
        if one is None:
            continue
        if one in found:
            item.complain("stands here twice")
        else:
            found.append(one)
    return tuple(found)


def _some_network(place: Place) -> Network:
    network = _network(place)
    if network.prefixlen == 0:
        message = "is everybody, who could then say to be anybody: name the proxies' own network"
        raise Wrong(f"{place.written!r} {message}")
    return network


def _network(place: Place) -> Network:
    text = place.text()
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        proper = ip_network(text, strict=False)
    except ValueError:
        message = f"{place.written!r} is not a network such as 10.0.0.0/8 or 2001:db8::/32"
        raise Wrong(message) from None
    raise Wrong(f"{place.written!r} names an address inside a network: {proper} is the network")


def _models(place: Place) -> tuple[str, ...]:
    return _each(place, lambda item: model_name(item.text()))


def _endpoints(place: Place) -> tuple[Endpoint, ...]:
    return _each(place, _endpoint)


def _endpoint(place: Place) -> Endpoint:
    text = place.text()
    for name in ENDPOINTS:
        if text == name:
            return name
    raise Wrong(f"{place.written!r} is an {unknown(text, ENDPOINTS)}")


def _dollars(place: Place) -> int:
    amount = _exact(place, pico)
    if amount < 0:
        raise Wrong("cannot be negative")
    return amount


def _multiplier(place: Place) -> int:
    value = _exact(place, lambda text: scaled(text, UNIT, "a multiplier"))
    if not 0 <= value <= LARGEST_MULTIPLIER:
        raise Wrong("must be between 0 and 1000")
    return value


def _exact(place: Place, parse: Callable[[str], int]) -> int:
    try:
        return parse(place.text())
    except ValueError as error:
        raise Wrong(str(error)) from None


_MOST = 10**12
_LIMITS: Mapping[str, Reader] = {
    "rpm": whole(1, _MOST),
    "tpm": whole(1, _MOST),
    "concurrency": whole(1, _MOST),
    "burst": seconds(0.001, 3600.0),
}
_READERS: Mapping[str, Reader] = {
    "models": _models,
    "endpoints": _endpoints,
    **_LIMITS,
    "spend": record(Caps, dict.fromkeys(("day", "month", "ever"), _dollars)),
    "multiplier": _multiplier,
    "balance": choice("auto", "on", "off"),
    "strict": switch,
    "reserve_cap": _dollars,
    "on_disconnect": choice("estimate", "drain", "free"),
    "drain": seconds(0.1, 3600.0),
    "lenient": switch,
    "hide_endpoints": switch,
}
# Lines that are called otherwise in the record.
_FIELDS = {"spend": "caps", "on_disconnect": "leaving"}
