"""What a reload says that it changed: names, never values."""

from __future__ import annotations

from pathlib import Path

from relayd.config.config import Config, load
from relayd.daemon.differences import differences

BEFORE = """\
limits: {max_body: 1MiB}
metrics: {token: metrics-t0ken-one}
upstreams:
  stays:
    {dialect: openai, keys: [{name: old, key: sk-old-secret}, {name: x, key: sk-1}], models: [a]}
  gone: {dialect: openai, key: sk-2, models: [b]}
groups: {team: {models: [a]}, left: {}}
prices: {a: {input: 1, output: 2}, b: {input: 1, output: 2}}
"""
AFTER = """\
limits: {max_body: 2MiB}
metrics: {token: metrics-t0ken-two}
logs: {level: debug, slow: 3}
drain_timeout: 3s
upstreams:
  stays:
    {dialect: openai, keys: [{name: x, key: sk-x-secret}, {name: new, key: sk-3}], models: [a, c]}
  came: {dialect: openai, key: sk-4, models: [b]}
groups: {team: {models: [a, c]}, new: {}}
prices: {a: {input: 1, output: 3}, c: {input: 1, output: 2}}
"""


def read(folder: Path, text: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(text)
    return load(path, {})


def test_a_reload_tells_by_name_what_came_went_and_changed(tmp_path: Path) -> None:
    before, after = read(tmp_path, BEFORE), read(tmp_path, AFTER)
    assert differences(before, after) == {
        "upstreams_added": ["came"],
        "upstreams_removed": ["gone"],
        "upstreams_changed": ["stays"],
        "keys_added": ["stays/new"],
        "keys_removed": ["stays/old"],
        "keys_changed": ["stays/x"],
        "groups_added": ["new"],
        "groups_removed": ["left"],
        "groups_changed": ["team"],
        "prices_added": ["c"],
        "prices_removed": ["b"],
        "prices_changed": ["a"],
        "settings_changed": [
            "metrics.token",
            "logs.level",
            "logs.slow",
            "limits.max_body",
            "drain_timeout",
        ],
    }


def test_the_same_again_is_no_change(tmp_path: Path) -> None:
    assert differences(read(tmp_path, BEFORE), read(tmp_path, BEFORE)) == {}


def test_no_value_is_told(tmp_path: Path) -> None:
    told = repr(differences(read(tmp_path, BEFORE), read(tmp_path, AFTER)))
    assert "secret" not in told and "t0ken" not in told and "MiB" not in told
