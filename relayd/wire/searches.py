"""A web search that a provider runs, said to another provider: what bounds it must bound it there.

Which sites may be looked at, and how often, is what a client relies on: it is carried over, or it
is asked whether it may be lost (`lenient`). Where the user is, and how much is to be found, make a
search better or worse: what has no place is reported. All spell the same things in their own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from relayd.model import FormatName
from relayd.wire.facts import section
from relayd.wire.neutral import Hosted
from relayd.wire.parts import Document, Loss
from relayd.wire.setting import Going

# By what bounds or helps a search: where each format writes it.
_PLACES: Final[Mapping[FormatName, Mapping[str, str]]] = {
    "chat": {"location": "user_location.approximate", "size": "search_context_size"},
    "responses": {
        "allowed": "filters.allowed_domains",
        "location": "user_location",
        "size": "search_context_size",
    },
    "messages": {
        "allowed": "allowed_domains",
        "blocked": "blocked_domains",
        "uses": "max_uses",
        "location": "user_location",
    },
    "gemini": {"blocked": "excludeDomains"},
}
# Where it is understood: of Google's two services only one knows any bounds.
_WRITTEN: Final[Mapping[FormatName, Mapping[str, str]]] = {**_PLACES, "gemini": {}}
_BOUNDS: Final = frozenset({"allowed", "blocked", "uses"})
_LOCATED: Final = ("city", "country", "region", "timezone")
_USUAL_SIZE: Final = "medium"
# What a tool's document says beside; its name and its type are every format's own.
_PLAIN: Final = frozenset({"type", "name", "cache_control"})
# What bounds a search anywhere: where it stands in the wrong place, it is still missed.
_BOUNDING: Final = frozenset(
    {"allowed_domains", "blocked_domains", "excludeDomains", "filters", "max_uses"}
)


def search(tool: Hosted, going: Going) -> Document:
    """The members of the upstream's own web search that say what the client's does. Raises
    CannotTranslate for a bound that cannot be kept."""
    at, asked = _asked(tool)
    said = _said(asked, _PLACES[tool.format])
    places = _WRITTEN[going.format]
    document: Document = {}
    for name, (path, value) in said.items():
        if name in places:
            _put(document, places[name], value)
        elif name in _BOUNDS:
            why = "the web search there has no such limit"
            going.losses.lose("lenient", f"{at}.{path}", why, code="unsupported_value")
        elif value != _USUAL_SIZE:
            going.losses.lose("drop", f"{at}.{path}")
    if "location" in said and "user_location" in document:
        document["user_location"]["type"] = "approximate"
    known = {path.partition(".")[0] for path in _PLACES[tool.format].values()} | _PLAIN
    for name, value in asked.items():
        if name not in known and (value or value is False):  # a switch that is off says something
            loss: Loss = "lenient" if name in _BOUNDING else "drop"
            going.losses.lose(loss, f"{at}.{name}", code="unsupported_value")
    return document


def _asked(tool: Hosted) -> tuple[str, Document]:
    """What is said of the search, and where: Google has it inside of the tool, under its name."""
    if tool.format != "gemini":
        return tool.at, tool.document
    name, inner = next(iter(tool.document.items()))
    return f"{tool.at}.{name}", section(inner)


def _said(asked: Document, places: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """By its name here: where it stands, and the value."""
    found: dict[str, tuple[str, Any]] = {}
    for name, path in places.items():
        value: Any = asked
        for step in path.split("."):
            value = section(value).get(step)
        if name == "location":
            value = {key: section(value)[key] for key in _LOCATED if section(value).get(key)}
        if value:
            found[name] = path, value
    return found


def _put(document: Document, path: str, value: Any) -> None:
    *above, name = path.split(".")
    for step in above:
        document = document.setdefault(step, {})
    document[name] = value
