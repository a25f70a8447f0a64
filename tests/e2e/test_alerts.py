"""A webhook hears of what is wrong, and no request notices anything of it, whatever it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.raw_client import request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import Peer, ScriptedUpstream, dead_port, reply
from tests.support.speech import SPEECHES

CHAT = SPEECHES["chat"]
SECRET = "token-in-the-address"
CONFIG = """\
routing: {{retries: {{attempts: 1}}, breaker: {{consecutive: 2, open_for: 1h, longest: 1h}}}}
alerts: {{webhooks: [{{name: ops, url: "{hook}/{secret}"}}]}}
prices: {{demo: {{input: 3, output: 15}}}}
public: {{name: relay-eu}}
demo: "on"
upstreams:
  up: {{dialect: relay, base_url: "http://127.0.0.1:{dead}", models: [m]}}
"""
Told = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def hook() -> Iterator[ScriptedUpstream]:
    server = ScriptedUpstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def relay(start: Daemons, hook: ScriptedUpstream) -> Iterator[Running]:
    kept, dead = dead_port()
    with kept:
        yield start(CONFIG.format(hook=hook.url, secret=SECRET, dead=dead))


@pytest.fixture(scope="module")
def customer(relay: Running) -> Customer:
    return Customer(relay, credit="5")


def asked(hook: ScriptedUpstream) -> tuple[Peer, list[dict[str, Any]]]:
    """The next message, not yet answered."""
    peer = hook.accept()
    message = peer.read_request()
    assert SECRET in message.path
    assert message.document["source"] == "relay-eu"
    alerts: list[dict[str, Any]] = message.document["alerts"]
    return peer, alerts


def told(hook: ScriptedUpstream, answer: bytes = reply(b"{}")) -> Told:
    """What the next message tells."""
    peer, alerts = asked(hook)
    peer.send(answer)
    return [(one["state"], one["kind"], one["subject"]) for one in alerts]


def metrics(relay: Running) -> str:
    with relay.connect() as client:
        client.send(request_bytes("/metrics", method="GET"))
        page = client.reply().body.decode()
    assert SECRET not in page
    return page


def wait_for_result(relay: Running, result: str, number: int) -> None:
    """Until so many alerts have come to this end."""
    line = f'relayd_alerts_total{{webhook="ops",result="{result}"}} {number}'
    assert relay.wait_for(lambda: line in metrics(relay))


def test_what_was_not_sent_yet_is_counted_as_nothing(relay: Running) -> None:
    for result in ("sent", "retried", "failed", "dropped"):
        wait_for_result(relay, result, 0)


def test_an_upstream_that_cannot_be_reached_is_told(
    relay: Running, customer: Customer, hook: ScriptedUpstream
) -> None:
    assert customer.ask(CHAT, "m").status == 502  # nobody listens: the breaker opens at once
    assert told(hook) == [("raised", "upstream_down", "up")]
    wait_for_result(relay, "sent", 1)


def test_a_reload_tells_nothing_twice_and_one_that_fails_is_told(
    relay: Running, hook: ScriptedUpstream
) -> None:
    good = relay.config_path.read_text()
    relay.config_path.write_text(good + "keepalive_interval: 7s\n")
    relay.call(relay.daemon.reload)
    relay.config_path.write_text("upstreams: 7\n")
    relay.call(relay.daemon.reload)
    assert told(hook) == [("raised", "reload", "")]
    relay.config_path.write_text(good)
    relay.call(relay.daemon.reload)
    wait_for_result(relay, "sent", 2)


def test_one_that_answers_with_failures_is_told_too_and_a_webhook_that_hangs_holds_nobody_up(
    relay: Running, customer: Customer, hook: ScriptedUpstream
) -> None:
    assert customer.ask(CHAT, "demo").status == 200
    for _ in range(2):
        assert customer.ask(CHAT, "demo-500").status == 502
    peer, [alert] = asked(hook)
    assert (alert["kind"], alert["subject"]) == ("upstream_down", "demo")
    assert alert["text"].startswith("The upstream demo is down for demo-500 (")
    for _ in range(20):
        assert customer.ask(CHAT, "demo").status == 200
    wait_for_result(relay, "sent", 2)
    peer.send(reply(b"{}"))
    wait_for_result(relay, "sent", 3)


def test_a_webhook_that_sends_us_elsewhere_is_not_followed_and_that_is_counted(
    relay: Running, customer: Customer, hook: ScriptedUpstream
) -> None:
    assert customer.ask(CHAT, "demo-401").status == 502
    elsewhere = reply(b"", "location: http://169.254.169.254/", status="307 Temporary Redirect")
    assert ("raised", "key_refused", "demo/1") in told(hook, elsewhere)
    wait_for_result(relay, "failed", 2)  # with it, that the upstream serves one model less
    assert customer.ask(CHAT, "demo").status == 200
