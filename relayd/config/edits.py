"""The lines of an upstream that change what passes through: headers, parameters, status codes.

Strategy: each reader refuses what would break the passage itself (headers that frame a request, the
parameters that decide its route) and what contradicts itself. Values of parameters become JSON text
here, once, so that a request has nothing left to do but to put the bytes in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from relayd.config.document import Place, Wrong
from relayd.config.values import Reader, distinct, fields, whole

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,8000}")
# The connection's own business: a configured value could only break the framing of requests.
_OWN_HEADERS = frozenset(
    "connection content-length expect host keep-alive te trailer transfer-encoding upgrade".split()
)
_MAX_PATH = 256
# What the relay has read and acted upon before a body is changed.
_OWN_PARAMS: Mapping[str, str] = {
    "model": "is what the request was routed by: rename models with `models`",
    "stream": "decides how the reply is read: it stays as the client asks",
}
_STATUS = whole(400, 599)


def headers(place: Place) -> tuple[tuple[str, str], ...]:
    """Headers to add to every request. Their values may be secrets, so no message repeats them."""
    found: dict[str, tuple[str, str]] = {}
    for name, member in place.members().items():
        low = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            member.complain("is not the name of a header")
        elif low in _OWN_HEADERS:
            member.complain("belongs to the connection and cannot be set")
        elif low in found:
            member.complain("stands here twice: headers do not tell upper from lower case")
        else:
            found[low] = (name, member.take(_header_value) or "")
    return tuple(found.values())


def _header_value(place: Place) -> str:
    text = place.text().strip()
    if not _HEADER_VALUE.fullmatch(text):
        raise Wrong("holds a character that cannot stand in a header")
    return text


def remove_headers(place: Place) -> tuple[str, ...]:
    """Names of headers that are not sent, in lower case."""
    return tuple(distinct(place, _header_name, "names no header"))


def _header_name(place: Place) -> str:
    name = place.text().lower()
    if not _HEADER_NAME.fullmatch(name):
        raise Wrong("is not the name of a header")
    if name in _OWN_HEADERS:
        raise Wrong("belongs to the connection and cannot be removed")
    return name


def params(place: Place) -> dict[str, Any]:
    """The fields of `Edits` that concern bodies. A path may stand under one of the three lines."""
    found = fields(place, _PARAM_READERS)
    seen: dict[str, str] = {}
    for kind in _PARAM_READERS:
        for entry in found.get(kind, ()):
            path = entry if isinstance(entry, str) else entry[0]
            if seen.setdefault(path, kind) != kind:
                place.complain(f"{path!r} stands under {seen[path]} and {kind}: keep one")
    return {f"{kind}_params": entries for kind, entries in found.items()}


def _values(place: Place) -> tuple[tuple[str, bytes], ...]:
    found: list[tuple[str, bytes]] = []
    for path, member in place.members().items():
        wrong = _wrong_path(path)
        if wrong:
            member.complain(wrong)
        value = member.take(_json)
        if value is not None:
            found.append((path, value))
    return tuple(found)


def _json(place: Place) -> bytes:
    try:
        return orjson.dumps(place.plain())
    except orjson.JSONEncodeError:
        raise Wrong("holds a character that JSON cannot hold") from None


def _paths(place: Place) -> tuple[str, ...]:
    return tuple(distinct(place, _path, "names no parameter"))


def _path(place: Place) -> str:
    text = place.text()
    wrong = _wrong_path(text)
    if wrong:
        raise Wrong(wrong)
    return text


def _wrong_path(path: str) -> str:
    """What is wrong with a dotted path, or nothing."""
    steps = path.split(".")
    if not all(steps) or len(path) > _MAX_PATH or not path.isprintable():
        return "is not a path such as temperature or reasoning.effort"
    return _OWN_PARAMS.get(steps[0], "")


def status_map(place: Place) -> tuple[tuple[int, int], ...]:
    """Status codes of replies, and what each is taken for."""
    found: list[tuple[int, int]] = []
    for name, member in place.members().items():
        status = member.take(_STATUS)
        if not re.fullmatch(r"[45][0-9]{2}", name):
            member.complain("is not a status code between 400 and 599")
        elif status is not None:
            found.append((int(name), status))
    return tuple(found)


_PARAM_READERS: Mapping[str, Reader] = {"set": _values, "default": _values, "remove": _paths}
