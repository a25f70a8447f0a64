"""The `upstreams:` section: provider accounts, each checked against the table of dialects.

Strategy: one table says which reader takes which line; what no single line can show (a format that
the dialect does not speak, an address or a key that is missing, two lines that exclude each other)
is checked on the section as a whole. A key that comes out empty is not an error: the shipped config
lists many providers, and those whose variable is unset are left out, by name.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from relayd.config.capabilities import capabilities
from relayd.config.document import Place, Wrong
from relayd.config.edits import headers, params, remove_headers, status_map
from relayd.config.keys import (
    NAME,
    WEIGHT,
    WRONG_NAME,
    KeyLine,
    base_url,
    base_urls,
    keys,
    limits,
    proxy,
    upstream_keys,
)
from relayd.config.models import model_name, models, rules, timeouts
from relayd.config.values import (
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
from relayd.errors import BadCall
from relayd.model import (
    Edits,
    FormatName,
    ProbeRules,
    Secret,
    Timeouts,
    UpstreamSpec,
)
from relayd.wire.dialects import DIALECTS, EVERY_FORMAT
from relayd.wire.passages import check_path

# Two ways to say one thing.
_EXCLUSIVE = (("base_url", "base_urls"), ("key", "keys"), ("key_file", "keys"))


@dataclass(frozen=True, slots=True)
class Upstreams:
    """What the section comes to.

    Arguments:
        used: those to use.
        left_out: names of those without a key, and `name/key` of single keys that are empty.
        unused: those that are left out or disabled; their models are known all the same.
    """

    used: tuple[UpstreamSpec, ...] = ()
    left_out: tuple[str, ...] = ()
    unused: tuple[UpstreamSpec, ...] = ()


def upstreams(place: Place) -> Upstreams:
    """Read the whole section."""
    used: list[UpstreamSpec] = []
    unused: list[UpstreamSpec] = []
    left_out: list[str] = []
    for name, member in place.members().items():
        values = member.take(_upstream) or {}
        if not NAME.fullmatch(name):
            member.complain(WRONG_NAME)
        enabled = values.pop("enabled", True)
        lines = _key_lines(values)
        spec = _spec(name, values, lines)
        # A key line that comes out empty, because its variable is unset, is not a missing key line.
        empty = [line.name for line in lines if not line.secret]
        if enabled and spec.keys:
            left_out += [f"{name}/{key}" for key in empty]
        elif enabled:
            left_out.append(name)
        (used if enabled and spec.keys else unused).append(spec)
    return Upstreams(tuple(used), tuple(left_out), tuple(unused))


def _upstream(place: Place) -> dict[str, Any]:
    values = fields(place, READERS)
    written = place.names()
    for required in ("dialect", "models"):
        if required not in written:
            place.complain(f"needs a line `{required}:`")
    for one, other in _EXCLUSIVE:
        if one in written and other in written:
            place.complain(f"{one} and {other} are both given: keep one of them")
    for name, _ in values.get("headers", ()):
        if name.lower() in values.get("remove_headers", ()):
            place.complain(f"remove_headers: {name} is set under headers, which replaces others")
    if "dialect" in values:
        _check_dialect(place, values, written)
    return values


def _check_dialect(place: Place, values: Mapping[str, Any], written: Collection[str]) -> None:
    """What the dialect asks of the other lines. A server of one's own may ask for no key; a
    provider on the internet (its address begins with https) always does."""
    name, dialect = values["dialect"], DIALECTS[values["dialect"]]
    if not {"base_url", "base_urls"} & set(written):
        asks_key = dialect.default_base_url.startswith("https:")
        if not dialect.default_base_url:
            place.complain(f"needs a line `base_url:`: the dialect {name} has no fixed address")
        elif asks_key and not {"key", "key_file", "keys"} & set(written):
            place.complain("needs a line `key:` or `key_file:`")
    strange = [one for one in values.get("formats", ()) if one not in dialect.formats]
    if strange:
        speaks = ", ".join(dialect.formats)
        place.complain(
            f"formats: the dialect {name} does not speak {', '.join(strange)}, only {speaks}"
        )


def _key_lines(values: dict[str, Any]) -> tuple[KeyLine, ...]:
    """The keys as written, whichever way; none where no line speaks of keys."""
    single: Secret | None = values.pop("key", None)
    several: tuple[KeyLine, ...] = values.pop("keys", ())
    return several or (() if single is None else (KeyLine(single, name="1"),))


def _spec(name: str, values: dict[str, Any], lines: tuple[KeyLine, ...]) -> UpstreamSpec:
    """The record; where a value was wrong, a stand-in, for the whole is refused in the end."""
    dialect = DIALECTS.get(values.get("dialect", ""))
    common = values.pop("limits", {})
    single = values.pop("base_url", dialect.default_base_url if dialect else "")
    computed = {
        "base_urls": values.pop("base_urls", (single,)),
        "keys": upstream_keys(lines, common),
        "models": rules(values.pop("models", ()), values.get("timeouts", Timeouts())),
        "edits": Edits(
            remove_headers=values.pop("remove_headers", ()),
            statuses=values.pop("status_map", ()),
            **values.pop("params", {}),
        ),
    }
    stand_ins: dict[str, Any] = {"dialect": "", "formats": dialect.formats if dialect else ()}
    return UpstreamSpec(name=name, **{**stand_ins, **values, **computed})


def formats(place: Place) -> tuple[FormatName, ...]:
    """A list of formats that the upstream speaks natively."""
    read = is_one_of(EVERY_FORMAT)
    found = [item.take(read) for item in place.items()]
    if not found:
        raise Wrong("names no format")
    return tuple(dict.fromkeys(name for name in found if name))


def prefixes(place: Place) -> tuple[str, ...]:
    """A list of paths: what lies at or below them is passed on as it is."""
    found = [item.take(_prefix) for item in place.items()]
    return tuple(dict.fromkeys(prefix for prefix in found if prefix))


def _prefix(place: Place) -> str:
    path = place.text().rstrip("/")
    try:
        check_path(path)
    except BadCall:
        raise Wrong("is not a plain path") from None
    if not path.startswith("/") or len(path) < 2:
        raise Wrong("is not a path such as /v1/files")
    return path


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


def probe(place: Place) -> ProbeRules | None:
    """`on`, `off`, or a section that says more."""
    if place.is_section:
        return _probe_rules(place)
    return ProbeRules() if switch(place) else None


def _probe_model(place: Place) -> str:
    name = model_name(place.text())
    if "*" in name:
        raise Wrong("is a wildcard: name one model")
    return name


_probe_rules = record(ProbeRules, {"interval": seconds(0.1, 86400.0), "model": _probe_model})

# One line of an upstream each, beside `enabled`, which decides and is not kept.
READERS: Mapping[str, Reader] = {
    "dialect": is_one_of(DIALECTS),
    "base_url": base_url,
    "base_urls": base_urls,
    "key": secret,
    "keys": keys,
    "limits": limits,
    "models": models,
    "formats": formats,
    "weight": WEIGHT,
    "tier": whole(1, 1000),
    "timeouts": timeouts,
    "max_connections": whole(1, 1_000_000),
    "idle_timeout": seconds(),
    "ca_file": certificates,
    "proxy": proxy,
    "headers": headers,
    "remove_headers": remove_headers,
    "params": params,
    "status_map": status_map,
    "probe": probe,
    "translate": switch,
    "lenient": switch,
    "shared_state": switch,
    "capabilities": capabilities,
    "passthrough": prefixes,
    "enabled": switch,
}
