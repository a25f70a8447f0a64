"""The upstreams of a configuration: keys, models, addresses, and what their dialect allows."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from relayd.config_upstreams import Upstreams, upstreams
from relayd.config_yaml import Source, root
from relayd.model import ModelRule, Secret, Timeouts, UpstreamSpec
from relayd.wire.dialects import DIALECTS

FULL = """
up:
  dialect: openai-compatible
  base_url: https://host:8443/v1/
  key: sk-1
  models: {fast: model-1, model-2: model-2, 'any-*': model-3}
  formats: [chat]
  weight: 3
  timeouts: {connect: 1s, first_byte: 2s, stall: 3s, total: 4s}
  max_connections: 5
  idle_timeout: 6s
  headers: {X-Team: research, x-empty: ''}
  enabled: yes
"""


def read(
    text: str, environ: Mapping[str, str] | None = None, folder: Path = Path("/etc")
) -> tuple[Upstreams, list[str]]:
    """What a section comes to, and the problems in it."""
    source = Source(folder, environ or {})
    found = upstreams(root(text, source))
    return found, [f"{problem.path}: {problem.message}" for problem in source.problems]


def one(**lines: str) -> str:
    """A section with one OpenAI upstream; lines replace or add to the needed ones."""
    needed = {"dialect": "openai", "key": "sk-1", "models": "[x]"} | lines
    return "up:\n" + "".join(f"  {name}: {text}\n" for name, text in needed.items() if text)


def problems(**lines: str) -> list[str]:
    return read(one(**lines))[1]


def test_every_line_reaches_its_field() -> None:
    found, faults = read(FULL)

    assert faults == []
    assert found.used == (
        UpstreamSpec(
            name="up",
            dialect="openai-compatible",
            base_url="https://host:8443/v1",
            key=Secret("sk-1"),
            models=(
                ModelRule("fast", "model-1"),
                ModelRule("model-2"),
                ModelRule("any-*", "model-3"),
            ),
            formats=("chat",),
            weight=3,
            timeouts=Timeouts(1.0, 2.0, 3.0, 4.0),
            max_connections=5,
            idle_timeout=6.0,
            headers=(("X-Team", "research"), ("x-empty", "")),
        ),
    )


@pytest.mark.parametrize("dialect", [name for name, d in DIALECTS.items() if d.default_base_url])
def test_a_known_provider_needs_a_key_and_models_alone(dialect: str) -> None:
    found, faults = read(one(dialect=dialect))

    assert faults == []
    assert found.used[0].base_url == DIALECTS[dialect].default_base_url
    assert found.used[0].formats == DIALECTS[dialect].formats


def test_an_upstream_whose_key_comes_out_empty_is_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for lines in (
        {"key": "${KEY:-}"},
        {"key": "''"},
        {"key": "${KEY}"},
        {"key": "", "key_file": "${FILE:-}"},
        {"key": "", "key_file": "empty"},
    ):
        found, faults = read(one(**lines), {"KEY": ""}, tmp_path)

        assert (found, faults) == (Upstreams(left_out=("up",)), [])


def test_an_upstream_that_is_left_out_or_disabled_is_checked_all_the_same() -> None:
    assert problems(key="''", weight="x") == ["up.weight: 'x' is not a whole number"]
    assert problems(enabled="false", weight="x") == ["up.weight: 'x' is not a whole number"]


def test_a_disabled_upstream_is_not_used_and_lacks_nothing() -> None:
    assert read(one(enabled="false")) == (Upstreams(), [])


def test_a_key_may_be_missing_where_the_address_is_ones_own() -> None:
    found, faults = read(one(dialect="openai-compatible", base_url="http://127.0.0.1:1", key=""))

    assert faults == []
    assert found.used[0].key == Secret("")
    assert problems(dialect="ollama", key="") == []
    assert problems(key="") == ["up: needs a line `key:` or `key_file:`"]


def test_what_is_missing_is_named() -> None:
    assert read("up: {}")[1] == ["up: needs a line `dialect:`", "up: needs a line `models:`"]
    assert problems(dialect="openai-compatible") == [
        "up: needs a line `base_url:`: the dialect openai-compatible has no fixed address"
    ]


def test_a_format_that_the_dialect_does_not_speak_is_refused() -> None:
    assert problems(dialect="anthropic", formats="[messages, gemini]") == [
        "up: formats: the dialect anthropic does not speak gemini, only messages"
    ]
    assert problems(formats="[chats]") == [
        "up.formats[0]: 'chats' is an unknown name; did you mean 'chat'?"
    ]
    assert problems(formats="[]") == ["up.formats: names no format"]


@pytest.mark.parametrize("name", ["a b", "-a", "ä", "a.b", "x" * 65])
def test_the_name_is_fit_for_logs_and_metrics(name: str) -> None:
    assert "a name is made of letters" in read(one().replace("up", name, 1))[1][0]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host", "is not an address such as https://host/v1"),
        ("host/v1", "is not an address such as https://host/v1"),
        ("https://", "is not an address such as https://host/v1"),
        ("https://[::1", "is not an address such as https://host/v1"),
        ("https://host:99999", "is not an address such as https://host/v1"),
        ("https://host:0", "is not an address such as https://host/v1"),
        ("https://user@host", "must not hold credentials: they belong into key or headers"),
        ("https://u:p@host", "must not hold credentials: they belong into key or headers"),
        ("https://@host", "must not hold credentials: they belong into key or headers"),
        ("https://host/v1?key=1", "must not hold a query or a fragment"),
        ("https://host/v1?", "must not hold a query or a fragment"),
        ("'https://host/v1#x'", "must not hold a query or a fragment"),
        ("https://host/a b", "holds a character that no address has"),
        ("https://hóst", "holds a character that no address has"),
        ("'https://host/\\x0d\\x0ax: y'", None),
        ('"https://host/\\r\\nx: y"', "holds a character that no address has"),
    ],
)
def test_a_base_url_is_an_address_and_nothing_else(url: str, message: str | None) -> None:
    expected = ["holds a character that no address has"] if message is None else [message]

    assert problems(base_url=url) == [f"up.base_url: {text}" for text in expected]


def test_models_are_names_wildcards_and_renamings() -> None:
    found, faults = read(one(models="[a, 'b-*', '*']"))

    assert faults == []
    assert found.used[0].models == (ModelRule("a"), ModelRule("b-*"), ModelRule("*"))
    assert problems(models="[]")[0].startswith("up.models: names no model")
    assert problems(models="{}")[0].startswith("up.models: names no model")
    assert problems(models="[a, a]") == ["up.models[1]: 'a' stands here twice"]
    assert read(one(models="{'openai/*': '*'}"))[0].used[0].models == (ModelRule("openai/*", "*"),)
    assert problems(models="{a: 'b*'}")[0].startswith("up.models.a: has more wildcards")
    assert "is not the name of a model" in problems(models="['a b']")[0]
    assert "is not the name of a model" in problems(models="{'': x}")[0]
    assert problems(models="gpt-*")[0].startswith("up.models: expected a section")


def test_headers_cannot_touch_the_framing_of_requests() -> None:
    for name in ("Host", "Content-Length", "Transfer-Encoding", "Connection"):
        assert problems(headers=f"{{{name}: x}}") == [
            f"up.headers.{name}: belongs to the connection and cannot be set"
        ]
    assert problems(headers="{'x y': z}") == ["up.headers.x y: is not the name of a header"]
    assert "tell upper from lower" in problems(headers="{x-a: 1, X-A: 2}")[0]
    assert "cannot stand in a header" in problems(headers='{x-a: "1\\r\\nx-b: 2"}')[0]


def test_certificates_are_read_when_the_config_is(tmp_path: Path) -> None:
    (tmp_path / "not.pem").write_text("hello")
    trusted = ssl.get_default_verify_paths().cafile

    for name, message in {
        "none.pem": "the file none.pem cannot be read: No such file or directory",
        "not.pem": "the file not.pem holds no certificate in PEM form",
    }.items():
        assert read(one(ca_file=name), folder=tmp_path)[1] == [f"up.ca_file: {message}"]
    if trusted:
        assert read(one(ca_file=trusted))[0].used[0].ca_file == trusted
