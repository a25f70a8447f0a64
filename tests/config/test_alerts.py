"""The `alerts:` section."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.alerts import AlertsConfig
from relayd.config.document import Source, root
from relayd.config.values import record
from relayd.money import pico


def taken(text: str) -> tuple[AlertsConfig | None, list[str]]:
    source = Source(Path("/"), {})
    found = root(text, source).take(record(AlertsConfig))
    return found, [str(problem) for problem in source.problems]


def read(text: str) -> AlertsConfig:
    found, problems = taken(text)
    assert found is not None and not problems, problems
    return found


def test_everything_at_once() -> None:
    found = read(
        """\
webhooks:
  - {url: "https://hooks.example/a", form: slack}
  - {name: ops, url: "https://api.example/bot1:x/sendMessage", form: telegram, chat: "-1001"}
  - {url: "https://c.example", kinds: [ledger, balance]}
  - {url: "https://d.example", kinds: ledger, severity: critical, over: no}
balance_below: 2.50
error_ratio: 0.5
expiry: 3d
repeat: 0
"""
    )
    assert [(hook.name, hook.form, hook.chat, hook.kinds) for hook in found.webhooks] == [
        ("1", "slack", "", ()),
        ("ops", "telegram", "-1001", ()),
        ("3", "json", "", ("ledger", "balance")),
        ("4", "json", "", ("ledger",)),
    ]
    said = [(hook.severity, hook.over) for hook in found.webhooks]
    assert said == [("warning", True)] * 3 + [("critical", False)]
    assert found.webhooks[0].url.reveal() == "https://hooks.example/a"
    rules = found.rules
    assert (rules.balance_below, rules.error_ratio) == (pico("2.50"), 0.5)
    assert (rules.expiry, rules.repeat) == (3 * 86400.0, 0.0)


def test_nothing_said_is_nobody_told() -> None:
    assert read("") == AlertsConfig() and not AlertsConfig().webhooks


def test_one_webhook_needs_no_list() -> None:
    [found] = read('webhooks: {url: "https://a.example"}').webhooks
    assert found.url.reveal() == "https://a.example"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("webhooks: [{form: slack}]", "webhooks[0]: needs a url"),
        ('webhooks: [{url: "hooks.example/SECRET"}]', "webhooks[0].url: is not an address"),
        ('webhooks: [{url: "http://[SECRET"}]', "webhooks[0].url: is not an address"),
        ('webhooks: [{url: "https://a b/SECRET"}]', "webhooks[0].url: is not an address"),
        ('webhooks: [{url: "https://a..b/SECRET"}]', "webhooks[0].url: names a host that cannot"),
        ('webhooks: [{url: "https://a", form: teams}]', "webhooks[0].form: 'teams' is an unknown"),
        ('webhooks: [{url: "https://a", form: telegram}]', "webhooks[0]: telegram needs the chat"),
        ('webhooks: [{url: "https://a", name: "a b"}]', "webhooks[0].name: a name is made of"),
        (
            'webhooks: [{url: "https://a", name: x}, {url: "https://b", name: x}]',
            "webhooks[1]: there is another webhook 'x'",
        ),
        ('webhooks: [{url: "https://a", kinds: [ledgers]}]', "did you mean 'ledger'"),
        ('webhooks: [{url: "https://a", severity: high}]', "severity: 'high' is an unknown"),
        ('webhooks: [{url: "https://a", over: sometimes}]', "over: 'sometimes' is not true or"),
        ("balance_below: much", "balance_below: "),
        ("error_ratio: 2", "error_ratio: must be between 0 and 1"),
    ],
)
def test_what_is_wrong_is_said_and_no_address_is(lines: str, problem: str) -> None:
    said = "\n".join(taken(lines)[1])
    assert problem in said and "SECRET" not in said


def test_no_address_is_shown_where_a_configuration_is_printed() -> None:
    assert "SECRET" not in repr(read('webhooks: {url: "https://a.example/SECRET"}'))
