"""The lines of an upstream that say where it is and with which keys: addresses, keys, proxy.

Strategy: one address or key is written on one line and needs no name; several are a list, and a
key that wants a weight or limits of its own is a section. What a list shows only as a whole (two
keys of one name, the same secret twice) is checked where the list is read. No message quotes what
stands here: people write credentials into addresses, and proxies have passwords.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from relayd.config.document import Place, Wrong
from relayd.config.values import Hidden, Reader, distinct, fields, secret, whole
from relayd.model import KeyLimits, Proxy, Secret, UpstreamKey

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
WRONG_NAME = "a name is made of letters, digits, - and _"
WEIGHT = whole(1, 1_000_000)
NO_SECRET = Secret("")

# Ends of what people copy out of an example request, where the address of its server is wanted.
_ROUTES = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/messages",
    "/messages/count_tokens",
    "/models",
    "/responses",
)
_METHOD = re.compile(r".*(/models/[^/]*:[A-Za-z]+)")
_PROXY_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
_PROXIES: dict[str, Literal["http", "socks5"]] = {
    "http": "http",
    "socks5": "socks5",
    "socks5h": "socks5",
}
_MAX_CREDENTIAL = 255  # bytes, RFC 1929


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key as it is written: with those limits that its line names, and maybe without a name."""

    secret: Secret = NO_SECRET
    name: str = ""
    weight: int = 1
    limits: Mapping[str, int] = field(default_factory=dict)


def base_url(place: Place) -> str:
    """An http or https address, without a slash at its end."""
    text = place.text()
    parts = _split(text, "is not an address such as https://host/v1")
    if parts.scheme not in ("http", "https") or parts.port == 0:
        raise Wrong("is not an address such as https://host/v1")
    if parts.username is not None or parts.password is not None:
        raise Wrong("must not hold credentials: they belong into key or headers")
    if "?" in text or "#" in text:
        raise Wrong("must not hold a query or a fragment")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Wrong("holds a character that no address has")
    _refuse_route(parts.path.rstrip("/"))
    return text.rstrip("/")


def _refuse_route(path: str) -> None:
    method = _METHOD.fullmatch(path)
    route = method[1] if method else max(filter(path.endswith, _ROUTES), key=len, default="")
    if route:
        shown = "/models/…" if method else route
        raise Wrong(f"is the address of one route: leave {shown} out, it is added to each request")


def base_urls(place: Place) -> tuple[str, ...]:
    """A list of addresses: the primary, then backups."""
    empty = "names no address: write the primary first, then its backups"
    return tuple(distinct(place, base_url, empty))


def limits(place: Place) -> dict[str, int]:
    """What the provider lets one key do; only the lines that are written."""
    return fields(place, LIMITS)


def keys(place: Place) -> tuple[KeyLine, ...]:
    """A list of keys; the ones without a name are called by their position, counted from 1."""
    items = place.items()
    if not items:
        raise Wrong("names no key: list secrets, or sections with a line `key:`")
    found: list[KeyLine] = []
    names: dict[str, int] = {}
    secrets: dict[Secret, int] = {}
    for index, item in enumerate(items):
        line = item.take(_key_line)
        if line is None:
            continue
        line = replace(line, name=line.name or str(index + 1))
        if names.setdefault(line.name, index) != index:
            item.complain(f"keys[{names[line.name]}] is called {line.name} too")
        if line.secret and secrets.setdefault(line.secret, index) != index:
            item.complain(f"is the same key as keys[{secrets[line.secret]}]")
        found.append(line)
    return tuple(found)


def _key_line(place: Place) -> KeyLine:
    if not place.is_section:
        return KeyLine(secret(place))
    values = fields(place, _KEY_READERS)
    if not {"key", "key_file"} & place.names():
        place.complain("needs a line `key:` or `key_file:`")
    own = {name: values.pop(name) for name in LIMITS if name in values}
    return KeyLine(values.pop("key", NO_SECRET), limits=own, **values)


def _key_name(place: Place) -> str:
    text = place.text()
    if not NAME.fullmatch(text):
        raise Wrong(WRONG_NAME)
    return text


def upstream_keys(lines: Sequence[KeyLine], common: Mapping[str, int]) -> tuple[UpstreamKey, ...]:
    """The keys that are not empty, with the limits of the upstream where they have none. Without
    any line there is one key all the same, and its secret is empty: nobody asks for it."""
    filled = [line for line in lines if line.secret] if lines else [KeyLine(name="1")]
    return tuple(
        UpstreamKey(line.name, line.secret, line.weight, KeyLimits(**{**common, **line.limits}))
        for line in filled
    )


def _proxy(text: str) -> Proxy | None:
    """`socks5://user:password@host:1080`, or http://; an empty text (`${PROXY:-}`) is none."""
    text = text.strip()
    if not text:
        return None
    wanted = "is not the address of a proxy such as http://host:3128 or socks5://host:1080"
    parts = _split(text, wanted)
    scheme = _PROXIES.get(parts.scheme)
    if scheme is None or not _PROXY_HOST.fullmatch(parts.hostname or ""):
        raise Wrong(wanted)
    if not parts.port:
        raise Wrong("names no port: a proxy is written with one, as in http://host:3128")
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise Wrong("holds more than the address of a proxy")
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    _check_login(username, password)
    return Proxy(scheme, parts.hostname or "", parts.port, username, Secret(password))


def _check_login(username: str, password: str) -> None:
    if password and not username:
        raise Wrong("has a password, but no user name")
    if ":" in username:
        raise Wrong("has a user name with a colon, which no proxy takes")
    if max(len(username.encode()), len(password.encode())) > _MAX_CREDENTIAL:
        raise Wrong(f"has a user name or password of more than {_MAX_CREDENTIAL} bytes")


def _split(text: str, otherwise: str) -> SplitResult:
    """The parts of an address with a host; reading its port is safe from here on."""
    try:
        parts = urlsplit(text)
        found = parts.hostname and parts.port != -1
    except ValueError:
        raise Wrong(otherwise) from None
    if not found:
        raise Wrong(otherwise)
    return parts


# It may hold a password, so that a file may hold it.
proxy = Hidden(_proxy)

LIMITS: Mapping[str, Reader] = {
    "rpm": whole(1, 10_000_000),
    "tpm": whole(1, 100_000_000_000),
    "concurrency": whole(1, 1_000_000),
}
_KEY_READERS: Mapping[str, Any] = {"key": secret, "name": _key_name, "weight": WEIGHT, **LIMITS}
