"""A configured upstream's request heads: rendered once, complete, and never carrying more than
that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relayd.model import ModelRule, Secret, UpstreamSpec
from relayd.upstream.client import Origin
from relayd.upstream.provider import Provider, origin_of
from relayd.wire.paths import Target

CHAT = Target("chat", "generate", verb="chat/completions")


def head_of(target: Target = CHAT, forwarded: Any = (), **more: Any) -> list[bytes]:
    fields: dict[str, Any] = {
        "name": "up",
        "dialect": "relay",
        "base_url": "http://up.test:81",
        "key": Secret("own-key"),
        "models": (ModelRule("*"),),
        "formats": ("chat", "responses", "messages", "gemini"),
    }

    async def render() -> bytes:
        provider = Provider(UpstreamSpec(**{**fields, **more}))
        head = provider.request_head(target, "m", forwarded, 5)
        await provider.close()
        return head

    head = asyncio.run(render())
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def test_a_head_has_all_that_a_request_needs_once() -> None:
    first, *lines = head_of(forwarded=[(b"x-a", b"b")])
    assert first == b"POST /v1/chat/completions HTTP/1.1"
    assert {b"host: up.test:81", b"content-length: 5", b"x-a: b"} <= set(lines)
    assert {b"accept-encoding: identity", b"content-type: application/json"} <= set(lines)
    names = [line.partition(b":")[0] for line in lines]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("target", "header"),
    [
        (CHAT, b"authorization: Bearer own-key"),
        (Target("gemini", "generate", "m", verb="generateContent"), b"x-goog-api-key: own-key"),
    ],
)
def test_the_key_is_where_the_format_wants_it(target: Target, header: bytes) -> None:
    assert header in head_of(target)


def test_configured_headers_are_added() -> None:
    assert b"x-team: research" in head_of(headers=(("X-Team", "research"),))


def test_a_key_is_never_in_the_representation() -> None:
    async def shown() -> str:
        fields = ("up", "relay", "http://up.test", Secret("own-key"), (ModelRule("*"),), ("chat",))
        return repr(Provider(UpstreamSpec(*fields)))  # type: ignore[arg-type]

    assert "own-key" not in asyncio.run(shown())


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://a.test", Origin("a.test", 80, False)),
        ("https://a.test/v1", Origin("a.test", 443, True)),
        ("https://a.test:8443", Origin("a.test", 8443, True)),
        ("http://[::1]:81/v1", Origin("::1", 81, False)),
    ],
)
def test_the_origin_is_that_of_the_address(url: str, origin: Origin) -> None:
    assert origin_of(url) == origin
