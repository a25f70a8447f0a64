"""A configured upstream: its request heads are rendered once, complete, and never carry more than
that; its keys share the connections of a base URL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import pytest

from relayd.model import Edits, ModelRule, Proxy, Secret, UpstreamKey, UpstreamSpec
from relayd.upstream.client import Origin
from relayd.upstream.provider import LINES_REMEMBERED, Outlet, Provider, origin_of
from relayd.wire.paths import Target
from tests.support.scripted_upstream import Peer, ScriptedUpstream, reply
from tests.support.sinks import Collected

CHAT = Target("chat", "generate", verb="chat/completions")
GEMINI = Target("gemini", "generate", "m", verb="generateContent")
T = TypeVar("T")
EVERY_FORMAT = ("chat", "responses", "messages", "gemini")


def spec_of(**more: Any) -> UpstreamSpec:
    fields: dict[str, Any] = {
        "name": "up",
        "dialect": "relay",
        "base_urls": ("http://up.test:81",),
        "keys": (UpstreamKey("1", Secret("own-key")),),
        "models": (ModelRule("*"),),
        "formats": EVERY_FORMAT,
    }
    return UpstreamSpec(**{**fields, **more})


def with_provider(work: Callable[[Provider], T], **more: Any) -> T:
    async def run() -> T:
        provider = Provider(spec_of(**more))
        try:
            return work(provider)
        finally:
            await provider.close()

    return asyncio.run(run())


def lines_of(head: bytes) -> list[bytes]:
    assert head.endswith(b"\r\n\r\n") and head.count(b"\r\n\r\n") == 1
    return head[:-4].split(b"\r\n")


def head_of(target: Target = CHAT, forwarded: Any = (), **more: Any) -> list[bytes]:
    def render(provider: Provider) -> list[bytes]:
        return lines_of(provider.outlet("1", 0).request_head(target, "m", forwarded, 5))

    return with_provider(render, **more)


def names_in(lines: list[bytes]) -> list[bytes]:
    return [line.partition(b":")[0] for line in lines[1:]]


def test_a_body_of_another_type_is_announced_as_that_and_nothing_else() -> None:
    kind = b"multipart/form-data; boundary=x"

    def render(provider: Provider) -> list[bytes]:
        return lines_of(provider.outlet("1", 0).request_head(CHAT, "m", [], 5, kind))

    for headers in ((), (("Content-Type", "application/odd"),)):
        lines = with_provider(render, headers=headers)
        assert [n for n in lines if n.startswith(b"content-type")] == [b"content-type: " + kind]


def test_a_head_has_all_that_a_request_needs_once() -> None:
    first, *lines = head = head_of(forwarded=[(b"x-a", b"b")])
    assert first == b"POST /v1/chat/completions HTTP/1.1"
    assert {b"host: up.test:81", b"content-length: 5", b"x-a: b"} <= set(lines)
    assert {b"accept-encoding: identity", b"content-type: application/json"} <= set(lines)
    names = names_in(head)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("target", "header"),
    [(CHAT, b"authorization: Bearer own-key"), (GEMINI, b"x-goog-api-key: own-key")],
)
def test_the_key_is_where_the_format_wants_it(target: Target, header: bytes) -> None:
    assert header in head_of(target)


def test_each_key_has_an_outlet_at_each_base_url() -> None:
    keys = (UpstreamKey("1", Secret("one")), UpstreamKey("spare", Secret("two")))
    urls = ("http://a.test/v1", "http://b.test:82/api/v1")

    def check(provider: Provider) -> None:
        for name, secret in (("1", b"one"), ("spare", b"two")):
            for site, (host, path) in enumerate(((b"a.test", b"/v1"), (b"b.test:82", b"/api/v1"))):
                head = lines_of(provider.outlet(name, site).request_head(CHAT, "m", (), 0))
                assert head[0] == b"POST %b/chat/completions HTTP/1.1" % path
                assert {b"host: " + host, b"authorization: Bearer " + secret} <= set(head)
        assert provider.outlet("1", 1).client is provider.outlet("spare", 1).client
        assert provider.outlet("1", 0).client is not provider.outlet("1", 1).client

    with_provider(check, keys=keys, base_urls=urls, dialect="openai-compatible", formats=("chat",))


def test_a_key_or_base_url_that_is_not_there_has_no_outlet() -> None:
    def check(provider: Provider) -> None:
        for name, site in (("2", 0), ("1", 1)):
            with pytest.raises(KeyError):
                provider.outlet(name, site)

    with_provider(check)


def test_a_retired_provider_keeps_no_connection_at_any_base_url() -> None:
    servers = [ScriptedUpstream() for _ in range(2)]

    async def work() -> None:
        provider = Provider(spec_of(base_urls=tuple(server.url for server in servers)))
        for site, server in enumerate(servers):
            server.answer_with(reply(b"{}"), then=says_nothing)
            outlet, sink = provider.outlet("1", site), Collected()
            await outlet.client.open([outlet.request_head(CHAT, "m", (), 0)], sink)
            await sink.done()
            assert outlet.client.idle_connections == 1
        provider.retire()
        await asyncio.sleep(0)
        assert repr(provider).count("open=0") == 2
        await provider.close()

    asyncio.run(work())
    for server in servers:
        server.close()


def says_nothing(peer: Peer) -> None:
    assert peer.hung_up()


def test_configured_headers_are_added_and_win() -> None:
    lines = head_of(
        forwarded=[(b"x-team", b"theirs"), (b"user-agent", b"theirs")],
        headers=(("X-Team", "research"), ("User-Agent", "curl")),
    )
    assert {b"x-team: research", b"user-agent: curl"} <= set(lines)
    assert b"theirs" not in b"".join(lines)


@pytest.mark.parametrize("name", ["user-agent", "accept-encoding", "authorization", "x-a"])
def test_a_removed_header_is_not_sent_whoever_would(name: str) -> None:
    forwarded = [(b"x-a", b"b"), (b"x-kept", b"c")]
    plain = names_in(head_of(forwarded=forwarded))
    less = names_in(head_of(forwarded=forwarded, edits=Edits(remove_headers=(name,))))
    assert name.encode() in plain
    assert less == [one for one in plain if one != name.encode()]


def test_what_a_request_cannot_do_without_is_not_removed() -> None:
    lines = head_of(edits=Edits(remove_headers=("host", "content-length")))
    assert {b"host: up.test:81", b"content-length: 5"} <= set(lines)


def test_a_header_that_is_set_and_removed_is_the_one_that_is_set() -> None:
    edits = Edits(remove_headers=("user-agent",))
    assert b"user-agent: curl" in head_of(headers=(("user-agent", "curl"),), edits=edits)


def test_request_lines_are_remembered_but_not_without_bound() -> None:
    def check(provider: Provider) -> None:
        outlet = provider.outlet("1", 0)
        for number in range(LINES_REMEMBERED + 5):
            first = lines_of(outlet.request_head(GEMINI, f"m{number}", (), 0))[0]
            assert first == b"POST /v1beta/models/m%d:generateContent HTTP/1.1" % number
        assert "lines=5>" in repr(outlet._site)

    with_provider(check)


def test_no_secret_is_ever_in_a_representation() -> None:
    proxy = Proxy("http", "proxy.test", 3128, "agent", Secret("swordfish"))

    def shown(provider: Provider) -> str:
        outlet: Outlet = provider.outlet("1", 0)
        return f"{provider!r} {outlet!r} {outlet.client!r} {provider.spec!r} {outlet._site!r}"

    text = with_provider(shown, proxy=proxy, headers=(("x-secret", "swordfish"),))
    assert "own-key" not in text and "swordfish" not in text
    assert "proxy=http://proxy.test:3128" in text
    assert "<Provider up keys=1 <UpstreamClient http://up.test:81" in text


@pytest.mark.parametrize(
    ("dialect", "url", "name", "first"),
    [
        ("relay", "http://up.test", "gemini", b"GET /v1beta/models HTTP/1.1"),
        ("anthropic", "http://up.test", "messages", b"GET /v1/models HTTP/1.1"),
        ("openrouter", "http://up.test/api/v1", "chat", b"GET /api/v1/key HTTP/1.1"),
    ],
)
def test_a_probe_asks_for_what_needs_the_key(
    dialect: str, url: str, name: str, first: bytes
) -> None:
    def render(provider: Provider) -> list[bytes] | None:
        return provider.outlet("1", 0).probe_request(None)

    pieces = with_provider(render, dialect=dialect, base_urls=(url,), formats=(name,))
    assert pieces is not None
    lines = lines_of(pieces[0])
    assert (len(pieces), lines[0]) == (1, first)
    assert b"own-key" in b"".join(lines) and b"content-length" not in names_in(lines)
    assert (b"anthropic-version" in names_in(lines)) is (name == "messages")


def test_where_nothing_can_be_listed_there_is_no_such_probe() -> None:
    def check(provider: Provider) -> None:
        outlet = provider.outlet("1", 0)
        assert outlet.probe_request(None) is None
        assert outlet.probe_request("m") is not None

    with_provider(check, dialect="perplexity", formats=("chat",))


@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_a_probe_of_a_model_is_a_whole_request(name: str) -> None:
    def render(provider: Provider) -> list[bytes] | None:
        return provider.outlet("1", 0).probe_request("m")

    pieces = with_provider(render, formats=(name,), headers=(("Anthropic-Version", "new"),))
    assert pieces is not None
    head, body = pieces
    assert orjson.loads(body)
    lines = lines_of(head)
    assert b"content-length: %d" % len(body) in lines
    assert b"anthropic-version: new" in lines  # the operator's, and only that
    assert len(names_in(lines)) == len(set(names_in(lines)))


def test_a_probe_is_edited_as_requests_are() -> None:
    def render(provider: Provider) -> list[bytes] | None:
        return provider.outlet("1", 0).probe_request("m")

    edits = Edits(set_params=(("reasoning.effort", b'"low"'),), remove_params=("max_tokens",))
    pieces = with_provider(render, formats=("chat",), edits=edits)
    assert pieces is not None
    document = orjson.loads(pieces[1])
    assert document["reasoning"] == {"effort": "low"} and "max_tokens" not in document
    assert b"content-length: %d" % len(pieces[1]) in lines_of(pieces[0])


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


FOLLOW_UP = Target("responses", "follow_up", verb="responses", rest="resp_1", method="GET")
UNREAD = Target("chat", "other", rest="/v1/files", method="POST", query="a=1")
KIND = (b"content-type", b"application/jsonl")


def resource_of(
    target: Target = UNREAD, length: int | None = 5, forwarded: Any = (KIND,), **more: Any
) -> list[bytes]:
    def render(provider: Provider) -> list[bytes]:
        return lines_of(provider.outlet("1", 0).resource_head(target, forwarded, length))

    return with_provider(render, **more)


def test_what_is_there_already_is_asked_for_by_its_own_method_and_without_a_body() -> None:
    first, *lines = head = resource_of(FOLLOW_UP, None, ())
    assert first == b"GET /v1/responses/resp_1 HTTP/1.1"
    assert b"authorization: Bearer own-key" in lines
    assert not {b"content-length", b"content-type"} & set(names_in(head))


def test_what_is_passed_on_unread_keeps_its_type_query_and_length() -> None:
    first, *lines = head = resource_of()
    assert first == b"POST /v1/files?a=1 HTTP/1.1"
    assert {b"content-type: application/jsonl", b"content-length: 5"} <= set(lines)
    assert len(names_in(head)) == len(set(names_in(head)))


def test_what_the_operator_writes_wins_there_too() -> None:
    lines = resource_of(headers=(("Content-Type", "text/odd"), ("X-Team", "a")))
    assert {b"content-type: text/odd", b"x-team: a"} <= set(lines)
    assert b"content-type: application/jsonl" not in lines


def test_an_upstream_of_another_format_gets_its_own_kind_of_credential() -> None:
    lines = resource_of(dialect="gemini", formats=("gemini",))
    assert b"x-goog-api-key: own-key" in lines
    assert not [line for line in lines if line.startswith(b"authorization")]


def test_no_memory_is_kept_of_what_is_asked_for_once() -> None:
    def check(provider: Provider) -> None:
        outlet = provider.outlet("1", 0)
        for number in range(5):
            outlet.resource_head(FOLLOW_UP._replace(rest=f"resp_{number}"), (), None)
        assert outlet._site.lines == {}

    with_provider(check)


def test_a_session_is_asked_for_with_the_key_and_what_is_configured() -> None:
    def render(provider: Provider) -> list[bytes]:
        asked = [(b"upgrade", b"websocket"), (b"x-team", b"theirs")]
        return lines_of(provider.outlet("1", 0).upgrade_head("model=m", asked))

    lines = with_provider(render, headers=(("X-Team", "ours"),))

    assert lines[0] == b"GET /v1/realtime?model=m HTTP/1.1"
    assert {b"authorization: Bearer own-key", b"upgrade: websocket", b"x-team: ours"} <= {*lines}
    assert sorted(set(names := names_in(lines))) == sorted(names)
    assert b"content-length" not in names
