"""Who pays when a client leaves early: the three policies of a group, over real sockets.

`estimate` charges what was produced as far as anyone knows, and cancels the upstream; `drain` lets
the upstream finish, for a bounded time, and charges what it reports; `free` charges nothing. Who
leaves after the terminal event was served, and pays in full, whatever the policy.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time

import orjson
import pytest

from relayd.ledger.journal import journal_directory
from relayd.model import Entry
from relayd.money import DOLLAR
from relayd.relay.forward import HOLD_LIMIT
from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.raw_client import RawClient
from tests.support.running import Running
from tests.support.scripted_upstream import (
    LAST_CHUNK,
    Peer,
    ScriptedUpstream,
    chunk,
    reply,
    stream_head,
)
from tests.support.speech import FORMATS, SPEECHES, STREAMS, Speech

CONFIG = """\
demo: "off"
drain_timeout: 0.2s
groups:
  estimate: {{on_disconnect: estimate, concurrency: 1}}
  drain: {{on_disconnect: drain, concurrency: 1}}
  drain-briefly: {{on_disconnect: drain, drain: 0.2s}}
  free: {{on_disconnect: free, concurrency: 1}}
prices:
  "*": {{input: 3, output: 15, request: 0.001}}
upstreams:
  up: {{dialect: relay, base_url: "{url}", models: ["*"]}}
"""
REQUEST = DOLLAR // 1000
POLICIES = ("estimate", "drain", "free")
CHAT = SPEECHES["chat"]


@pytest.fixture(scope="module")
def relay(start: Daemons, upstream_of_module: ScriptedUpstream) -> Running:
    return start(CONFIG.format(url=upstream_of_module.url))


@pytest.fixture(params=STREAMS)
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


def price(tokens_in: int | None, tokens_out: int | None) -> int:
    return REQUEST + ((tokens_in or 0) * 3 + (tokens_out or 0) * 15) * 10**6


def in_mid_stream(
    customer: Customer, upstream: ScriptedUpstream, speech: Speech
) -> tuple[RawClient, Peer]:
    """A stream of which the client has the first events."""
    client, peer = customer.reach(upstream, speech, "any")
    peer.send(stream_head() + chunk(speech.opening))
    client.read_until(speech.opening)
    return client, peer


def left(customer: Customer) -> Entry:
    """The one row of a customer who left, everything given back."""
    [row] = customer.rows(1)
    assert (row.outcome, row.status, row.error_code) == ("client_gone", 499, "client_gone")
    assert customer.available == customer.balance == customer.stored_balance == DOLLAR - row.cost
    assert customer.in_flight == 0
    return row


def is_true_usage(row: Entry, speech: Speech) -> bool:
    """Whether a row has what the provider reported, and the price of that."""
    usage = (row.usage.in_uncached, row.usage.out_total)
    return (row.usage_source, usage, row.cost) == ("reported", speech.usage, price(5, 7))


# --- estimate -------------------------------------------------------------------------------------


def test_who_leaves_before_the_first_byte_pays_an_estimate_of_the_prompt(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, "estimate", credit="1")
    client, peer = customer.reach(upstream, speech, "any")
    client.close()

    assert peer.hung_up()
    row = left(customer)
    assert row.usage_source == "estimated"
    assert row.usage.in_uncached and not row.usage.out_total
    assert row.cost == price(row.usage.in_uncached, 0)


def test_who_leaves_in_mid_stream_pays_what_was_produced(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, "estimate", credit="1")
    client, peer = in_mid_stream(customer, upstream, speech)
    client.close()

    assert peer.hung_up()
    row = left(customer)
    assert row.usage_source == ("partial" if speech.name == "messages" else "estimated")
    assert row.usage.in_uncached and row.usage.out_total
    assert row.cost == price(row.usage.in_uncached, row.usage.out_total)


# --- free -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before the first byte", "in mid-stream"])
def test_who_leaves_early_pays_nothing_where_that_is_free(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, when: str
) -> None:
    customer = Customer(relay, "free", credit="1")
    if when == "before the first byte":
        client, peer = customer.reach(upstream, speech, "any")
    else:
        client, peer = in_mid_stream(customer, upstream, speech)
    client.close()

    assert peer.hung_up()
    row = left(customer)
    assert row.cost == 0
    assert row.usage_source in ("estimated", "partial"), "it is known all the same"


# --- drain ----------------------------------------------------------------------------------------


def test_a_client_that_left_before_the_first_byte_pays_what_the_upstream_then_reports(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, "drain", credit="1")
    client, peer = customer.reach(upstream, speech, "any")
    client.close()
    relay.wait_until_quiet()

    peer.send(stream_head() + chunk(speech.stream) + LAST_CHUNK)

    row = left(customer)
    assert is_true_usage(row, speech)
    assert (row.bytes_out, row.upstream, row.model_used) == (0, "up", "any")


def test_a_client_that_left_in_mid_stream_pays_what_the_upstream_then_reports(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, "drain", credit="1")
    client, peer = in_mid_stream(customer, upstream, speech)
    client.reset()
    relay.wait_until_quiet()
    assert customer.in_flight == 1, "its place is taken, and its money set aside, until it is over"
    assert customer.available < customer.balance

    peer.send(chunk(speech.ending) + LAST_CHUNK)

    assert is_true_usage(left(customer), speech)


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_reply_is_heard_to_its_end_too(
    relay: Running, upstream: ScriptedUpstream, name: str
) -> None:
    speech = SPEECHES[name]
    customer = Customer(relay, "drain", credit="1")
    client, peer = customer.reach(upstream, speech, "any", stream=False)
    whole = reply(speech.reply)
    peer.send(whole[:-20])
    client.close()
    relay.wait_until_quiet()

    peer.send(whole[-20:])

    assert is_true_usage(left(customer), speech)


def test_the_connection_of_a_drained_reply_is_used_again(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, "drain", credit="1")
    client, peer = in_mid_stream(customer, upstream, CHAT)
    client.close()
    relay.wait_until_quiet()
    peer.send(chunk(CHAT.ending) + LAST_CHUNK)
    left(customer)

    with customer.begin(CHAT, "any") as again:
        peer.read_request()
        peer.send(reply(CHAT.reply))
        assert again.reply().status == 200


def test_a_drain_ends_with_the_terminal_event_or_soon_after_its_connection(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, "drain", credit="1")
    client, peer = in_mid_stream(customer, upstream, CHAT)
    client.close()
    relay.wait_until_quiet()
    peer.send(chunk(CHAT.ending))
    peer.close()

    assert is_true_usage(left(customer), CHAT)


def test_a_drain_does_not_wait_for_more_than_the_terminal_event(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, "drain", credit="1")
    client, peer = in_mid_stream(customer, upstream, CHAT)
    client.close()
    relay.wait_until_quiet()
    peer.send(chunk(CHAT.ending))  # and the connection stays as it is

    ended = relay.wait_for(lambda: customer.in_flight == 0)  # well before thirty seconds
    peer.close()
    assert is_true_usage(left(customer), CHAT)
    assert ended


def test_a_client_that_stopped_reading_before_it_left_does_not_hold_the_drain_up(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, "drain", credit="1")
    client, peer = in_mid_stream(customer, upstream, CHAT)
    part = CHAT.ending.partition(b"\n\n")[0] + b"\n\n"
    assert peer.send_until_blocked(chunk(part * 2000), within=0.2) > 0
    client.reset()
    relay.wait_until_quiet()
    assert customer.in_flight == 1
    assert peer.hung_up(within=0.05) is False


def test_after_the_time_for_draining_the_upstream_is_cancelled_and_an_estimate_is_paid(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, "drain-briefly", credit="1")
    client, peer = in_mid_stream(customer, upstream, speech)
    client.close()
    began = time.monotonic()

    assert peer.hung_up()
    assert time.monotonic() - began >= 0.2
    row = left(customer)
    assert row.usage_source == ("partial" if speech.name == "messages" else "estimated")
    assert row.cost == price(row.usage.in_uncached, row.usage.out_total)
    assert row.usage.out_total


def test_draining_before_the_first_byte_ends_in_time_too(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, "drain-briefly", credit="1")
    client, peer = customer.reach(upstream, CHAT, "any")
    client.close()

    assert peer.hung_up()
    row = left(customer)
    assert row.cost == price(row.usage.in_uncached, 0) > REQUEST


FAILURES = {
    "resets": None,
    "answers 500": reply(b"{}", status="500 No"),
    "answers 400": reply(b'{"error": {"message": "no"}}', status="400 No"),
    "sends an error first": stream_head()
    + chunk(b'data: {"error": {"message": "no", "code": 500}}\n\n')
    + LAST_CHUNK,
    "ends before it begins": stream_head() + LAST_CHUNK,
}


@pytest.mark.parametrize("way", FAILURES)
def test_an_upstream_that_fails_while_it_is_drained_costs_nothing(
    relay: Running, upstream: ScriptedUpstream, way: str
) -> None:
    customer = Customer(relay, "drain", credit="1")
    client, peer = customer.reach(upstream, CHAT, "any")
    client.close()
    relay.wait_until_quiet()

    answer = FAILURES[way]
    if answer is None:
        peer.reset()
    else:
        peer.send(answer)

    row = left(customer)
    assert (row.cost, row.usage_source) == (0, "none")


def test_a_stream_that_breaks_while_it_is_drained_costs_what_came_until_then(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, "drain", credit="1")
    client, peer = in_mid_stream(customer, upstream, speech)
    client.close()
    relay.wait_until_quiet()
    peer.reset()

    row = left(customer)
    assert row.usage_source in ("partial", "estimated")
    assert row.cost == price(row.usage.in_uncached, row.usage.out_total)


# --- replies too large to hold back ---------------------------------------------------------------


def large(speech: Speech) -> bytes:
    """A whole reply that goes out as it comes, its usage at the end."""
    document = orjson.loads(speech.reply)
    name = "usageMetadata" if speech.format == "gemini" else "usage"
    usage = document.pop(name)
    return orjson.dumps({**document, "padding": "x" * (2 * HOLD_LIMIT), name: usage})


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("policy", ["estimate", "drain"])
def test_who_leaves_a_large_reply_at_its_last_byte_pays_for_it(
    relay: Running, upstream: ScriptedUpstream, name: str, policy: str
) -> None:
    speech = SPEECHES[name]
    customer = Customer(relay, policy, credit="1")
    client, peer = customer.reach(upstream, speech, "any", stream=False)
    whole = reply(large(speech))
    peer.send(whole[:-1])
    client.read_until(large(speech)[-60:-10])
    client.close()
    if policy == "drain":
        relay.wait_until_quiet()
        peer.send(whole[-1:])

    assert is_true_usage(left(customer), speech)


# --- served ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("last_chunk", [False, True], ids=["no end", "end"])
def test_who_leaves_after_the_terminal_event_was_served_and_pays_in_full(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, policy: str, last_chunk: bool
) -> None:
    customer = Customer(relay, policy, credit="1")
    client, peer = in_mid_stream(customer, upstream, speech)
    peer.send(chunk(speech.ending))
    client.read_until(speech.ending)
    client.close()
    if last_chunk:
        peer.send(LAST_CHUNK)

    [row] = customer.rows(1)
    assert (row.outcome, row.status) == ("ok", 200)
    assert is_true_usage(row, speech)
    assert customer.available == DOLLAR - price(5, 7)


@pytest.mark.parametrize("policy", POLICIES)
def test_who_leaves_before_it_reached_an_upstream_pays_nothing(
    relay: Running, upstream: ScriptedUpstream, policy: str
) -> None:
    customer = Customer(relay, policy, credit="1")
    with relay.connect() as client:
        path, body = CHAT.ask("any")
        auth = customer.auth["Authorization"]
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nContent-Length: 999\r\n"
        )
        client.send(head.encode() + b"\r\n" + body)
        relay.wait_for(lambda: relay.daemon.front.active == 1)
    row = left(customer)
    assert (row.cost, row.usage_source, row.upstream) == (0, "none", "")


# --- stopping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["drain", "estimate"])
def test_stopping_in_the_middle_of_it_settles_it(
    start: Daemons, upstream: ScriptedUpstream, policy: str
) -> None:
    stopping = start(CONFIG.format(url=upstream.url))
    customer = Customer(stopping, policy, credit="1")
    client, peer = in_mid_stream(customer, upstream, CHAT)
    if policy == "drain":
        client.close()
        stopping.wait_until_quiet()
        assert customer.in_flight == 1
    database = stopping.daemon.config.database

    stopping.stop()
    start.running.remove(stopping)  # it is looked at here

    client.close()
    assert peer.hung_up()
    with contextlib.closing(sqlite3.connect(database)) as file:
        [row] = file.execute(
            "SELECT outcome, usage_source, in_uncached, out_total, cost FROM usage"
        )
    outcome, source, tokens_in, tokens_out, cost = row
    assert outcome == ("client_gone" if policy == "drain" else "no_upstream")
    assert source == "estimated" and tokens_out
    assert cost == price(tokens_in, tokens_out)
    assert not list(journal_directory(database).iterdir())


def test_who_is_told_of_the_stop_before_anything_came_pays_nothing(
    start: Daemons, upstream: ScriptedUpstream
) -> None:
    stopping = start(CONFIG.format(url=upstream.url))
    customer = Customer(stopping, "estimate", credit="1")
    client, peer = customer.reach(upstream, CHAT, "any", stream=False)
    database = stopping.daemon.config.database

    stopping.stop()
    start.running.remove(stopping)

    assert client.reply().status == 503
    client.close()
    assert peer.hung_up()
    with contextlib.closing(sqlite3.connect(database)) as file:
        [row] = file.execute("SELECT outcome, usage_source, cost FROM usage")
    assert row == ("no_upstream", "none", 0)
