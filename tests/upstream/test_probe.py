"""Probes on real sockets: what is well, what each kind of trouble is called, and what is left
behind. Nothing of them is ever raised."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from relayd.demo.provider import DemoProvider
from relayd.errors import (
    BadReply,
    BadStatus,
    ConnectFailed,
    NoAnswer,
    NoUpstream,
    RelayError,
)
from relayd.model import Edits, ModelRule, Secret, UpstreamKey, UpstreamSpec
from relayd.upstream.probe import MAX_REPLY, probe
from relayd.upstream.provider import Provider
from tests.support.scripted_upstream import (
    Asked,
    Peer,
    ScriptedUpstream,
    chunk,
    dead_port,
    reply,
    stream_head,
)
from tests.support.sinks import Collected

LIST = reply(b'{"object":"list","data":[]}')
ASK = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture
def server() -> Iterator[ScriptedUpstream]:
    server = ScriptedUpstream()
    yield server
    server.close()


def spec_of(url: str, **more: Any) -> UpstreamSpec:
    fields: dict[str, Any] = {
        "name": "up",
        "dialect": "openai-compatible",
        "base_urls": (url,),
        "keys": (UpstreamKey("1", Secret("own-key")),),
        "models": (ModelRule("*"),),
        "formats": ("chat",),
    }
    return UpstreamSpec(**{**fields, **more})


def probed(
    url: str, model: str | None = None, patience: float = 5.0, *, kept: int = 0, **more: Any
) -> RelayError | None:
    """What a probe finds. `kept`: connections that are left of it."""

    async def work() -> RelayError | None:
        spec = spec_of(url, **more)
        provider = Provider(spec)
        outlet = provider.outlet("1", 0)
        try:
            found = await probe(outlet, spec, model, patience)
            await asyncio.sleep(0)  # a connection that is dropped tells so in the next round
            assert outlet.client.open_connections == outlet.client.idle_connections == kept
            return found
        finally:
            await provider.close()

    found = asyncio.run(work())
    assert "own-key" not in repr(found)
    return found


def status_line(code: int, *headers: str, body: bytes = b"{}") -> bytes:
    return reply(body, *headers, status=f"{code} So")


def heard(server: ScriptedUpstream, answer: bytes) -> list[Asked]:
    """Answers one request in the background, and notes it."""
    asked: list[Asked] = []

    def work() -> None:
        peer = server.accept()
        asked.append(peer.read_request())
        peer.send(answer)

    threading.Thread(target=work, daemon=True).start()
    return asked


def test_a_list_of_models_is_well_and_its_connection_is_kept(server: ScriptedUpstream) -> None:
    asked = heard(server, LIST)
    assert probed(server.url, kept=1) is None
    assert (asked[0].method, asked[0].path, asked[0].body) == ("GET", "/v1/models", b"")
    assert asked[0].headers["authorization"] == "Bearer own-key"


@pytest.mark.parametrize("model", ["theirs", "public"])
def test_a_model_is_asked_by_the_upstreams_name(server: ScriptedUpstream, model: str) -> None:
    asked = heard(server, reply(b'{"choices":[]}'))
    models = (ModelRule("other"), ModelRule("public", "theirs"))
    assert probed(server.url, model, kept=1, models=models) is None
    assert (asked[0].path, asked[0].document["model"]) == ("/v1/chat/completions", "theirs")


@pytest.mark.parametrize(
    ("code", "body", "error_code"),
    [
        (401, b"{}", "upstream_credential"),
        (402, b"{}", "upstream_credential"),
        (403, b"<html>", "upstream_credential"),
        (400, b'{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}', "upstream_credential"),
        (404, b"{}", "upstream_404"),
        (302, b"", "upstream_302"),
        (500, b"{}", "upstream_500"),
        (529, b"", "upstream_529"),
    ],
)
def test_a_bad_status_is_what_it_is(
    server: ScriptedUpstream, code: int, body: bytes, error_code: str
) -> None:
    server.answer_with(status_line(code, body=body))
    found = probed(server.url, kept=1)
    assert isinstance(found, BadStatus)
    assert (found.upstream_status, found.code) == (code, error_code)


def test_words_in_a_message_refuse_no_key(server: ScriptedUpstream) -> None:
    body = b'{"error":{"message":"no model API_KEY_INVALID"}}'
    server.answer_with(status_line(400, body=body))
    assert probed(server.url, "API_KEY_INVALID", kept=1) is None


def test_a_rate_limit_says_until_when(server: ScriptedUpstream) -> None:
    server.answer_with(status_line(429, "retry-after: 7"))
    found = probed(server.url, "m", kept=1)
    assert isinstance(found, BadStatus)
    assert (found.upstream_status, found.retry_after) == (429, 7.0)


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_request_that_is_found_wanting_was_read_by_somebody_well(
    server: ScriptedUpstream, code: int
) -> None:
    server.answer_with(status_line(code))
    assert probed(server.url, "m", kept=1) is None


def test_statuses_are_read_as_the_operator_has_them(server: ScriptedUpstream) -> None:
    server.answer_with(status_line(404))
    found = probed(server.url, kept=1, edits=Edits(statuses=((404, 503),)))
    assert isinstance(found, BadStatus) and found.upstream_status == 503


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"", b'{"error":{"message":"no"}}'])
def test_a_success_that_is_none_is_seen(server: ScriptedUpstream, body: bytes) -> None:
    server.answer_with(reply(body))
    assert isinstance(probed(server.url, kept=1), BadReply)


def test_a_list_may_be_a_list(server: ScriptedUpstream) -> None:
    server.answer_with(reply(b"[]"))
    assert probed(server.url, kept=1) is None


def hold_on(peer: Peer) -> None:
    assert peer.hung_up()


@pytest.mark.parametrize(
    "half", [b"", b"HTTP/1.1 200 OK\r\n", stream_head(), stream_head() + chunk(b"[")]
)
def test_a_probe_ends_in_time_and_hangs_up(server: ScriptedUpstream, half: bytes) -> None:
    server.answer_with(half, then=hold_on)
    found = probed(server.url, patience=0.1)
    assert isinstance(found, NoAnswer)


def test_a_reply_without_end_is_left(server: ScriptedUpstream) -> None:
    def pour(peer: Peer) -> None:
        peer.send(chunk(b" " * MAX_REPLY))
        peer.send(chunk(b" "))
        hold_on(peer)

    server.answer_with(stream_head(), then=pour)
    found = probed(server.url)
    assert isinstance(found, BadReply) and "too large" in found.message


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\ncontent-le"])
def test_no_proper_reply_is_told_as_such(server: ScriptedUpstream, answer: bytes) -> None:
    server.answer_with(answer)
    assert isinstance(probed(server.url), NoAnswer | BadReply)


def test_a_port_that_refuses_is_told_as_such() -> None:
    kept, port = dead_port()
    assert isinstance(probed(f"http://127.0.0.1:{port}"), ConnectFailed)
    kept.close()


def test_where_nothing_can_be_listed_a_probe_says_what_is_missing() -> None:
    found = probed("http://up.invalid", dialect="perplexity")
    assert isinstance(found, NoUpstream) and "name one" in found.message


def test_at_the_bound_a_probe_takes_an_idle_connection_or_none(server: ScriptedUpstream) -> None:
    async def work() -> None:
        spec = spec_of(server.url, max_connections=1)
        provider = Provider(spec)
        outlet = provider.outlet("1", 0)
        busy = Collected()
        await outlet.client.open([ASK], busy)
        assert isinstance(await probe(outlet, spec, None, 5.0), NoUpstream)
        server.answer_with(LIST, LIST)
        await busy.done()
        assert await probe(outlet, spec, None, 5.0) is None
        await provider.close()

    asyncio.run(work())


def test_a_probe_that_is_cancelled_hangs_up(server: ScriptedUpstream) -> None:
    async def work() -> None:
        spec = spec_of(server.url)
        provider = Provider(spec)
        outlet = provider.outlet("1", 0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await probe(outlet, spec, None, 5.0)
        await asyncio.sleep(0)
        assert outlet.client.open_connections == 0
        await provider.close()

    asyncio.run(work())


@pytest.mark.parametrize("name", ["chat", "responses", "messages", "gemini"])
@pytest.mark.parametrize("model", [None, "demo", "demo-403"])
def test_probes_are_understood_in_every_format(name: Any, model: str | None) -> None:
    async def work(secret: str) -> RelayError | None:
        demo = DemoProvider(key="right")
        await demo.start("127.0.0.1", 0)
        keys = (UpstreamKey("1", Secret(secret)),)
        spec = spec_of(demo.url, dialect="demo", formats=(name,), keys=keys)
        provider = Provider(spec)
        found = await probe(provider.outlet("1", 0), spec, model, 5.0)
        await provider.close()
        await demo.close()
        return found

    found = asyncio.run(work("right"))
    if model != "demo-403":
        assert found is None
        found = asyncio.run(work("wrong"))
    assert isinstance(found, BadStatus) and found.code == "upstream_credential"
