"""Whole configurations: defaults, what is read, what is left out, and every problem at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd import accounts, model, routing
from relayd.config.config import (
    Address,
    AdminConfig,
    Config,
    ConfigProblems,
    LedgerConfig,
    Limits,
    MetricsConfig,
    load,
    load_database,
)
from relayd.config.defaults import ChatDefaults
from relayd.config.keys import LIMITS
from relayd.config.upstreams import READERS
from relayd.money import DOLLAR
from relayd.policy.prices import Price, PriceLine, Rates, Units
from relayd.wire.capabilities import FIELDS
from relayd.wire.dialects import DIALECTS
from relayd.wire.setting import Fetching, Rules, Translating

Load = Callable[..., Config]
SHIPPED = Path(__file__).parents[2] / "config.yaml"
ONE_UPSTREAM = "upstreams: {up: {dialect: openai, key: sk-1, models: ['*']}}\n"
# What the section `groups` shows where the default is none.
SHOWN_GROUP = accounts.Group(
    "default",
    limits=accounts.Limits(600, 1_000_000, 50),
    caps=accounts.Caps(5 * DOLLAR, 100 * DOLLAR, 1000 * DOLLAR),
    lenient=False,
)
# What the section `capabilities` shows, of a model that has no row of its own.
# Files that do not exist here, and options whose default is to be absent.
ABSENT = (
    "token_file: metrics-token",
    "token_file: admin-token",
    "proxy_file: proxy-address",
    "base_url: http://127.0.0.1:8000/v1",
    "key_file: /run/secrets/local",
    "ca_file: own-ca.pem",
    "listen: 127.0.0.1:9090",
    "prices_file: prices.json",
    "spool: /var/tmp",
)
SHOWN_CAPABILITY = {
    "context": 200_000,
    "max_output": 32_000,
    "default_output": 8192,
    "endpoints": ("chat",),
    "tasks": ("chat",),
    "tools_endpoint": "chat",
    "thinking": ("enabled", "adaptive", "disabled"),
    "always_thinks": False,
    "disabled_up_to": "high",
    "efforts": ("low", "medium", "high"),
    "default_effort": "medium",
    "budgets": (1024, 32_768),
    "shows_thinking": False,
    "sampling": "yes",
    "penalties": True,
    "logprobs": True,
    "prefill": True,
    "mid_system": False,
    "forced_tool": "yes",
    "native_schema": True,
    "strict_tools": True,
    "custom_tools": False,
    "hosted_with_functions": True,
    "schema_with_functions": True,
    "call_ids": True,
    "signatures": False,
    "cache_marks": 0,
    "inputs": ("text", "image", "file"),
    "outputs": ("text",),
    "aspects": ("1:1", "16:9"),
    "picture_sizes": ("1K", "2K"),
    "image_urls": True,
    "result_media": True,
    "max_choices": 1,
    "max_stop": 4,
    "output_field": "max_tokens",
}
# What the section `prices` shows of one model; its lines with a default show that.
SHOWN_RATES = Rates.of({"input": 1_250_000, "output": 10_000_000, "cache_read": 125_000})
# `uncommented` knows no digits in names: the rates of cache writes are not switched on, and follow.
SHOWN_TIER = SHOWN_RATES._replace(
    input=2_500_000, output=15_000_000, cache_write_5m=2_500_000, cache_write_1h=2_500_000
)
SHOWN_UNITS = Units(DOLLAR * 4 // 100, DOLLAR * 6 // 1000, 15_000_000, DOLLAR * 2 // 1000)
SHOWN_PRICE = Price(SHOWN_RATES, [(200_000, SHOWN_TIER)], DOLLAR // 100, SHOWN_UNITS)


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Writes a config and loads it, in a folder of its own."""

    def read(text: str, environ: Mapping[str, str] | None = None) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load(path, environ or {})

    return read


def problems_of(read: Load, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The problems of a config that must not load, as printed."""
    with pytest.raises(ConfigProblems) as caught:
        read(text, environ)
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_file_is_the_defaults_with_the_demo_provider(read: Load, tmp_path: Path) -> None:
    config = read("")

    assert config == Config(database=tmp_path / "relayd.db")
    assert config.listen == (Address("127.0.0.1", 8080),)
    assert config.demo_answers


def test_a_section_with_every_line_commented_out_is_its_defaults(read: Load) -> None:
    config = read("limits:\n#  max_body: 1\nmetrics:\nledger:\nupstreams:\n")

    assert (config.limits, config.metrics) == (Limits(), MetricsConfig())


def test_every_value_reaches_its_field(read: Load, tmp_path: Path) -> None:
    config = read(
        """
        listen: ['[::1]:8080', ':80']
        database: data/log.db
        demo: off
        keepalive_interval: 500ms
        drain_timeout: 0
        keys_poll_interval: 1s
        translation: {lenient: on, citations: off}
        capabilities: {x: {context: 1}}
        metrics: {listen: 'localhost:9090', token: hush-hush-hush-h}
        admin: {token: boss-of-all-bosses}
        routing: {strategy: fastest, models: {x: {hedge: on}}}
        upstreams: {up: {dialect: ollama, models: [x], enabled: no}}
        limits: {max_body: 1MiB, max_upload: 2MiB, max_spooled: 1GiB, spool: /,
                 max_header: 8KiB, header_timeout: 1, body_timeout: 2m,
                 write_timeout: 1h, idle_timeout: 1d, max_connections: 7}
        ledger: {interval: 50ms, batch: 2, bound: 1_000}
        """
    )

    assert config == Config(
        listen=(Address("::1", 8080), Address("", 80)),
        database=tmp_path / "data/log.db",
        demo="off",
        keepalive_interval=0.5,
        drain_timeout=0.0,
        keys_poll_interval=1.0,
        translation=Translating(lenient=True, rules=Rules(citations=False)),
        capabilities={"x": {"context": 1}},
        metrics=MetricsConfig(
            listen=Address("localhost", 9090), token=model.Secret("hush-hush-hush-h")
        ),
        admin=AdminConfig(token=model.Secret("boss-of-all-bosses")),
        routing=routing.Routing(
            strategy="fastest", models=(routing.ModelRouting("x", hedge=True),)
        ),
        limits=Limits(
            max_body=2**20,
            max_upload=2**21,
            max_spooled=2**30,
            spool=Path("/"),
            max_header=8192,
            header_timeout=1.0,
            body_timeout=120.0,
            write_timeout=3600.0,
            idle_timeout=86400.0,
            max_connections=7,
        ),
        ledger=LedgerConfig(interval=0.05, batch=2, bound=1000),
    )


def test_all_problems_are_listed_at_once_each_with_path_and_line(read: Load) -> None:
    text = """\
listen: 127.0.0.1
limts: {}
upstreams:
  openai:
    dialect: opnai
    key: ${NOPE}
    models: []
    timeouts:
      stall: soon
demo: maybe
"""

    assert problems_of(read, text) == [
        "line 1: listen: '127.0.0.1' is not an address such as 127.0.0.1:8080 or '[::1]:8080'",
        "line 2: limts: unknown name; did you mean 'limits'?",
        "line 5: upstreams.openai.dialect: 'opnai' is an unknown name; did you mean 'openai'?",
        "line 6: upstreams.openai.key: the environment variable NOPE is not set",
        "line 7: upstreams.openai.models: names no model: "
        "list names and wildcards such as gpt-*, or * for any",
        "line 9: upstreams.openai.timeouts.stall: "
        "'soon' is not a duration such as 500ms, 10s, 5m or 1h",
        "line 10: demo: 'maybe' is not one of auto, on, off",
    ]


def test_what_routing_says_of_models_is_held_against_the_upstreams(read: Load) -> None:
    text = """\
upstreams:
  one: {dialect: anthropic, key: sk-1, models: [m-1, m-2]}
  two: {dialect: gemini, key: '', models: [g-1]}
  three: {dialect: anthropic, key: sk-3, enabled: off, models: [m-3]}
  wrong: {dialect: ollama, models: [o-1], weight: 0}
translation: {enabled: off}
routing:
  models:
    m-1:
      fallbacks: [m-2, m-3, g-1, m-4]
    m-5*: {hedge: on}
"""

    assert problems_of(read, text) == [
        "line 5: upstreams.wrong.weight: must be between 1 and 1000000",
        "line 10: routing.models.m-1.fallbacks[2]: shares no format with 'm-1': "
        "it is offered in gemini, 'm-1' in messages",
        "line 10: routing.models.m-1.fallbacks[3]: no upstream offers the model 'm-4'; "
        "did you mean 'm-3'?",
        "line 11: routing.models.m-5*: no upstream offers such a model",
    ]


def test_a_fallback_may_be_offered_in_another_format_where_it_can_be_translated(
    read: Load,
) -> None:
    text = """\
upstreams:
  one: {dialect: anthropic, key: sk-1, models: [m-1], translate: off}
  two: {dialect: gemini, key: sk-2, models: [g-1]%s}
routing: {models: {m-1: {fallbacks: [g-1]}}}
"""

    assert read(text % "").routing.models[0].fallbacks == ("g-1",)
    (problem,) = problems_of(read, text % ", translate: off")
    assert "shares no format with 'm-1'" in problem


@pytest.mark.parametrize("line", ["models: [", "models: []", "dialect: x", "formats: [x]"])
def test_what_an_upstream_offers_is_not_judged_while_it_cannot_be_read(
    read: Load, line: str
) -> None:
    wrong = f"upstreams: {{up: {{key: x, models: [m], dialect: openai, {line}}}}}\n"

    found = problems_of(read, wrong + "routing: {models: {other: {}}}")

    assert not [problem for problem in found if "offers" in problem]


def test_the_demo_provider_offers_its_models_to_routing_too(read: Load) -> None:
    fallback = "routing: {models: {m: {fallbacks: [demo-slow]}}}\n"
    upstream = ONE_UPSTREAM.replace("'*'", "m")

    assert read(fallback).routing.models[0].fallbacks == ("demo-slow",)
    assert read(fallback + upstream).routing.models[0].fallbacks == ("demo-slow",)
    assert (
        "no upstream offers the model 'demo-slow'"
        in (problems_of(read, f"demo: off\n{fallback}{upstream}")[0])
    )


def test_the_database_lies_beside_the_config_or_in_systemds_state_directory(
    read: Load, tmp_path: Path
) -> None:
    state = {"STATE_DIRECTORY": "/var/lib/relayd:/var/lib/second"}

    assert read("").database == tmp_path / "relayd.db"
    assert read("", state).database == Path("/var/lib/relayd/relayd.db")
    assert read("database: x.db", state).database == tmp_path / "x.db"


def test_commands_find_the_database_without_the_daemons_secrets(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    secret = "upstreams: {up: {dialect: openai, key: '${UNSET}', models: [x]}}\n"

    path.write_text(secret)
    assert load_database(path, {}) == tmp_path / "relayd.db"
    assert load_database(path, {"STATE_DIRECTORY": "/state"}) == Path("/state/relayd.db")
    path.write_text(secret + "database: '${WHERE}/x.db'\n")
    assert load_database(path, {"WHERE": "/data"}) == Path("/data/x.db")
    with pytest.raises(ConfigProblems, match="database: the environment variable WHERE"):
        load_database(path, {})


@pytest.mark.parametrize(
    ("demo", "upstreams", "answers"),
    [
        ("auto", "", True),
        ("auto", ONE_UPSTREAM, False),
        ("on", ONE_UPSTREAM, True),
        ("off", "", False),
        ("auto", ONE_UPSTREAM.replace("sk-1", "''"), True),
    ],
)
def test_the_demo_provider_answers_when_asked_to_or_when_nothing_else_can(
    read: Load, demo: str, upstreams: str, answers: bool
) -> None:
    assert read(f"demo: {demo}\n{upstreams}").demo_answers is answers


def test_metrics_do_not_listen_where_clients_connect(read: Load) -> None:
    text = "listen: '[::1]:80'\nmetrics: {listen: '[::1]:80'}"

    assert problems_of(read, text) == [
        "line 1: metrics.listen: clients connect there; give it an address of its own"
    ]
    some = "localhost:0"
    text = f"listen: '{some}'\nmetrics: {{listen: '{some}'}}"
    assert read(text).metrics.listen == Address("localhost", 0)


@pytest.mark.parametrize("address", ["0.0.0.0:9100", ":9100", "[::]:9100", "relay.lan:9100"])
def test_metrics_that_others_can_reach_need_a_token(read: Load, address: str) -> None:
    line = f"metrics: {{listen: '{address}'"
    [problem] = problems_of(read, f"{line}}}")
    assert "set metrics.token, or listen on 127.0.0.1" in problem
    assert read(f"{line}, token: hush-hush-hush-h}}").metrics.listen is not None


@pytest.mark.parametrize("address", ["127.0.0.1:9100", "[::1]:9100", "localhost:9100"])
def test_metrics_for_this_machine_need_none(read: Load, address: str) -> None:
    assert read(f"metrics: {{listen: '{address}'}}").metrics.listen is not None


def test_rows_are_kept_longer_than_the_journal_can_hold_them(read: Load) -> None:
    """A row that is pruned while a line of the journal still tells of it would be billed again."""
    assert problems_of(read, "ledger: {keep: 1d}") == [
        "line 1: ledger.keep: is 0, or at least 2d: the journal must not outlive its rows"
    ]
    assert read("ledger: {keep: 2d}").ledger.keep == 2 * 86400.0


def test_an_upstream_named_demo_does_not_hide_behind_the_demo_provider(read: Load) -> None:
    upstream = ONE_UPSTREAM.replace("up:", "demo:")

    assert "an upstream has this name too" in problems_of(read, f"demo: on\n{upstream}")[0]
    assert read(upstream).upstreams[0].name == "demo"


def test_an_equal_file_gives_an_equal_config(read: Load) -> None:
    assert read(ONE_UPSTREAM) == read(ONE_UPSTREAM)
    assert read(ONE_UPSTREAM) != read(ONE_UPSTREAM.replace("sk-1", "sk-2"))


def test_no_secret_stands_in_a_repr(read: Load) -> None:
    config = read(
        ONE_UPSTREAM.replace("key: sk-1", "keys: [sk-1, sk-3], proxy: 'http://u:sk-4@h:1'")
        + "metrics: {token: sk-2-sixteen-long}\nadmin: {token: sk-5-sixteen-long}"
    )

    assert "sk-" not in repr(config)


@pytest.mark.parametrize(
    "line",
    [
        "key: sk-secret value",
        "base_url: https://user:sk-secret@host/v1",
        "base_url: ftp://sk-secret",
        "headers: {x-key: 'sk-secret\\x07'}",
        'headers: {x-key: "sk-secret\\r\\nx"}',
        "key: [sk-secret]",
        "key: $sk_secret, keys: [$sk_secret, '${SECRET}', '${SECRET}', {key: ['${SECRET}']}]",
        "keys: {key: '${SECRET}'}",
        "limits: {rpm: '${SECRET}'}",
        "base_urls: ['https://user:sk-secret@host', 'https://h/${SECRET}', 'https://h/${SECRET}']",
        "base_url: https://host/${SECRET}/chat/completions",
        "proxy: socks4://user:sk-secret@host:1",
        "proxy: http://user:sk-secret@host",
        "proxy: http://:sk-secret@host:1",
        "proxy: http://user:sk-secret@host:x",
        "proxy: http://user:${SECRET}@host:1/path",
        "params: {set: {'a..b': '${SECRET}', model: '${SECRET}'}}",
        "remove_headers: ['${SECRET} x']",
        "status_map: {404: '${SECRET}'}",
        "probe: '${SECRET}'",
        "tier: ${SECRET}",
        "weight: ${SECRET}",
        "dialect: ${SECRET}",
        "formats: ['${SECRET}']",
        "timeouts: {stall: '${SECRET}'}",
        "ca_file: ${SECRET}",
        "enabled: ${SECRET}",
    ],
)
def test_no_secret_stands_in_a_message(read: Load, line: str) -> None:
    text = f"upstreams: {{up: {{{line}}}}}".replace("sk-secret value", "'sk-secret value'")

    found = problems_of(read, text, {"SECRET": "sk-secret"})

    assert found
    assert not [problem for problem in found if "sk-secret" in problem]


def test_a_file_that_cannot_be_read_is_a_problem_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblems, match="cannot be read: No such file or directory"):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(ConfigProblems, match="cannot be read: Is a directory"):
        load(tmp_path, {})


NAMES = sorted(
    {
        field.name
        for record in (
            Config,
            Limits,
            model.UpstreamSpec,
            routing.Routing,
            routing.ModelRouting,
            routing.BreakerRules,
            Translating,
            Rules,
        )
        for field in dataclasses.fields(record)
    }
    | {*READERS, *FIELDS, "set", "remove", "fallbacks"}
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(NAMES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(deadline=None)  # a file is written and read four times
@given(ANYTHING, st.dictionaries(st.sampled_from(NAMES), ANYTHING))
def test_whatever_stands_in_the_file_it_loads_or_its_problems_are_listed(
    tmp_path_factory: pytest.TempPathFactory, entry: object, content: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    upstreams = {"upstreams": {"up": entry}}
    for whole in (content, content | upstreams, {"upstreams": entry}, {"routing": entry}):
        path.write_text(yaml.safe_dump(whole))
        try:
            assert isinstance(load(path, {}), Config)
        except ConfigProblems as found:
            assert all(problem.message and problem.line >= 0 for problem in found.problems)


# --- the shipped file -----------------------------------------------------------------------------


def uncommented(text: str) -> str:
    """The shipped file with its commented lines switched on: two words of prose are no line."""
    return re.sub(r"(?m)^( *)# ( *[a-z_-]+:(?: .*)?)$", r"\1\2", text)


def test_the_shipped_config_works_as_it_stands_and_leaves_every_provider_out() -> None:
    config = load(SHIPPED, {})

    assert config == dataclasses.replace(
        Config(),
        database=SHIPPED.parent / "relayd.db",
        left_out=config.left_out,
        defaults=config.defaults,
    )
    assert config.defaults.chat == ChatDefaults(model="gemini-2.5-flash")
    assert config.defaults.image.model and config.defaults.moderation.model
    assert {"openai", "anthropic", "gemini", "openrouter"} <= set(config.left_out)


@pytest.mark.parametrize("name", load(SHIPPED, {}).left_out)
def test_the_shipped_config_uses_a_provider_whose_variable_is_set(name: str) -> None:
    config = load(SHIPPED, {f"{name.upper()}_API_KEY": "sk-1"})

    assert [(spec.name, spec.dialect) for spec in config.upstreams] == [(name, name)]
    assert config.upstreams[0].base_urls == (DIALECTS[name].default_base_url,)
    assert not config.demo_answers


def test_the_shipped_config_shows_every_default_as_it_is(tmp_path: Path) -> None:
    text = uncommented(SHIPPED.read_text())
    for line in ABSENT:
        text = text.replace(line, "")
    path = tmp_path / "config.yaml"
    path.write_text(text)

    config = load(path, {"LOCAL_KEY": "sk-1", "LOCAL_KEY_2": "sk-2"})

    (local,) = config.upstreams
    bare = load(SHIPPED, {})
    assert config == dataclasses.replace(
        bare,
        upstreams=(local,),
        database=tmp_path / "relayd.db",
        capture=dataclasses.replace(bare.capture, directory=tmp_path / "captures"),
        translation=dataclasses.replace(Translating(), remote_images=Fetching()),
        capabilities={"my-model": SHOWN_CAPABILITY},
        groups=(SHOWN_GROUP,),
        trusted_proxies=(ip_network("10.0.0.0/8"),),
        prices=(PriceLine("large", SHOWN_PRICE),),
    )
    assert local == model.UpstreamSpec(
        name="local",
        dialect="openai-compatible",
        base_urls=("http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"),
        keys=(
            model.UpstreamKey("1", model.Secret("sk-1"), 1, model.KeyLimits(500, 200_000, 50)),
            model.UpstreamKey("second", model.Secret("sk-2"), 2, model.KeyLimits(100, 200_000, 50)),
        ),
        models=(
            model.ModelRule("fast", "qwen3-8b"),
            model.ModelRule("large", "qwen3-235b", model.Timeouts(first_byte=600.0), 0.5),
        ),
        formats=("chat",),
        headers=(("x-team", "research"),),
        proxy=model.Proxy("socks5", "10.0.0.9", 1080, "user", model.Secret("word")),
        edits=model.Edits(
            remove_headers=("user-agent",),
            set_params=(("temperature", b"0"), ("reasoning.effort", b'"low"')),
            default_params=(("max_tokens", b"4096"),),
            remove_params=("logit_bias",),
            statuses=((404, 503),),
        ),
        probe=model.ProbeRules(30.0, "qwen3-8b"),
        lenient=False,
        capabilities={"*": {"call_ids": False, "cache_marks": 0}},
        passthrough=("/v1/files", "/v1/batches"),
    )
    assert SHOWN_CAPABILITY.keys() == FIELDS


def test_the_shipped_config_shows_how_single_models_are_routed(tmp_path: Path) -> None:
    text = re.sub(r'(?m)^# ?(routing:|  models:|    "gpt)', r"\1", SHIPPED.read_text())
    path = tmp_path / "config.yaml"
    path.write_text(text)

    assert load(path, {}).routing == routing.Routing(
        models=(routing.ModelRouting("gpt-5*", "fastest", True, ("gpt-4o",)),)
    )


@pytest.mark.parametrize(
    "record",
    [
        Config,
        Limits,
        MetricsConfig,
        AdminConfig,
        LedgerConfig,
        model.UpstreamSpec,
        model.Timeouts,
        routing.Routing,
        routing.BreakerRules,
        routing.RetryRules,
        routing.AffinityRules,
        routing.WaitingRules,
        routing.RealtimeRules,
        Translating,
        Rules,
    ],
)
def test_the_shipped_config_mentions_every_field(record: type) -> None:
    # No lines of the file: what came of it, the section's name, and what several lines make up.
    known = {"left_out", "name", "edits", "rules"}
    written = set(re.findall(r"(?m)^[ #]*([a-z_]+):", SHIPPED.read_text()))

    assert {field.name for field in dataclasses.fields(record)} - written <= known


def test_the_shipped_config_mentions_every_line_of_an_upstream() -> None:
    written = set(re.findall(r"(?m)[ {]([a-z_]+):", SHIPPED.read_text()))
    lines = {
        *READERS,
        *LIMITS,
        "interval",
        "set",
        "default",
        "remove",
        "cost",
        "fallbacks",
        "proxy_file",
    }

    assert lines <= written


def test_the_shipped_config_mentions_every_dialect() -> None:
    assert [name for name in DIALECTS if not re.search(rf"\b{name}\b", SHIPPED.read_text())] == []
