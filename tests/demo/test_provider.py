"""The provider as a whole: what it counts, remembers, caches and lets go."""

from __future__ import annotations

import asyncio

import orjson

from relayd.demo.provider import LARGEST_CACHED, MOST_SEEN, DemoProvider, Seen
from relayd.demo.routes import Request
from tests.demo.serving import Serving, generate
from tests.support.raw_client import request_bytes

PATH, DOCUMENT, _ = generate("chat", "demo", stream=False)
BODY = orjson.dumps(DOCUMENT)
ASKED = request_bytes(PATH, BODY)


def test_requests_are_counted_and_remembered(demo: Serving) -> None:
    before = demo.provider.requests
    demo.ask(PATH + "?a=1", DOCUMENT, {"X-One": "1", "Accept": "b"})
    assert demo.provider.requests == before + 1
    seen = demo.provider.seen[-1]
    assert (seen.method, seen.path, seen.body) == ("POST", PATH + "?a=1", BODY)
    assert (seen.headers["x-one"], seen.headers["accept"]) == ("1", "b")


def test_what_is_remembered_is_bounded() -> None:
    seen = Seen()
    for number in range(MOST_SEEN + 10):
        seen.add(Request("POST", str(number), {}, b""))
    assert len(seen) == MOST_SEEN
    assert seen[-1].path == str(MOST_SEEN + 9)
    for _ in range(5):
        seen.add(Request("POST", "/", {}, b"b" * 16_000_000))
    assert len(seen) == 2


def test_equal_requests_get_equal_bytes_and_others_do_not(demo: Serving) -> None:
    first = demo.ask(PATH, DOCUMENT).body
    assert demo.ask(PATH, DOCUMENT).body == first
    assert demo.ask(PATH, {**DOCUMENT, "user": "x"}).body != first


def test_created_is_the_time_that_the_clock_says() -> None:
    now = [100.0]
    provider = DemoProvider(clock=lambda: now[0])
    request = Request("POST", PATH, {}, BODY)
    assert '"created":100,' in repr(provider.answer(request))
    now[0] = 101.5
    assert '"created":101,' in repr(provider.answer(request))


def test_a_response_that_was_forgotten_is_kept_again_when_it_is_made_again() -> None:
    provider = DemoProvider()
    asked = Request("POST", "/v1/responses", {}, b'{"model":"demo","input":"Hi"}')
    provider.answer(asked)
    assert len(provider.shelf) == 1
    (_, id) = next(iter(provider.shelf.ids()))
    provider.answer(Request("DELETE", f"/v1/responses/{id}", {}, b""))
    assert len(provider.shelf) == 0
    provider.answer(asked)
    assert len(provider.shelf) == 1


def test_answers_to_large_requests_are_not_kept() -> None:
    provider = DemoProvider()
    asked = {"model": "demo", "messages": [{"role": "user", "content": "x" * LARGEST_CACHED}]}
    provider.answer(Request("POST", PATH, {}, orjson.dumps(asked)))
    assert provider.cached == 0
    provider.answer(Request("POST", PATH, {}, BODY))
    assert provider.cached == 1


def test_closing_drops_connections_and_frees_the_port() -> None:
    async def run() -> None:
        provider = DemoProvider()
        await provider.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
        path, document, _ = generate("chat", "demo-stall", stream=True)
        writer.write(request_bytes(path, orjson.dumps(document)))
        assert await reader.read(100)
        port = provider.port
        await provider.close()
        assert provider.waits == provider.open_streams == provider.connections == 0
        writer.close()
        again = DemoProvider()
        await again.start(port=port)
        assert again.url == f"http://127.0.0.1:{port}"
        await again.close()

    asyncio.run(run())


def test_its_repr_tells_the_truth(demo: Serving) -> None:
    with demo.connect() as client:
        path, document, _ = generate("chat", "demo-stall", stream=True)
        client.post(path, document)
        client.read()
        assert "1 connections, 1 open streams" in repr(demo.provider)
