"""A webhook hears of an upstream that fails, within seconds, and requests notice nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.raw_client import request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import ScriptedUpstream, dead_port, reply
from tests.support.speech import SPEECHES

CHAT = SPEECHES["chat"]
SECRET = "token-in-the-address"
CONFIG = """\
routing: {{retries: {{attempts: 1}}, breaker: {{consecutive: 2, open_for: 1h, longest: 1h}}}}
alerts: {{webhooks: [{{name: ops, url: "{hook}/{secret}"}}]}}
prices: {{demo: {{input: 3, output: 15}}}}
demo: "on"
upstreams:
  up: {{dialect: relay, base_url: "http://127.0.0.1:{dead}", models: [m]}}
"""


@pytest.fixture(scope="module")
def hook() -> Iterator[ScriptedUpstream]:
    server = ScriptedUpstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def relay(start: Daemons, hook: ScriptedUpstream) -> Iterator[Running]:
    kept, dead = dead_port()
    with kept:
        yield start(CONFIG.format(hook=hook.url.removesuffix("/v1"), secret=SECRET, dead=dead))


def told(hook: ScriptedUpstream) -> list[tuple[str, str, str]]:
    """The next message; five seconds are all that it may take."""
    peer = hook.accept()
    asked = peer.read_request()
    assert SECRET in asked.path
    peer.send(reply(b"{}"))
    alerts: list[dict[str, Any]] = asked.document["alerts"]
    return [(one["state"], one["kind"], one["subject"]) for one in alerts]


def test_an_upstream_that_is_down_is_told_within_five_seconds(
    relay: Running, hook: ScriptedUpstream
) -> None:
    customer = Customer(relay, credit="5")
    assert customer.ask(CHAT, "m").status == 502  # nobody listens: the breaker opens at once
    assert told(hook) == [("raised", "upstream_down", "up")]
    assert customer.ask(CHAT, "demo").status == 200


def test_what_was_sent_is_counted_and_the_address_stands_nowhere(relay: Running) -> None:
    def sent() -> str:
        with relay.connect() as client:
            client.send(request_bytes("/metrics", method="GET"))
            page = client.reply().body.decode()
        assert SECRET not in page
        return page

    relay.wait_for(lambda: 'relayd_alerts_total{webhook="ops",result="sent"}' in sent())
