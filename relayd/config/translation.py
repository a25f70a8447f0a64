"""The `translation:` section: whether and how requests cross from one wire format to another.

Strategy: one flat section for the operator, two records inside: `Translating` is what the relay
decides by, its `Rules` what encoders and writers write by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from relayd.config.document import Place, Wrong
from relayd.config.values import (
    Reader,
    choice,
    distinct,
    fields,
    record,
    seconds,
    size,
    switch,
    whole,
)
from relayd.wire.capabilities import EFFORTS
from relayd.wire.neutral import Effort
from relayd.wire.setting import Fetching, Rules, Translating

LONGEST_PATTERN: Final = 200
_TAG: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def translation(place: Place) -> Translating:
    """Read the section."""
    values = fields(place, {**READERS, **RULES})
    rules = {name: values.pop(name) for name in RULES if name in values}
    if "budgets" in rules:
        rules["budgets"] = {**Rules().budgets, **rules["budgets"]}
    if "remote_images" in values:
        (values["remote_images"],) = values["remote_images"]
    return Translating(**values, rules=Rules(**rules))


def _clients(place: Place) -> tuple[str, ...]:
    if place.is_list and not place.items():
        return ()
    return tuple(distinct(place, _client, ""))


def _client(place: Place) -> str:
    """A pattern of User-Agents, in lower case."""
    text = place.text().lower()
    if not text.isprintable() or not 0 < len(text) <= LONGEST_PATTERN:
        raise Wrong("is not the beginning of a User-Agent such as codex*")
    if not text.strip("*"):
        raise Wrong("is every client: write `lenient: true` instead")
    return text


def _remote_images(place: Place) -> tuple[Fetching | None]:
    """`on`, `off`, or a section that says more. In a tuple, for `off` is a value as well."""
    if place.is_section:
        return (_fetching(place),)
    return (Fetching() if switch(place) else None,)


def _budgets(place: Place) -> Mapping[Effort, int]:
    found: dict[Effort, int] = {}
    for name, member in place.members().items():
        effort = member.take(partial(_effort, name))
        tokens = member.take(_BUDGET)
        if effort is not None and tokens is not None:
            found[effort] = tokens
    return found


def _effort(name: str, _: Place) -> Effort:
    for effort in EFFORTS[1:]:
        if effort == name:
            return effort
    raise Wrong(f"is no effort: known are {', '.join(EFFORTS[1:])}")


def _tag(place: Place) -> str:
    text = place.text()
    if not _TAG.fullmatch(text):
        raise Wrong(f"{place.written!r} is not the name of a tag such as system-reminder")
    return text


_BUDGET = whole(1024, 10_000_000)
_fetching = record(
    Fetching,
    {
        "largest": size(1024, 256 * 2**20),
        "most": whole(1, 1000),
        "timeout": seconds(0.1, 300.0),
        "redirects": whole(0, 10),
    },
)

# The lines of the section: what the relay decides by, ...
READERS: Mapping[str, Reader] = {
    "enabled": switch,
    "lenient": switch,
    "lenient_clients": _clients,
    "largest_reply": size(2**16, 2**30),
    "remote_images": _remote_images,
    "model_in_replies": choice("asked", "upstream"),
}
# ... and what encoders and writers write by.
RULES: Mapping[str, Any] = {
    "wrap_custom": switch,
    "map_search": switch,
    "orphan_results": switch,
    "append_user_turn": switch,
    "show_reasoning": switch,
    "system_tag": _tag,
    "budgets": _budgets,
    "longest_ttl": choice("30m", "12h"),
    "citations": switch,
}
