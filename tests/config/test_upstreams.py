"""The upstreams of a configuration: keys, models, addresses, and what their dialect allows."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from relayd.config.document import Source, root
from relayd.config.upstreams import Upstreams, upstreams
from relayd.model import (
    Edits,
    KeyLimits,
    ModelRule,
    ProbeRules,
    Proxy,
    Secret,
    Timeouts,
    UpstreamKey,
    UpstreamSpec,
)
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
  tier: 2
  limits: {rpm: 7, tpm: 8, concurrency: 9}
  proxy: http://10.0.0.9:3128
  remove_headers: [User-Agent]
  params: {set: {a.b: 1}, default: {c: [x]}, remove: [d]}
  status_map: {404: 503, 500: 400}
  probe: {interval: 5s, model: model-1}
  translate: no
  lenient: yes
  shared_state: yes
  capabilities: {'*': {prefill: no}}
  passthrough: [/v1/files/, /v1/batches, /v1/files]
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
            base_urls=("https://host:8443/v1",),
            keys=(UpstreamKey("1", Secret("sk-1"), 1, KeyLimits(7, 8, 9)),),
            models=(
                ModelRule("fast", "model-1"),
                ModelRule("model-2"),
                ModelRule("any-*", "model-3"),
            ),
            formats=("chat",),
            weight=3,
            tier=2,
            timeouts=Timeouts(1.0, 2.0, 3.0, 4.0),
            max_connections=5,
            idle_timeout=6.0,
            headers=(("X-Team", "research"), ("x-empty", "")),
            proxy=Proxy("http", "10.0.0.9", 3128),
            edits=Edits(
                remove_headers=("user-agent",),
                set_params=(("a.b", b"1"),),
                default_params=(("c", b'["x"]'),),
                remove_params=("d",),
                statuses=((404, 503), (500, 400)),
            ),
            probe=ProbeRules(5.0, "model-1"),
            translate=False,
            lenient=True,
            shared_state=True,
            capabilities={"*": {"prefill": False}},
            passthrough=("/v1/files", "/v1/batches"),
        ),
    )


@pytest.mark.parametrize("dialect", [name for name, d in DIALECTS.items() if d.default_base_url])
def test_a_known_provider_needs_a_key_and_models_alone(dialect: str) -> None:
    found, faults = read(one(dialect=dialect))

    assert faults == []
    assert found.used[0].base_urls == (DIALECTS[dialect].default_base_url,)
    assert found.used[0].keys == (UpstreamKey("1", Secret("sk-1")),)
    assert found.used[0].formats == DIALECTS[dialect].formats


def test_an_upstream_whose_key_comes_out_empty_is_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for lines in (
        {"key": "${KEY:-}"},
        {"key": "''"},
        {"key": "${KEY}"},
        {"key": "", "key_file": "${FILE:-}"},
        {"key": "", "key_file": "empty"},
        {"key": "", "keys": "['', '${KEY}', {key_file: empty}]"},
    ):
        found, faults = read(one(**lines), {"KEY": ""}, tmp_path)

        assert (found.used, found.left_out, faults) == ((), ("up",), [])
        assert [(spec.name, spec.keys) for spec in found.unused] == [("up", ())]


def test_a_single_key_that_comes_out_empty_is_left_out_by_its_name() -> None:
    found, faults = read(one(key="", keys="['', {key: sk-2}, {key: '', name: third}]"))

    assert faults == []
    assert [key.name for key in found.used[0].keys] == ["2"]
    assert found.left_out == ("up/1", "up/third")


def test_a_key_without_limits_of_its_own_has_the_upstreams() -> None:
    found, faults = read(one(key="", keys="[a, {key: b, rpm: 1}]", limits="{rpm: 5, tpm: 6}"))

    assert faults == []
    assert [key.limits for key in found.used[0].keys] == [KeyLimits(5, 6), KeyLimits(1, 6)]


def test_backups_follow_the_primary_address() -> None:
    found, faults = read(one(base_urls="['https://a/v1/', 'https://b']"))

    assert faults == []
    assert found.used[0].base_urls == ("https://a/v1", "https://b")


def test_of_two_lines_for_one_thing_one_is_too_much() -> None:
    assert problems(keys="[sk-2]", base_url="https://a", base_urls="['https://b']") == [
        "up: base_url and base_urls are both given: keep one of them",
        "up: key and keys are both given: keep one of them",
    ]
    assert problems(key="", key_file="${F:-}", keys="[sk-2]") == [
        "up: key_file and keys are both given: keep one of them"
    ]
    assert problems(headers="{X-A: b}", remove_headers="[x-a, x-b]") == [
        "up: remove_headers: X-A is set under headers, which replaces others"
    ]


def test_a_models_timeouts_start_from_the_upstreams_wherever_they_stand() -> None:
    lines = {"models": "{m: {timeouts: {total: 9s}}, n: n}", "timeouts": "{connect: 1s}"}

    rules = read(one(**lines))[0].used[0].models

    assert rules == (ModelRule("m", timeouts=Timeouts(connect=1.0, total=9.0)), ModelRule("n"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"weight": "0"}, "up.weight: must be between 1 and 1000000"),
        ({"weight": "-1"}, "up.weight: must be between 1 and 1000000"),
        ({"tier": "0"}, "up.tier: must be between 1 and 1000"),
        ({"limits": "{rpm: 0}"}, "up.limits.rpm: must be between 1 and 10000000"),
        ({"limits": "{tpm: -1}"}, "up.limits.tpm: must be between 1 and 100000000000"),
        ({"limits": "{concurrency: 0}"}, "up.limits.concurrency: must be between 1 and 1000000"),
        ({"limits": "{rps: 1}"}, "up.limits.rps: unknown name; did you mean 'rpm'?"),
        ({"limits": "5"}, "up.limits: expected a section of `name: value` lines, found a number"),
        ({"probe": "{interval: 0}"}, "up.probe.interval: must be between 0.1 and 86400 seconds"),
        ({"probe": "{model: 'x*'}"}, "up.probe.model: is a wildcard: name one model"),
        ({"probe": "soon"}, "up.probe: 'soon' is not true or false"),
        ({"probe": "''"}, "up.probe: '' is not true or false"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(lines: dict[str, str], message: str) -> None:
    assert problems(**lines) == [message]


def test_a_probe_is_on_off_or_a_section() -> None:
    probes = {
        "on": ProbeRules(),
        "off": None,
        "{}": ProbeRules(),
        "{model: m}": ProbeRules(30, "m"),
    }

    for text, expected in probes.items():
        assert read(one(probe=text))[0].used[0].probe == expected


def test_an_upstream_that_is_left_out_or_disabled_is_checked_all_the_same() -> None:
    assert problems(key="''", weight="x") == ["up.weight: 'x' is not a whole number"]
    assert problems(enabled="false", weight="x") == ["up.weight: 'x' is not a whole number"]


def test_a_disabled_upstream_is_not_used_and_lacks_nothing() -> None:
    found, faults = read(one(enabled="false"))

    assert (found.used, found.left_out, faults) == ((), (), [])
    assert [spec.name for spec in found.unused] == ["up"]
    assert read("") == (Upstreams(), [])


def test_a_key_may_be_missing_where_the_address_is_ones_own() -> None:
    found, faults = read(one(dialect="openai-compatible", base_url="http://127.0.0.1:1", key=""))

    assert faults == []
    assert found.used[0].keys == (UpstreamKey("1", Secret("")),)
    assert problems(dialect="ollama", key="") == []
    assert problems(key="", base_urls="['http://a', 'http://b']") == []
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


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("/", "is not a path such as /v1/files"),
        ("v1/files", "is not a path such as /v1/files"),
        ("/v1/../x", "is not a plain path"),
        ("/v1//x", "is not a plain path"),
        ("/v1/%2e%2e", "is not a plain path"),
    ],
)
def test_a_prefix_that_is_passed_through_is_a_plain_path(prefix: str, why: str) -> None:
    line = f"up: {{dialect: openai, key: k, models: [m], passthrough: ['{prefix}']}}"
    _, problems = read(line)
    assert [problem.partition(": ")[2] for problem in problems] == [why]
