"""The `upstreams:` section: provider accounts, each checked against the table of dialects.

Strategy: one table says which reader takes which line; what no single line can show (a format that
the dialect does not speak, an address or a key that is missing) is checked on the section as a
whole. An upstream whose key comes out empty is not an error: the shipped config lists many
providers, and those whose variable is unset are left out, by name.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from relayd.config_values import (
    Reader,
    fields,
    file_path,
    is_one_of,
    record,
    seconds,
    secret,
    switch,
    whole,
)
from relayd.config_yaml import Place, Wrong
from relayd.model import FormatName, ModelRule, Secret, Timeouts, UpstreamSpec
from relayd.wire.dialects import DIALECTS

_UPSTREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MODEL_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,256}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,8000}")
# The connection's own business: a configured value could only break the framing of requests.
_OWN_HEADERS = frozenset(
    "connection content-length expect host keep-alive te trailer transfer-encoding upgrade".split()
)


@dataclass(frozen=True, slots=True)
class Upstreams:
    """What the section comes to: those to use, and the names of those without a key."""

    used: tuple[UpstreamSpec, ...] = ()
    left_out: tuple[str, ...] = ()


def upstreams(place: Place) -> Upstreams:
    """Read the whole section."""
    used: list[UpstreamSpec] = []
    left_out: list[str] = []
    for name, member in place.members().items():
        values = member.take(_upstream) or {}
        if not _UPSTREAM_NAME.fullmatch(name):
            member.complain("a name is made of letters, digits, - and _")
        if not values.pop("enabled", True):
            continue
        # A key line that comes out empty, because its variable is unset, is not a missing key line.
        if "key" in values and not values["key"]:
            left_out.append(name)
        else:
            used.append(_spec(name, values))
    return Upstreams(tuple(used), tuple(left_out))


def _upstream(place: Place) -> dict[str, Any]:
    values = fields(place, READERS)
    written = place.names()
    for required in ("dialect", "models"):
        if required not in written:
            place.complain(f"needs a line `{required}:`")
    if "dialect" in values:
        _check_dialect(place, values, written)
    return values


def _check_dialect(place: Place, values: Mapping[str, Any], written: Collection[str]) -> None:
    """What the dialect asks of the other lines. A server of one's own may ask for no key; a
    provider on the internet (its address begins with https) always does."""
    name, dialect = values["dialect"], DIALECTS[values["dialect"]]
    if "base_url" not in written:
        if not dialect.default_base_url:
            place.complain(f"needs a line `base_url:`: the dialect {name} has no fixed address")
        elif dialect.default_base_url.startswith("https:") and not {"key", "key_file"} & set(
            written
        ):
            place.complain("needs a line `key:` or `key_file:`")
    strange = [one for one in values.get("formats", ()) if one not in dialect.formats]
    if strange:
        speaks = ", ".join(dialect.formats)
        place.complain(
            f"formats: the dialect {name} does not speak {', '.join(strange)}, only {speaks}"
        )


def _spec(name: str, values: dict[str, Any]) -> UpstreamSpec:
    """The record; where a value was wrong, a stand-in, for the whole is refused in the end."""
    dialect = DIALECTS.get(values.get("dialect", ""))
    stand_ins: dict[str, Any] = {
        "dialect": "",
        "base_url": dialect.default_base_url if dialect else "",
        "key": Secret(""),
        "models": (),
        "formats": dialect.formats if dialect else (),
    }
    return UpstreamSpec(name=name, **{**stand_ins, **values})


def base_url(place: Place) -> str:
    """An http or https address, without a slash at its end. Messages do not repeat it: people
    write credentials into addresses."""
    text = place.text()
    try:
        parts = urlsplit(text)
        port_is_wrong = parts.port == 0
    except ValueError:
        raise Wrong("is not an address such as https://host/v1") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port_is_wrong:
        raise Wrong("is not an address such as https://host/v1")
    if parts.username is not None or parts.password is not None:
        raise Wrong("must not hold credentials: they belong into key or headers")
    if "?" in text or "#" in text:
        raise Wrong("must not hold a query or a fragment")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Wrong("holds a character that no address has")
    return text.rstrip("/")


def models(place: Place) -> tuple[ModelRule, ...]:
    """A list of names and wildcards, or a section `public name: the upstream's name`, where
    `openai/*: '*'` takes over what the wildcard stood for."""
    rules: dict[str, ModelRule] = {}
    named = place.members().items() if not place.is_list else [(None, i) for i in place.items()]
    for pattern, member in named:
        rule = member.take(_listed if pattern is None else _renamed(pattern))
        if rule and rule.pattern in rules:
            member.complain(f"{rule.pattern!r} stands here twice")
        elif rule:
            rules[rule.pattern] = rule
    if not named:
        raise Wrong("names no model: list names and wildcards such as gpt-*, or * for any")
    return tuple(rules.values())


def _listed(place: Place) -> ModelRule:
    return ModelRule(_model_name(place.text()))


def _renamed(pattern: str) -> Reader:
    def read(place: Place) -> ModelRule:
        target = _model_name(place.text())
        if target.count("*") > pattern.count("*"):
            raise Wrong("has more wildcards than the public name has to fill them")
        return ModelRule(_model_name(pattern), None if target == pattern else target)

    return read


def _model_name(text: str) -> str:
    if not _MODEL_NAME.fullmatch(text):
        raise Wrong("is not the name of a model (1 to 256 characters, no spaces)")
    return text


def formats(place: Place) -> tuple[FormatName, ...]:
    """A list of formats that the upstream speaks natively."""
    read = is_one_of(("chat", "responses", "messages", "gemini"))
    found = [item.take(read) for item in place.items()]
    if not found:
        raise Wrong("names no format")
    return tuple(dict.fromkeys(name for name in found if name))  # type: ignore[misc]


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


def certificates(place: Place) -> str:
    """A file of certificates (PEM) to trust instead of the machine's own."""
    path = file_path(place)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise Wrong(f"the file {place.written} holds no certificate in PEM form") from None
    except OSError as error:
        raise Wrong(f"the file {place.written} cannot be read: {error.strerror}") from None
    return str(path)


# One line of an upstream each, beside `enabled`, which decides and is not kept.
READERS: Mapping[str, Reader] = {
    "dialect": is_one_of(DIALECTS),
    "base_url": base_url,
    "key": secret,
    "models": models,
    "formats": formats,
    "weight": whole(1, 1_000_000),
    "timeouts": record(
        Timeouts, dict.fromkeys(("connect", "first_byte", "stall", "total"), seconds())
    ),
    "max_connections": whole(1, 1_000_000),
    "idle_timeout": seconds(),
    "ca_file": certificates,
    "headers": headers,
    "enabled": switch,
}
