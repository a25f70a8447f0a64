"""Realtime sessions of the demo provider, heard by a library's client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.demo.serving import Serving
from tests.support.raw_client import request_bytes
from tests.support.sessions import HANDSHAKE

PATIENCE = 30.0


@contextmanager
def session(demo: Serving, model: str = "demo") -> Iterator[ClientConnection]:
    url = demo.url.replace("http://", "ws://") + f"/v1/realtime?model={model}"
    with connect(
        url, max_size=None, ping_interval=None, open_timeout=PATIENCE, close_timeout=1, proxy=None
    ) as socket:
        assert hear(socket)["type"] == "session.created"
        yield socket


def say(socket: ClientConnection, kind: str, **more: Any) -> None:
    socket.send(orjson.dumps({"type": kind, **more}).decode())


def hear(socket: ClientConnection) -> Any:
    return orjson.loads(socket.recv(PATIENCE))


def until(socket: ClientConnection, kind: str) -> list[Any]:
    found = [hear(socket)]
    while found[-1]["type"] != kind:
        found.append(hear(socket))
    return found


def tell(socket: ClientConnection, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    say(socket, "conversation.item.create", item={"type": "message", "content": content})


def respond(socket: ClientConnection, text: str = "hi") -> list[Any]:
    tell(socket, text)
    say(socket, "response.create")
    return until(socket, "response.done")


def test_it_echoes_and_counts_and_remembers(demo: Serving) -> None:
    with session(demo) as socket:
        events = respond(socket, "one two three four")
        again = respond(socket, "more")[-1]["response"]["usage"]

    text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    assert text.strip() == "You said: one two three four"
    usage = events[-1]["response"]["usage"]
    assert usage["input_token_details"]["cached_tokens"] == 0
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (5, 6, 11)
    assert (again["input_tokens"], again["input_token_details"]["cached_tokens"]) == (12, 11)
    assert demo.quiet()


def test_it_speaks_where_sound_is_wanted(demo: Serving) -> None:
    with session(demo, "demo-vad") as socket:
        say(socket, "session.update", session={"output_modalities": ["audio"]})
        say(socket, "input_audio_buffer.append", audio="A" * 12_800)
        say(socket, "input_audio_buffer.commit")
        events = until(socket, "response.done")

    kinds = {event["type"] for event in events}
    assert {"response.output_audio.delta", "response.output_audio_transcript.delta"} <= kinds
    usage = events[-1]["response"]["usage"]
    assert usage["input_token_details"]["audio_tokens"] == 2
    assert usage["output_token_details"]["audio_tokens"] > 0


@pytest.mark.parametrize(("model", "kind"), [("ears", "tokens"), ("whisper-1", "duration")])
def test_it_transcribes_where_that_is_wanted(demo: Serving, model: str, kind: str) -> None:
    with session(demo) as socket:
        ears = {"audio": {"input": {"transcription": {"model": model}}}}
        say(socket, "session.update", session=ears)
        say(socket, "input_audio_buffer.append", audio="A" * 12_800)
        say(socket, "input_audio_buffer.commit")
        done = "conversation.item.input_audio_transcription.completed"
        assert until(socket, done)[-1]["usage"]["type"] == kind


def test_a_response_can_be_cancelled(demo: Serving) -> None:
    with session(demo, "demo-chunks-1000-at-20") as socket:
        say(socket, "response.create", response={"output_modalities": ["text"]})
        until(socket, "response.output_text.delta")
        say(socket, "response.create")
        assert until(socket, "error")[-1]["error"]["code"].endswith("active_response")
        say(socket, "response.cancel")
        assert until(socket, "response.done")[-1]["response"]["status"] == "cancelled"
        say(socket, "response.cancel")
        assert until(socket, "error")[-1]["error"]["code"] == "response_cancel_not_active"


@pytest.mark.parametrize(
    ("sent", "code"), [("no json", "invalid_json"), ('{"type":"dance"}', "invalid_value")]
)
def test_what_is_no_event_is_answered_with_an_error(demo: Serving, sent: str, code: str) -> None:
    with session(demo) as socket:
        socket.send(sent)
        assert hear(socket)["error"]["code"] == code


def test_pings_are_answered(demo: Serving) -> None:
    with session(demo) as socket:
        assert socket.ping().wait(PATIENCE)


@pytest.mark.parametrize(
    ("model", "status"), [("demo-429", 429), ("demo-500", 500), ("demo-401", 401), ("", 400)]
)
def test_some_are_refused_before_they_begin(demo: Serving, model: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as caught, session(demo, model):
        pass
    assert caught.value.response.status_code == status


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions", HANDSHAKE),
        ("/v1/realtime?model=demo", {**HANDSHAKE, "Upgrade": "h2c"}),
        ("/v1/realtime?model=demo", {**HANDSHAKE, "Sec-WebSocket-Version": "8"}),
    ],
)
def test_other_upgrades_are_refused(demo: Serving, path: str, headers: dict[str, str]) -> None:
    with demo.connect() as client:
        client.send(request_bytes(path, headers=headers, method="GET"))
        assert client.reply().status == 400


@pytest.mark.parametrize(
    ("model", "code"), [("demo-cut", 1006), ("demo-reset", 1006), ("demo-closes-4321", 4321)]
)
def test_some_end_badly(demo: Serving, model: str, code: int) -> None:
    with session(demo, model) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            respond(socket)
            hear(socket)
        closed = caught.value.rcvd
        assert (closed.code if closed is not None else 1006) == code
    assert demo.quiet()


def test_one_says_what_is_no_frame(demo: Serving) -> None:
    with session(demo, "demo-garbage") as socket, pytest.raises(ConnectionClosed):
        hear(socket)


def test_one_fails_and_says_so(demo: Serving) -> None:
    with session(demo, "demo-error-in-stream") as socket:
        response = respond(socket)[-1]["response"]
    assert (response["status"], response["usage"]) == ("failed", None)


def test_one_never_reports_usage(demo: Serving) -> None:
    with session(demo, "demo-no-usage") as socket:
        assert respond(socket)[-1]["response"]["usage"] is None


def test_one_says_four_megabytes_at_once(demo: Serving) -> None:
    with session(demo, "demo-huge-event") as socket:
        assert max(len(str(event)) for event in respond(socket)) > 4 * 2**20


def test_one_floods_only_as_fast_as_it_is_heard(demo: Serving) -> None:
    with session(demo, "demo-flood") as socket:
        say(socket, "response.create")
        for _ in range(50):
            hear(socket)
    assert demo.quiet()


@pytest.mark.parametrize("model", ["demo-stall", "demo-slow-first-byte-600"])
def test_who_leaves_a_silent_one_leaves_nothing_behind(demo: Serving, model: str) -> None:
    with demo.connect() as client:
        path = f"/v1/realtime?model={model}"
        client.send(request_bytes(path, headers=HANDSHAKE, method="GET"))
        if model == "demo-stall":
            client.read_until(b"session.created")
    assert demo.quiet()
