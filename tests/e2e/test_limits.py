"""Requests a minute, tokens a minute, requests at one time: what a client over its limit is told.

Each test takes a customer of its own, so that no bucket is touched by another test. Buckets are
real and so is the clock: what is asserted of them holds however long a test takes, and nothing
waits for a bucket to fill.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anthropic
import openai
import orjson
import pytest
from google import genai
from google.genai import errors as google_errors

from relayd.accounts import Limits
from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.raw_client import RawClient, Reply
from tests.support.running import Running
from tests.support.scripted_upstream import (
    LAST_CHUNK,
    Peer,
    ScriptedUpstream,
    chunk,
    reply,
    stream_head,
)
from tests.support.speech import SPEECHES, Speech, error_of

CONFIG = """\
demo: "on"
groups:
  one-a-minute: {{rpm: 1}}
  ten-a-minute: {{rpm: 10}}
  two-at-a-time: {{concurrency: 2}}
upstreams:
  up: {{dialect: relay, base_url: "{url}", models: [scripted]}}
"""
KINDS = {
    "chat": "rate_limit_error",
    "responses": "rate_limit_error",
    "messages": "rate_limit_error",
    "gemini": "RESOURCE_EXHAUSTED",
}
CHAT = SPEECHES["chat"]


@pytest.fixture(scope="module")
def relay(start: Daemons, upstream_of_module: ScriptedUpstream) -> Running:
    return start(CONFIG.format(url=upstream_of_module.url))


def refused(speech: Speech, answer: Reply) -> str:
    """The message of a 429 in the format's own shape."""
    assert answer.status == 429
    assert answer.headers["content-type"] == "application/json"
    kind, message = error_of(speech.format, answer.document)
    assert kind == KINDS[speech.format]
    if speech.format in ("chat", "responses"):
        assert answer.document["error"]["code"] == "rate_limit_exceeded"
    return message


def seconds(text: str) -> float:
    """`1m0s`, `8.64s`, `20ms` as a number."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", text)
    assert parts and "".join(a + b for a, b in parts) == text, text
    return sum(float(number) * units[unit] for number, unit in parts)


def standing(speech: Speech, answer: Reply, what: str) -> tuple[int, int, float]:
    """Limit, remaining and seconds to the reset of `requests` or `tokens`, in the format's names;
    each stands there once."""
    headers = answer.headers
    if speech.format == "messages":
        names = [f"anthropic-ratelimit-{what}-{part}" for part in ("limit", "remaining", "reset")]
        moment = datetime.fromisoformat(headers[names[2]])
        reset = (moment - datetime.now(UTC)).total_seconds()
    else:
        names = [f"x-ratelimit-{part}-{what}" for part in ("limit", "remaining", "reset")]
        reset = seconds(headers[names[2]])
    sent = [name for name, _ in answer.pairs]
    assert all(sent.count(name) == 1 for name in names)
    return int(headers[names[0]]), int(headers[names[1]]), reset


def rates(answer: Reply) -> set[str]:
    """The names of all headers about limits."""
    return {name for name, _ in answer.pairs if "ratelimit" in name}


# --- requests a minute ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_key_over_its_requests_a_minute_is_told_so_in_its_format(
    relay: Running, speech: Speech, stream: bool
) -> None:
    customer = Customer(relay, limits=Limits(rpm=1))

    first = customer.ask(speech, "demo", stream=stream)
    second = customer.ask(speech, "demo", stream=stream)

    assert first.status == 200
    assert standing(speech, first, "requests")[:2] == (1, 0)
    message = refused(speech, second)
    assert "this API key may make 1 request a minute" in message
    limit, remaining, reset = standing(speech, second, "requests")
    assert (limit, remaining) == (1, 0)
    # A bucket of one: it is full again exactly when there is room for the next.
    assert abs(int(second.headers["retry-after"]) - reset) <= 10.0
    assert int(second.headers["retry-after"]) in range(30, 61)
    served, over = customer.row(first), customer.row(second)
    assert (served.outcome, over.outcome) == ("ok", "refused")
    assert (over.status, over.error_code, over.cost) == (429, "rate_limit_exceeded", 0)


def test_retry_after_is_exact_to_the_bucket(relay: Running) -> None:
    customer = Customer(relay, limits=Limits(rpm=1))
    customer.ask(CHAT, "demo")
    for _ in range(3):
        answer = customer.ask(CHAT, "demo")
        _, _, reset = standing(CHAT, answer, "requests")
        assert int(answer.headers["retry-after"]) == math.ceil(reset)
    said = re.search(r"Try again in ([\d.]+) s\.", refused(CHAT, answer))
    assert said is not None and abs(float(said[1]) - reset) < 0.1


def test_who_waits_as_long_as_is_said_is_let_in_and_nobody_sooner(relay: Running) -> None:
    customer = Customer(relay, limits=Limits(rpm=600, burst=0.1))
    began = time.monotonic()
    assert customer.ask(CHAT, "demo").status == 200

    while customer.ask(CHAT, "demo").status != 200:
        assert time.monotonic() - began < 30.0

    # The bucket began to fill when the first one was let in, which was after `began`.
    assert time.monotonic() - began >= 0.1


def test_the_requests_of_all_keys_of_an_account_count_together(relay: Running) -> None:
    customer = Customer(relay, "one-a-minute")
    assert customer.ask(CHAT, "demo").status == 200
    other = Customer(relay, "one-a-minute")
    assert other.ask(CHAT, "demo").status == 200, "another account is not held to it"

    message = refused(CHAT, customer.ask(CHAT, "demo"))

    assert "this account may make 1 request a minute" in message


def test_the_tighter_of_key_and_account_is_told(relay: Running) -> None:
    narrow = Customer(relay, "ten-a-minute", limits=Limits(rpm=2))
    wide = Customer(relay, "ten-a-minute", limits=Limits(rpm=100))

    assert standing(CHAT, narrow.ask(CHAT, "demo"), "requests")[:2] == (2, 1)
    assert standing(CHAT, wide.ask(CHAT, "demo"), "requests")[:2] == (10, 9)


def test_a_refusal_takes_nothing_of_any_other_limit(relay: Running) -> None:
    customer = Customer(relay, "ten-a-minute", limits=Limits(rpm=1))
    customer.ask(CHAT, "demo")

    for _ in range(20):  # more than the account has
        assert "this API key" in refused(CHAT, customer.ask(CHAT, "demo"))

    allowance = relay.daemon.books.till.admission._accounts[customer.key.account.id].allowance
    assert allowance.requests is not None
    assert allowance.requests.standing(relay.loop.time()).remaining == 9


def test_who_has_no_limit_a_minute_hears_of_none(relay: Running, speech: Speech) -> None:
    customer = Customer(relay, limits=Limits(concurrency=5))

    assert rates(customer.ask(speech, "demo")) == set()
    assert rates(customer.ask(speech, "demo", stream=True)) == set()


def test_counting_tokens_and_embeddings_are_requests_too(relay: Running) -> None:
    customer = Customer(relay, limits=Limits(rpm=2))
    embedding = orjson.dumps({"model": "demo-embedding", "input": "hi"})
    counting = orjson.dumps({"model": "demo", "messages": [{"role": "user", "content": "hi"}]})

    assert relay.ask("/v1/embeddings", embedding, customer.auth).status == 200
    counted = relay.ask("/v1/messages/count_tokens", counting, customer.auth)
    assert counted.status == 200
    assert standing(SPEECHES["messages"], counted, "requests")[:2] == (2, 0)
    assert relay.ask("/v1/messages/count_tokens", counting, customer.auth).status == 429
    assert relay.ask("/v1/embeddings", embedding, customer.auth).status == 429


def test_a_changed_limit_holds_at_once(relay: Running) -> None:
    customer = Customer(relay, limits=Limits(rpm=1))
    customer.ask(CHAT, "demo")
    assert customer.ask(CHAT, "demo").status == 429

    customer.change(limits=Limits(rpm=3))

    assert standing(CHAT, customer.ask(CHAT, "demo"), "requests")[:2] == (3, 2)


# --- tokens a minute ------------------------------------------------------------------------------


def most(speech: Speech, tokens: int) -> dict[str, Any]:
    """The field that bounds a reply to so many tokens."""
    fields: dict[str, dict[str, Any]] = {
        "chat": {"max_tokens": tokens},
        "responses": {"max_output_tokens": tokens},
        "messages": {"max_tokens": tokens},
        "gemini": {"generationConfig": {"maxOutputTokens": tokens}},
    }
    return fields[speech.format]


def report(speech: Speech, prompt: int, output: int) -> bytes:
    """A whole reply that reports such usage."""
    document = orjson.loads(speech.reply)
    names = {
        "chat": ("usage", "prompt_tokens", "completion_tokens", "total_tokens"),
        "responses": ("usage", "input_tokens", "output_tokens", "total_tokens"),
        "messages": ("usage", "input_tokens", "output_tokens", ""),
        "gemini": (
            "usageMetadata",
            "promptTokenCount",
            "candidatesTokenCount",
            "totalTokenCount",
        ),
    }
    field, into, out, total = names[speech.format]
    document[field] = {into: prompt, out: output} | ({total: prompt + output} if total else {})
    return orjson.dumps(document)


def test_tokens_are_counted_by_an_estimate_first_and_by_the_truth_at_the_end(
    relay: Running, speech: Speech
) -> None:
    customer = Customer(relay, limits=Limits(tpm=1200))
    first = customer.ask(speech, "demo", **most(speech, 1000))
    used = customer.row(first).usage.total

    second = customer.ask(speech, "demo", **most(speech, 1000))

    limit, remaining, _ = standing(speech, first, "tokens")
    assert limit == 1200 and 100 < remaining < 200, "the whole output is set aside at first"
    assert second.status == 200, "most of it came back"
    _, left, _ = standing(speech, second, "tokens")
    assert 0 <= remaining - left <= used, "only what was used is missing, but for what refilled"


def test_a_reply_larger_than_was_set_aside_is_owed_for(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, limits=Limits(tpm=600))
    upstream.answer_with(reply(report(speech, 400, 600)))
    assert customer.ask(speech, "scripted", **most(speech, 10)).status == 200

    answer = customer.ask(speech, "scripted", **most(speech, 10))

    message = refused(speech, answer)
    assert "this API key may use 600 tokens a minute" in message
    limit, remaining, reset = standing(speech, answer, "tokens")
    assert (limit, remaining) == (600, 0)
    assert 90.0 < reset <= 101.0  # 1000 of 600 tokens are used, at 10 a second
    needed = re.search(r"needs about (\d+)", message)
    assert needed is not None
    exact = reset - 60.0 + int(needed[1]) / 10
    slack = 2.0 if speech.format == "messages" else 0.0
    assert abs(int(answer.headers["retry-after"]) - math.ceil(exact - 1e-3)) <= slack


def test_tokens_set_aside_for_a_request_in_flight_are_not_there_for_another(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, limits=Limits(tpm=1200))
    with customer.begin(CHAT, "scripted", **most(CHAT, 1000)) as client:
        peer = upstream.accept()
        peer.read_request()
        assert "tokens a minute" in refused(CHAT, customer.ask(CHAT, "demo", **most(CHAT, 1000)))
        peer.send(reply(CHAT.reply))
        assert client.reply().status == 200
    assert customer.ask(CHAT, "demo", **most(CHAT, 1000)).status == 200


def test_a_request_that_failed_gives_its_tokens_back(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, limits=Limits(tpm=1200))
    upstream.answer_with(reply(b"{}", status="500 No"))
    failed = customer.ask(CHAT, "scripted", **most(CHAT, 1000))
    again = customer.ask(CHAT, "demo", **most(CHAT, 1000))

    assert (failed.status, again.status) == (502, 200)
    assert standing(CHAT, failed, "tokens")[1] <= standing(CHAT, again, "tokens")[1]


# --- requests at one time -------------------------------------------------------------------------


def test_a_key_over_its_requests_at_one_time_is_told_so_in_its_format(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, limits=Limits(concurrency=1))
    client, peer = customer.reach(upstream, speech, "scripted", stream=False)
    with client:
        answer = customer.ask(speech, "demo")
        assert "this API key may have 1 request at one time" in refused(speech, answer)
        assert answer.headers["retry-after"] == "1"
        peer.send(reply(speech.reply))
        assert client.reply().status == 200


def test_the_requests_of_an_account_at_one_time_count_together(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, "two-at-a-time")
    first, _ = customer.reach(upstream, CHAT, "scripted", stream=False)
    second, _ = customer.reach(upstream, CHAT, "scripted", stream=True)
    with first, second:
        message = refused(CHAT, customer.ask(CHAT, "demo"))
        assert "this account may have 2 requests at one time" in message
    relay.wait_until_quiet()
    assert customer.ask(CHAT, "demo").status == 200


def _served(client: RawClient, peer: Peer, speech: Speech) -> None:
    peer.send(reply(speech.reply))
    assert client.reply().status == 200


def _streamed(client: RawClient, peer: Peer, speech: Speech) -> None:
    peer.send(stream_head() + chunk(speech.stream) + LAST_CHUNK)
    assert client.reply().whole


def _failed(client: RawClient, peer: Peer, speech: Speech) -> None:
    peer.send(reply(b"{}", status="500 No"))
    assert client.reply().status == 502


def _rejected(client: RawClient, peer: Peer, speech: Speech) -> None:
    peer.send(reply(b'{"error": {"message": "no"}}', status="400 No"))
    assert client.reply().status == 400


def _reset(client: RawClient, peer: Peer, speech: Speech) -> None:
    peer.reset()
    assert client.reply().status in (502, 504)


def _broken(client: RawClient, peer: Peer, speech: Speech) -> None:
    peer.send(stream_head() + chunk(speech.opening))
    client.read_until(speech.opening)
    peer.reset()
    client.read_until(b"\r\n" + LAST_CHUNK)  # an error event, and a proper end


def _left_early(client: RawClient, peer: Peer, speech: Speech) -> None:
    client.close()
    assert peer.hung_up()


def _left_in_stream(client: RawClient, peer: Peer, speech: Speech) -> None:
    peer.send(stream_head() + chunk(speech.opening))
    client.read_until(speech.opening)
    client.reset()
    assert peer.hung_up()


def _left_when_served(client: RawClient, peer: Peer, speech: Speech) -> None:
    peer.send(stream_head() + chunk(speech.stream))
    client.read_until(speech.terminal)
    client.close()


ENDS: dict[str, tuple[Callable[[RawClient, Peer, Speech], None], bool, str]] = {
    "a whole reply": (_served, False, "ok"),
    "a stream": (_streamed, True, "ok"),
    "an upstream that fails": (_failed, False, "upstream_error"),
    "an upstream that says no": (_rejected, False, "bad_request"),
    "an upstream that hangs up": (_reset, False, "upstream_error"),
    "a stream that breaks": (_broken, True, "broken_stream"),
    "a client that leaves at once": (_left_early, False, "client_gone"),
    "a client that leaves a stream": (_left_in_stream, True, "client_gone"),
    "a client that hangs up when served": (_left_when_served, True, "ok"),
}


@pytest.mark.parametrize("way", ENDS)
def test_a_place_comes_back_however_a_request_ends(
    relay: Running, upstream: ScriptedUpstream, way: str
) -> None:
    end, stream, outcome = ENDS[way]
    customer = Customer(relay, "two-at-a-time", limits=Limits(concurrency=1))
    for _ in range(3):
        client, peer = customer.reach(upstream, CHAT, "scripted", stream=stream)
        assert customer.in_flight == 1
        end(client, peer, CHAT)
        relay.wait_for(lambda: customer.in_flight == 0)
        assert customer.in_flight == 0
        client.close()
        upstream.hang_up()
    assert {row.outcome for row in customer.rows(3)} == {outcome}
    assert customer.ask(CHAT, "demo").status == 200


def test_a_refused_request_holds_no_place(relay: Running) -> None:
    customer = Customer(relay, limits=Limits(concurrency=1))
    for _ in range(3):
        assert customer.ask(CHAT, "no-such-model").status == 404
        assert customer.ask(CHAT, "").status == 400
    assert customer.in_flight == 0
    assert customer.ask(CHAT, "demo").status == 200


# --- whose headers --------------------------------------------------------------------------------

THEIRS = (
    "x-ratelimit-limit-requests: 9999",
    "x-ratelimit-remaining-tokens: 8888",
    "anthropic-ratelimit-requests-remaining: 7777",
    "anthropic-ratelimit-unified-status: allowed",
)
THEIR_NAMES = {line.partition(":")[0] for line in THEIRS}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_upstreams_own_limits_do_not_stand_beside_ours(
    relay: Running, upstream: ScriptedUpstream, speech: Speech, stream: bool
) -> None:
    scripted = reply(speech.reply, *THEIRS)
    if stream:
        scripted = stream_head(*THEIRS) + chunk(speech.stream) + LAST_CHUNK
    upstream.answer_with(scripted)
    answer = Customer(relay, limits=Limits(rpm=5)).ask(speech, "scripted", stream=stream)

    assert answer.status == 200
    assert standing(speech, answer, "requests")[:2] == (5, 4)
    assert len(rates(answer)) == 3, "ours, and nothing else"
    assert not {"9999", "8888", "7777", "allowed"} & {value for _, value in answer.pairs}


def test_the_upstreams_own_limits_pass_where_there_are_none_of_ours(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    upstream.answer_with(reply(CHAT.reply, *THEIRS))

    assert rates(Customer(relay).ask(CHAT, "scripted")) == THEIR_NAMES


def test_an_upstreams_error_carries_our_limits_too(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, limits=Limits(rpm=5))
    upstream.answer_with(reply(b"{}", *THEIRS, status="503 No"))
    answer = customer.ask(speech, "scripted")

    assert answer.status >= 500
    assert standing(speech, answer, "requests")[:2] == (5, 4)
    assert len(rates(answer)) == 3


# --- the official libraries -----------------------------------------------------------------------


@pytest.mark.sdk
def test_the_openai_library_raises_its_rate_limit_error(relay: Running) -> None:
    customer = Customer(relay, limits=Limits(rpm=1))
    with openai.OpenAI(
        base_url=relay.url + "/v1", api_key=customer.secret, max_retries=0
    ) as client:
        client.responses.create(model="demo", input="Hi")
        with pytest.raises(openai.RateLimitError) as caught:
            client.responses.create(model="demo", input="Hi")

    assert caught.value.code == "rate_limit_exceeded"
    assert int(caught.value.response.headers["retry-after"]) > 50


@pytest.mark.sdk
def test_the_anthropic_library_raises_its_rate_limit_error(relay: Running) -> None:
    customer = Customer(relay, limits=Limits(rpm=1))
    hi: Any = [{"role": "user", "content": "Hi"}]
    with anthropic.Anthropic(base_url=relay.url, api_key=customer.secret, max_retries=0) as client:
        raw = client.messages.with_raw_response.create(model="demo", max_tokens=9, messages=hi)
        assert raw.headers["anthropic-ratelimit-requests-remaining"] == "0"
        with pytest.raises(anthropic.RateLimitError) as caught:
            client.messages.create(model="demo", max_tokens=9, messages=hi)

    assert int(caught.value.response.headers["retry-after"]) > 50


@pytest.mark.sdk
def test_the_google_library_raises_its_client_error(relay: Running) -> None:
    customer = Customer(relay, limits=Limits(rpm=1))
    options: Any = {"base_url": relay.url}
    client = genai.Client(api_key=customer.secret, vertexai=False, http_options=options)
    client.models.generate_content(model="demo", contents="Hi")
    with pytest.raises(google_errors.ClientError) as caught:
        client.models.generate_content(model="demo", contents="Hi")
    client.close()

    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
