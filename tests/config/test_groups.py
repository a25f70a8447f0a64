"""The `groups:` section, and trusted proxies."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from relayd.accounts import DEFAULT_GROUP, Caps, Group, Limits
from relayd.config.document import Source, root
from relayd.config.groups import groups, networks
from relayd.money import DOLLAR


def read(text: str) -> tuple[Group, ...]:
    source = Source(Path("/"), {})
    found = root(text, source).take(groups)
    assert (found, source.problems) != (None, [])
    assert not source.problems, source.problems
    return found or ()


def problems(text: str, reader: object = groups) -> list[str]:
    source = Source(Path("/"), {})
    root(text, source).take(networks if reader is networks else groups)
    return [str(problem) for problem in source.problems]


def test_there_is_always_a_default() -> None:
    assert read("") == (DEFAULT_GROUP,)
    default, other = read("other: {}")
    assert (default, other) == (DEFAULT_GROUP, Group("other"))


def test_the_default_can_be_changed() -> None:
    assert read("default: {rpm: 10, strict: on}") == (
        Group("default", limits=Limits(rpm=10), strict=True),
    )


def test_every_line_is_read() -> None:
    text = """
g:
  models: [gpt-*, claude-1]
  endpoints: [chat, audio]
  rpm: 60
  tpm: 100_000
  concurrency: 5
  burst: 10s
  spend: {day: 0.5, month: 10, ever: "1000.000000000001"}
  multiplier: 1.25
  balance: "on"
  strict: true
  reserve_cap: 2
  on_disconnect: drain
  drain: 1m
  lenient: yes
"""
    assert read(text)[1] == Group(
        "g",
        models=("gpt-*", "claude-1"),
        endpoints=("chat", "audio"),
        limits=Limits(60, 100_000, 5, 10.0),
        caps=Caps(DOLLAR // 2, 10 * DOLLAR, 1000 * DOLLAR + 1),
        multiplier=1_250_000,
        balance="on",
        strict=True,
        reserve_cap=2 * DOLLAR,
        leaving="drain",
        drain=60.0,
        lenient=True,
    )


def test_one_value_need_not_be_a_list() -> None:
    (_, group) = read("g: {models: gpt-*, endpoints: chat}")
    assert (group.models, group.endpoints) == (("gpt-*",), ("chat",))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rpm: 0", "g.rpm: must be between 1 and 1000000000000"),
        ("rmp: 1", "g.rmp: unknown name; did you mean 'rpm'?"),
        ("spend: {day: -1}", "g.spend.day: cannot be negative"),
        ("spend: {week: 1}", "g.spend.week: unknown name"),
        ("spend: {day: many}", "g.spend.day: 'many' is not an amount of dollars"),
        ("spend: {day: 1e30}", "g.spend.day: 1e30 is beyond what an amount of dollars can be"),
        ("reserve_cap: 0.0000000000001", "is finer than an amount of dollars can be"),
        ("multiplier: -1", "g.multiplier: must be between 0 and 1000"),
        ("multiplier: 1001", "g.multiplier: must be between 0 and 1000"),
        ("endpoints: [chta]", "g.endpoints[0]: 'chta' is an unknown name; did you mean 'chat'?"),
        ("endpoints: [chat, chat]", "g.endpoints[1]: stands here twice"),
        ("models: ['a b']", "g.models[0]: is not the name of a model"),
        ("on_disconnect: pay", "g.on_disconnect: 'pay' is not one of estimate, drain, free"),
        ("balance: maybe", "g.balance: 'maybe' is not one of auto, on, off"),
    ],
)
def test_a_wrong_line_is_named(line: str, said: str) -> None:
    (problem,) = problems(f"g: {{{line}}}")
    assert said in problem


def test_a_group_has_a_name() -> None:
    assert problems('" ": {}') == ["line 1:  : is not a name for a group"]
    assert "is not a name for a group" in problems(f"{'g' * 65}: {{}}")[0]


def test_networks_are_read() -> None:
    source = Source(Path("/"), {})
    found = root("[10.0.0.0/8, '2001:db8::/32', 192.0.2.1]", source).take(networks)
    assert found == tuple(map(ip_network, ("10.0.0.0/8", "2001:db8::/32", "192.0.2.1")))
    assert root("10.0.0.0/8", source).take(networks) == (ip_network("10.0.0.0/8"),)


def test_what_is_no_network_is_named() -> None:
    first, second, third = problems("[10.0.0.1/8, proxy, 10.0.0.0/8, 10.0.0.0/8]", networks)
    assert "names an address inside a network: 10.0.0.0/8 is the network" in first
    assert "'proxy' is not a network such as" in second
    assert "stands here twice" in third


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
def test_not_everybody_is_trusted(everybody: str) -> None:
    assert "is everybody" in problems(f"['{everybody}', 10.0.0.0/8]", networks)[0]
