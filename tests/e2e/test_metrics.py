"""/metrics: the series are there and right, their labels are bounded, and strangers do not see
them."""

from __future__ import annotations

import re

import pytest

from relayd.accounts import Limits
from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.raw_client import RawClient, request_bytes
from tests.support.running import Running
from tests.support.speech import FORMATS, SPEECHES

LOCAL = 'demo: "on"\n'
TOKEN = 'demo: "on"\nmetrics: {token: "a-long-metrics-token"}\n'
FORWARDED = ({"X-Forwarded-For": "9.9.9.9"}, {"Forwarded": "for=9.9.9.9"})


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(LOCAL)


def page(relay: Running, headers: dict[str, str] | None = None) -> tuple[int, str]:
    with relay.connect() as client:
        client.send(request_bytes("/metrics", b"", headers, method="GET"))
        reply = client.reply()
        return reply.status, reply.body.decode()


def value(text: str, series: str, **labels: str) -> float:
    """The sum over all lines of a series that carry these labels."""
    total = 0.0
    for line in text.splitlines():
        name, _, number = line.rpartition(" ")
        given = dict(re.findall(r'(\w+)="([^"]*)"', name))
        if name.partition("{")[0] == series and labels.items() <= given.items():
            total += float(number)
    return total


def test_every_series_is_there_and_counts(relay: Running) -> None:
    _, before = page(relay)
    for name in FORMATS:
        for stream in (False, True):
            path, body = SPEECHES[name].ask("demo", stream=stream)
            assert relay.ask(path, body).status == 200
        path, body = SPEECHES[name].ask("demo-500")
        relay.ask(path, body)
    _, after = page(relay)

    def grown(series: str, **labels: str) -> float:
        return value(after, series, **labels) - value(before, series, **labels)

    for name in FORMATS:
        assert grown("relayd_requests_total", format=name, outcome="ok") == 2
        assert grown("relayd_requests_total", format=name, status="5xx") == 1
    way = {"operation": "generate", "upstream": "demo"}
    assert grown("relayd_request_duration_seconds_count", **way) == 3 * len(FORMATS)
    assert grown("relayd_time_to_first_byte_seconds_count", **way) >= 2 * len(FORMATS)
    assert grown("relayd_upstream_errors_total", upstream="demo") == 4
    used = relay.rows()[:12]
    out = sum(row.usage.out_total or 0 for row in used)
    assert grown("relayd_tokens_total", kind="output") == out
    assert grown("relayd_tokens_total", kind="input") == sum(
        row.usage.in_uncached or 0 for row in used
    )
    assert value(after, "relayd_in_flight_requests") == 0  # the page itself does not count
    assert "relayd_ledger_waiting_rows" in after
    assert "process_resident_memory_bytes" in after


def test_a_request_says_what_was_relayds_own_part(relay: Running) -> None:
    def taken(name: str) -> float:
        return value(page(relay)[1], f"relayd_{name}_seconds_sum")

    own, all_of_it = taken("overhead"), taken("request_duration")
    path, body = SPEECHES["chat"].ask("demo-slow-first-byte-0.5", stream=True)
    assert relay.ask(path, body).status == 200
    assert 0 < taken("overhead") - own < 0.5 * (taken("request_duration") - all_of_it)


def test_the_loop_is_watched(relay: Running) -> None:
    relay.wait_for(lambda: value(page(relay)[1], "relayd_event_loop_lag_seconds_count") > 0)


def test_a_limit_that_was_hit_is_named(relay: Running) -> None:
    before = value(page(relay)[1], "relayd_limited_requests_total", limit="requests")
    customer = Customer(relay, limits=Limits(rpm=1))
    answers = [customer.ask(SPEECHES["chat"], "demo").status for _ in range(3)]
    assert answers == [200, 429, 429]
    after = value(page(relay)[1], "relayd_limited_requests_total", limit="requests")
    assert after - before == 2


def test_streams_in_flight_are_counted(relay: Running) -> None:
    path, body = SPEECHES["chat"].ask("demo-stall", stream=True)
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        client.read_until(b"data:")
        assert value(page(relay)[1], "relayd_in_flight_requests") == 1


def test_unknown_models_make_no_series_either(start: Daemons) -> None:
    relay = start(
        'demo: "on"\nupstreams:\n'
        '  up: {dialect: relay, base_url: "http://127.0.0.1:9", models: [m]}\n'
    )
    path, body = SPEECHES["chat"].ask("stranger-1")
    relay.ask(path, body)
    assert "stranger" not in page(relay)[1]


def test_without_a_token_only_this_machine_sees_them(relay: Running) -> None:
    assert page(relay)[0] == 200
    for headers in FORWARDED:
        assert page(relay, headers)[0] in (401, 403, 404)
    assert page(relay, {"Authorization": f"Bearer {relay.key}", **FORWARDED[0]})[0] == 403


def test_with_a_token_even_this_machine_must_have_it(start: Daemons) -> None:
    relay = start(TOKEN)
    good = {"Authorization": "Bearer a-long-metrics-token"}
    assert page(relay)[0] == 403
    assert page(relay, {"Authorization": "Bearer wrong"})[0] == 403
    assert page(relay, {"Authorization": "Bearer "})[0] == 403
    assert page(relay, {"Authorization": f"Bearer {relay.key}"})[0] == 403
    assert page(relay, good)[0] == 200
    assert page(relay, {**good, **FORWARDED[0]})[0] == 200


def test_no_secret_stands_in_them(relay: Running) -> None:
    text = page(relay)[1]
    assert relay.key not in text
    assert "demo-provider-key" not in text


def test_a_listener_of_its_own_serves_metrics_and_nothing_else(start: Daemons) -> None:
    relay = start('demo: "on"\nmetrics: {listen: "127.0.0.1:0"}\n')
    assert relay.daemon.metrics_address is not None
    address = relay.daemon.metrics_address
    for path, expected in (("/metrics", 200), ("/v1/models", 404), ("/", 404)):
        with RawClient(address) as client:
            client.send(request_bytes(path, b"", method="GET"))
            assert client.reply().status == expected
