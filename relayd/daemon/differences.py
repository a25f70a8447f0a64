"""What a reload changed, by name, for the log: which upstreams, keys, groups, prices and settings.

Names are all that is told; a value may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Final

from relayd.config.config import Config
from relayd.model import UpstreamSpec

# What is told by the names of its members.
_BY_MEMBER: Final = frozenset({"upstreams", "groups", "prices"})


def differences(old: Config, new: Config) -> dict[str, list[str]]:
    """Names, by what happened to them: `upstreams_added`, `keys_changed`, `settings_changed` ..."""
    stay = {spec.name for spec in old.upstreams} & {spec.name for spec in new.upstreams}
    return {
        **_compared("upstreams", _upstreams(old), _upstreams(new)),
        **_compared("keys", _keys(old.upstreams, stay), _keys(new.upstreams, stay)),
        **_compared("groups", {g.name: g for g in old.groups}, {g.name: g for g in new.groups}),
        **_compared("prices", dict(old.prices), dict(new.prices)),
        **({"settings_changed": changed} if (changed := list(_settings(old, new))) else {}),
    }


def _upstreams(config: Config) -> dict[str, UpstreamSpec]:
    """Upstreams without their keys, which are told of by their own names."""
    return {spec.name: replace(spec, keys=()) for spec in config.upstreams}


def _keys(specs: Iterable[UpstreamSpec], among: set[str]) -> dict[str, object]:
    return {f"{s.name}/{key.name}": key for s in specs if s.name in among for key in s.keys}


def _compared(
    what: str, old: Mapping[str, object], new: Mapping[str, object]
) -> dict[str, list[str]]:
    found = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and old[name] != new[name]],
    }
    return {f"{what}_{how}": names for how, names in found.items() if names}


def _settings(old: object, new: object, prefix: str = "") -> Iterable[str]:
    """The names of the other settings that are not what they were, `limits.max_body`."""
    assert is_dataclass(old)
    for name in (field.name for field in fields(old) if prefix or field.name not in _BY_MEMBER):
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if is_dataclass(before) and type(before) is type(after):
            yield from _settings(before, after, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
