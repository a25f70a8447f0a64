"""Realtime sessions over real sockets: what passes, what is billed, and how they end."""

from __future__ import annotations

import os
import threading
from typing import Any

import openai
import pytest

from relayd.accounts import Limits
from relayd.money import DOLLAR
from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.running import Running
from tests.support.scripted_upstream import ScriptedUpstream, reply
from tests.support.sessions import (
    BY_HAND,
    MASK,
    Talk,
    accept,
    close,
    event,
    frame,
    handshake,
    knock,
    opened,
    rows,
)

CONFIG = """\
demo: "on"
groups:
  poor: {balance: on, strict: on}
  mute: {endpoints: [chat]}
prices:
  demo-whisper: {input: 0, output: 0, minute: 6}
  "demo*": {input: 1, output: 2, cache_read: 0.5, audio_in: 10, audio_out: 20}
"""


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


@pytest.fixture(scope="module")
def by_hand(start: Daemons, upstream_of_module: ScriptedUpstream) -> Running:
    return start(BY_HAND.format(url=upstream_of_module.url))


def error_code(answer: Any) -> str:
    return str(answer.document["error"]["code"])


# --- what passes ----------------------------------------------------------------------------------


def test_a_session_has_a_row_for_each_response_and_one_for_itself(relay: Running) -> None:
    before = relay.mark()
    with Talk(relay) as talk:
        assert talk.hear()["type"] == "session.created"
        first = talk.respond("one two")["response"]
        second = talk.respond("three")["response"]
        name = talk.request_id

    earlier, later, last = rows(relay, before, 3)
    assert [row.request_id for row in (earlier, later, last)] == [name, f"{name}-2", f"{name}-3"]
    assert [row.status for row in (earlier, later, last)] == [200, 200, 101]
    assert {row.operation for row in (earlier, later, last)} == {"realtime"}
    assert {row.outcome for row in (earlier, later, last)} == {"ok"}
    for row, response in ((earlier, first), (later, second)):
        usage = response["usage"]
        assert row.usage_source == "reported"
        assert row.usage.total == usage["total_tokens"]
        assert row.upstream_request_id == response["id"]
        cached = usage["input_token_details"]["cached_tokens"]
        assert row.cost * 10**6 / DOLLAR == pytest.approx(
            usage["input_tokens"] - cached + cached * 0.5 + usage["output_tokens"] * 2
        )
    assert later.usage.cache_read
    assert (last.usage_source, last.cost) == ("none", 0)


def test_sound_is_billed_as_sound(relay: Running) -> None:
    before = relay.mark()
    with Talk(relay) as talk:
        talk.say("session.update", session={"output_modalities": ["audio"]})
        talk.say("input_audio_buffer.append", audio="A" * 64_000)
        talk.say("input_audio_buffer.commit")
        talk.say("response.create")
        usage = talk.hear_until("response.done")["response"]["usage"]

    row = rows(relay, before, 2)[0]
    spoken = usage["output_token_details"]["audio_tokens"]
    assert (row.usage.in_audio, row.usage.out_audio) == (10, spoken)
    text = usage["output_tokens"] - spoken
    assert row.cost * 10**6 / DOLLAR == pytest.approx(10 * 10 + spoken * 20 + text * 2)


def test_a_key_may_come_as_a_subprotocol_and_stays_here(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    key = by_hand.key
    offered = ("realtime", f"openai-insecure-api-key.{key}", "openai-beta.realtime-v1")

    def serve() -> None:
        peer = upstream.accept()
        seen.append(accept(peer))
        peer.send(event("session.created") + close(1000))
        assert peer.hung_up()

    seen: list[Any] = []
    thread = threading.Thread(target=serve)
    thread.start()
    with Talk(by_hand, "fast", protocols=offered, query="&intent=x") as talk:
        assert talk.socket.subprotocol == "realtime"
        assert talk.hear()["type"] == "session.created"
        assert talk.ending() == (1000, [])
    thread.join()

    [asked] = seen
    assert asked.path == "/v1/realtime?model=big-model&intent=x"
    assert asked.headers["authorization"] == "Bearer sk-upstream"
    assert asked.headers["sec-websocket-protocol"] == "realtime, openai-beta.realtime-v1"
    assert "sec-websocket-extensions" not in asked.headers
    assert key not in str(asked)


def test_what_both_sides_say_passes_byte_for_byte(
    relay: Running, by_hand: Running, upstream: ScriptedUpstream
) -> None:
    downwards = frame(1, b'{"type":"x"}') + frame(9, b"?") + frame(2, os.urandom(60_000))
    upwards = frame(1, b"[]", mask=MASK) + frame(2, os.urandom(50_000), mask=os.urandom(4))
    got: list[bytes] = []

    def serve() -> None:
        peer = upstream.accept()
        accept(peer)
        peer.send(downwards)
        got.append(peer.read_exactly(len(upwards)))
        peer.send(close(4001))
        peer.read_exactly(8)
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with opened(by_hand, "fast") as client:
        client.send(upwards)
        data = b""
        while len(data) < len(downwards) + 4:
            data += client.read()
        client.send(close(4001, mask=MASK))
        assert client.read_all() == b""
    thread.join()

    assert data == downwards + close(4001)
    assert got == [upwards]


def test_what_a_client_says_before_it_is_answered_is_not_lost(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    early, later = frame(2, bytes(30_000), mask=MASK), frame(2, bytes(50_000), mask=MASK)
    with by_hand.connect() as client:
        client.send(handshake(by_hand, "fast") + early)
        peer = upstream.accept()
        client.send(later)
        accept(peer, more=b"x-request-id: up-1\r\n")
        assert peer.read_exactly(len(early) + len(later)) == early + later
        client.send(close(1000, mask=MASK))
        peer.read_exactly(8)
        peer.send(close(1000))
        client.read_until(close(1000))


@pytest.mark.filterwarnings("ignore:connect.* must be used as a context manager")
def test_the_official_client_converses(relay: Running) -> None:
    root = relay.url.replace("http://", "ws://") + "/v1"
    with (
        openai.OpenAI(api_key=relay.key, base_url=relay.url, websocket_base_url=root) as client,
        client.realtime.connect(model="demo") as session,
    ):
        session.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        session.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello"}],
            }
        )
        session.response.create()
        said = ""
        for each in session:
            if each.type == "response.output_text.delta":
                said += each.delta
            if each.type == "response.done":
                break
    assert said.strip() == "You said: Hello"


# --- what is refused before a session -------------------------------------------------------------

REFUSED: dict[str, tuple[str, dict[str, str | None], int, str]] = {
    "no key": ("?model=demo", {"Authorization": None}, 401, "invalid_api_key"),
    "a wrong key": ("?model=demo", {"Authorization": "Bearer x"}, 401, "invalid_api_key"),
    "no model": ("", {}, 400, "missing_required_parameter"),
    "no websocket": ("?model=demo", {"Upgrade": None}, 426, "upgrade_required"),
    "an old websocket": ("?model=demo", {"Sec-WebSocket-Version": "8"}, 426, "upgrade_required"),
    "a bad handshake": ("?model=demo", {"Sec-WebSocket-Key": "x"}, 400, "invalid_request"),
    "an upstream that refuses us": ("?model=demo-401", {}, 502, "upstream_credential"),
    "an upstream at its limit": ("?model=demo-429", {}, 429, "rate_limit_exceeded"),
    "an upstream that fails": ("?model=demo-500", {}, 502, "upstream_500"),
    "an upstream that knows no such": ("?model=demo-404", {}, 404, "upstream_404"),
    "an upstream that is not there": ("?model=demo-refused", {}, 502, "upstream_unreachable"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_an_http_error_and_a_row(relay: Running, name: str) -> None:
    query, headers, status, code = REFUSED[name]
    before = relay.mark()

    answer = knock(relay, f"/v1/realtime{query}", headers)

    assert (answer.status, error_code(answer)) == (status, code)
    assert answer.closes
    [row] = relay.new_rows(before)
    assert (row.status, row.operation, row.cost) == (status, "realtime", 0)
    if status == 426:
        assert answer.headers["upgrade"] == "websocket"


def test_odd_bytes_in_a_handshake_do_no_harm(relay: Running) -> None:
    with relay.connect() as client:
        request = handshake(relay).replace(b"?model=demo", b"?model=demo&x=%FF")
        odd = b"Sec-WebSocket-Protocol: r\xe9altime, \xff\xfe, realtime\r\n\r\n"
        client.send(request.removesuffix(b"\r\n") + odd)
        head = client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-protocol: realtime\r\n" in head


@pytest.mark.parametrize(
    "where", ["relayd.realtime.realtime.upgrade", "relayd.realtime.realtime.Sitting"]
)
def test_a_bug_of_ours_is_an_error_and_a_row(
    relay: Running, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(where, broken)
    before = relay.mark()

    answer = knock(relay)

    assert (answer.status, error_code(answer)) == (500, "internal_error")
    [row] = relay.new_rows(before)
    assert (row.outcome, row.status, row.cost) == ("relay_error", 500, 0)


def test_a_group_without_the_endpoint_has_no_sessions(relay: Running) -> None:
    mute = Customer(relay, group="mute")
    answer = knock(relay, headers={"Authorization": f"Bearer {mute.secret}"})

    assert (answer.status, error_code(answer)) == (403, "endpoint_not_allowed")


def test_the_responses_api_is_served_over_http_only(relay: Running) -> None:
    answer = knock(relay, "/v1/responses")
    assert (answer.status, error_code(answer)) == (426, "websocket_not_supported")

    plain = relay.ask("/v1/responses", method="GET")
    assert (plain.status, error_code(plain)) == (404, "unknown_url")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 101 Swi",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
        b"HTTP/1.1 500 No\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 4_000_000,
    ],
)
def test_an_upstreams_nonsense_is_its_failure(
    by_hand: Running, upstream: ScriptedUpstream, answer: bytes
) -> None:
    upstream.answer_with(answer)

    refused = knock(by_hand, "/v1/realtime?model=fast")

    assert (refused.status, error_code(refused)) == (502, "upstream_bad_reply")


def test_who_leaves_during_the_handshake_leaves_nothing_behind(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    before = by_hand.mark()
    client = by_hand.connect()
    client.send(handshake(by_hand, "fast"))
    peer = upstream.accept()
    peer.read_request()
    client.close()

    assert peer.hung_up()
    [row] = by_hand.new_rows(before)
    assert (row.outcome, row.usage_source) == ("client_gone", "none")


@pytest.mark.parametrize("status", [404, 429, 503])
def test_another_upstream_is_asked_where_one_declines(
    start: Daemons, relay: Running, upstream: ScriptedUpstream, status: int
) -> None:
    demo = relay.daemon._demo
    assert demo is not None
    both = start(
        f"""\
demo: "off"
routing: {{retries: {{attempts: 3}}, breaker: {{enabled: off}}, longest_cooldown: 0}}
upstreams:
  first: {{dialect: openai, base_url: "{upstream.url}", key: k, models: [rt]}}
  second:
    dialect: demo
    base_url: "{demo.provider.url}"
    key: demo-provider-key
    models: [rt]
    tier: 2
"""
    )
    upstream.answer_with(reply(b'{"error":{"message":"no"}}', status=f"{status} No"))
    before = both.mark()
    with Talk(both, "rt") as talk:
        talk.respond()

    row = rows(both, before, 2)[0]
    assert (row.upstream, row.outcome) == ("second", "ok")


def test_a_session_waits_for_a_place_at_the_upstream_key(start: Daemons, relay: Running) -> None:
    demo = relay.daemon._demo
    assert demo is not None
    narrow = start(
        f"""\
demo: "off"
upstreams:
  up:
    dialect: demo
    base_url: "{demo.provider.url}"
    key: demo-provider-key
    limits: {{concurrency: 1}}
    models: [demo]
"""
    )
    with Talk(narrow) as first:
        first.respond()
        second: list[Any] = []
        waiting = threading.Thread(target=lambda: second.append(opened(narrow)))
        waiting.start()
        narrow.wait_for(lambda: narrow.daemon.relay.lobby.waiting)
        assert not second
    waiting.join()
    second[0].close()


# --- money and limits -----------------------------------------------------------------------------


def test_who_runs_out_of_money_hears_so_and_the_session_ends(relay: Running) -> None:
    poor = Customer(relay, group="poor", credit="0.15")
    before = relay.mark()
    with Talk(relay, "demo-chunks-5000", key=poor.secret) as talk:
        talk.respond()
        code, events = talk.ending()

    assert code == 1008
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["code"] == "insufficient_quota"
    last = rows(relay, before, 2)[1]
    assert (last.outcome, last.error_code, last.cost) == ("refused", "insufficient_quota", 0)


def test_a_key_that_is_taken_back_ends_the_session_after_the_response(relay: Running) -> None:
    guest = Customer(relay)
    with Talk(relay, key=guest.secret) as talk:
        talk.respond()
        guest.change(disabled=True)
        talk.respond()
        code, events = talk.ending()

    assert (code, events[-1]["error"]["code"]) == (1008, "invalid_api_key")


def test_requests_a_minute_count_responses(relay: Running) -> None:
    guest = Customer(relay)
    guest.change(limits=Limits(rpm=2))
    with Talk(relay, key=guest.secret) as talk:
        talk.respond()
        talk.respond()
        code, events = talk.ending()

    assert (code, events[-1]["error"]["code"]) == (1008, "rate_limit_exceeded")
    answer = knock(relay, headers={"Authorization": f"Bearer {guest.secret}"})
    assert answer.status == 429
    assert "retry-after" in answer.headers


def test_a_session_holds_one_place_of_its_key(relay: Running) -> None:
    guest = Customer(relay)
    guest.change(limits=Limits(concurrency=1))
    with Talk(relay, key=guest.secret) as talk:
        talk.respond()
        answer = knock(relay, headers={"Authorization": f"Bearer {guest.secret}"})
        assert (answer.status, error_code(answer)) == (429, "rate_limit_exceeded")
        talk.respond()
    with Talk(relay, key=guest.secret) as talk:
        talk.respond()


def hearing(model: str) -> dict[str, Any]:
    return {"audio": {"input": {"transcription": {"model": model}}}}


def test_transcripts_are_billed_as_their_own_model(relay: Running) -> None:
    before = relay.mark()
    with Talk(relay, "demo-vad") as talk:
        talk.say("session.update", session=hearing("demo-whisper"))
        talk.say("input_audio_buffer.append", audio="A" * 64_000)
        talk.say("input_audio_buffer.commit")
        talk.hear_until("response.done")
        talk.say("session.update", session=hearing("demo-ears"))
        talk.say("input_audio_buffer.append", audio="A" * 64_000)
        talk.say("input_audio_buffer.commit")
        talk.hear_until("response.done")

    whisper, first, ears, second, last = rows(relay, before, 5)
    assert [row.model_asked for row in (first, second, last)] == ["demo-vad"] * 3
    assert (whisper.model_asked, whisper.model_used) == ("demo-whisper", "demo-whisper")
    assert (whisper.usage.audio_ms, whisper.cost) == (1000, DOLLAR // 10)  # a second of a minute
    assert (ears.model_asked, ears.usage.total, ears.usage.in_audio) == ("demo-ears", 12, 10)
    assert ears.cost * 10**6 / DOLLAR == pytest.approx(10 * 10 + 2 * 2)


@pytest.mark.parametrize("model", ["demo-ears", "demo-whisper"])
def test_a_session_may_not_hear_by_a_model_that_its_key_may_not_use(
    relay: Running, model: str
) -> None:
    guest = Customer(relay, models=("demo", "demo-whisper"))
    with Talk(relay, key=guest.secret) as talk:
        talk.say("session.update", session=hearing(model))
        if model == "demo-whisper":
            assert talk.respond()["response"]["status"] == "completed"
            return
        code, events = talk.ending()
    assert (code, events[-1]["error"]["code"]) == (1008, "model_not_found")


def test_a_session_whose_description_cannot_be_read_ends(relay: Running) -> None:
    with Talk(relay) as talk:
        talk.say("session.update", session={"instructions": " " * 300_000, **hearing("demo-ears")})
        code, events = talk.ending()
    assert (code, events[-1]["error"]["code"]) == (1008, "request_too_large")


def test_a_session_may_not_hear_by_a_model_that_is_not_sold(start: Daemons) -> None:
    seller = start('demo: "on"\nunpriced: refuse\nprices: {demo: {input: 1, output: 1}}\n')
    with Talk(seller) as talk:
        talk.say("session.update", session=hearing("demo-ears"))
        code, events = talk.ending()
    assert (code, events[-1]["error"]["code"]) == (1008, "model_not_priced")


def test_a_response_that_fails_costs_nothing_and_says_so(relay: Running) -> None:
    before = relay.mark()
    with Talk(relay, "demo-error-in-stream") as talk:
        assert talk.respond()["response"]["status"] == "failed"

    row = rows(relay, before, 2)[0]
    assert (row.outcome, row.error_code) == ("upstream_error", "upstream_failed_response")
    assert (row.cost, row.usage_source) == (0, "none")


def test_a_response_without_usage_is_estimated(relay: Running) -> None:
    before = relay.mark()
    with Talk(relay, "demo-no-usage-chunks-40") as talk:
        talk.respond()

    row = rows(relay, before, 2)[0]
    assert (row.outcome, row.usage_source) == ("ok", "estimated")
    assert row.usage.out_total is not None and row.usage.out_total >= 40
