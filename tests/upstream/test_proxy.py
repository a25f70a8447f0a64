"""Connecting through a proxy, on real sockets: what goes through, and what each failure is called.

Whatever fails, no credential and no word of the proxy's may stand in an error or a representation.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from relayd.errors import ConnectFailed
from relayd.model import Proxy, Secret
from relayd.upstream.client import Origin, PoolLimits, UpstreamClient
from tests.support.proxies import HTTP_OK, FakeProxy
from tests.support.scripted_upstream import ScriptedUpstream, dead_port, reply
from tests.support.sinks import Collected

ASK = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
OK = reply(b"{}")
SCHEMES = ("http", "socks5")
USER, PASSWORD = "agent", "swordfish"

both = pytest.mark.parametrize("scheme", SCHEMES)


@pytest.fixture
def server() -> Iterator[ScriptedUpstream]:
    server = ScriptedUpstream()
    yield server
    server.close()


def through(proxy: FakeProxy, credentials: str = "", host: str = "127.0.0.1") -> Proxy:
    username, _, password = credentials.partition(":")
    scheme: Any = proxy.scheme
    return Proxy(scheme, host, proxy.port, username, Secret(password))


def ask(proxy: Proxy, origin: Origin, *, times: int = 1, **limits: Any) -> list[Collected]:
    """So many requests through the proxy, one after the other, on one connection."""

    async def work() -> list[Collected]:
        client = UpstreamClient(origin, PoolLimits(**limits), None, proxy)
        try:
            replies = []
            for _ in range(times):
                sink = Collected()
                if client.reuse([ASK], sink) is None:
                    await client.open([ASK], sink)
                replies.append(await sink.done())
            assert client.open_connections <= 1
            return replies
        finally:
            assert PASSWORD not in repr(client)
            await client.close()

    return asyncio.run(work())


def refusal(proxy: Proxy, origin: Origin, **limits: Any) -> ConnectFailed:
    """The error that one request ends in, nothing in it that it must not hold."""
    with pytest.raises(ConnectFailed) as caught:
        ask(proxy, origin, **limits)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert PASSWORD not in told and "127.0.0.1" not in caught.value.message
    return caught.value


def origin_of(server: ScriptedUpstream, host: str = "127.0.0.1") -> Origin:
    return Origin(host, server.port, False)


@both
@pytest.mark.parametrize("credentials", ["", f"{USER}:{PASSWORD}"])
def test_requests_travel_through_the_proxy_and_share_its_connection(
    server: ScriptedUpstream, scheme: str, credentials: str
) -> None:
    server.answer_with(OK, OK)
    with FakeProxy(scheme, credentials=credentials) as proxy:
        replies = ask(through(proxy, credentials), origin_of(server), times=2)
        assert [(r.status, r.body, r.problem) for r in replies] == [(200, b"{}", None)] * 2
        assert proxy.asked == [("127.0.0.1", server.port)]
        assert proxy.carried == ASK * 2


@both
def test_a_name_is_the_proxys_to_resolve(server: ScriptedUpstream, scheme: str) -> None:
    server.answer_with(OK)
    names = {"up.invalid": ("127.0.0.1", server.port)}
    with FakeProxy(scheme, names=names) as proxy:
        assert ask(through(proxy), origin_of(server, "up.invalid"))[0].status == 200
        assert proxy.asked == [("up.invalid", server.port)]


def test_a_name_that_is_not_ascii_is_asked_for_as_dns_has_it(server: ScriptedUpstream) -> None:
    server.answer_with(OK)
    names = {"xn--bcher-kva.invalid": ("127.0.0.1", server.port)}
    with FakeProxy(names=names) as proxy:
        assert ask(through(proxy), origin_of(server, "bücher.invalid"))[0].status == 200


@both
def test_an_address_of_ipv6_reaches_the_proxy_whole(scheme: str) -> None:
    with FakeProxy(scheme, manner="refuse") as proxy:
        refusal(through(proxy), Origin("::1", 81, False))
        assert proxy.asked == [("::1", 81)]


def test_a_reply_in_two_packets_is_taken_whole(server: ScriptedUpstream) -> None:
    server.answer_with(OK)
    with FakeProxy(manner="dawdle") as proxy:
        assert ask(through(proxy), origin_of(server))[0].body == b"{}"


def test_a_password_of_any_letters_goes_to_an_http_proxy(server: ScriptedUpstream) -> None:
    server.answer_with(OK)
    with FakeProxy(credentials="agent:pä$:wörd") as proxy:
        assert ask(through(proxy, "agent:pä$:wörd"), origin_of(server))[0].status == 200


@pytest.mark.parametrize("password", [f"{PASSWORD}ä", PASSWORD * 40])
def test_a_password_that_socks_cannot_send_is_no_riddle(
    server: ScriptedUpstream, password: str
) -> None:
    with FakeProxy("socks5", credentials="agent:other") as proxy:
        problem = refusal(through(proxy, f"{USER}:{password}"), origin_of(server))
        assert "cannot be sent" in problem.message


@both
@pytest.mark.parametrize("credentials", ["", f"{USER}:{PASSWORD}"])
def test_a_proxy_that_refuses_the_credentials_says_so(
    server: ScriptedUpstream, scheme: str, credentials: str
) -> None:
    with FakeProxy(scheme, credentials="other:secret") as proxy:
        problem = refusal(through(proxy, credentials), origin_of(server))
        assert "user name and password" in problem.message
        assert (problem.status, proxy.asked) == (502, [])


@pytest.mark.parametrize(
    ("scheme", "said"), [("http", "status 502"), ("socks5", "host unreachable")]
)
def test_a_proxy_that_cannot_reach_the_upstream_says_so(scheme: str, said: str) -> None:
    with FakeProxy(scheme, manner="refuse") as proxy:
        problem = refusal(through(proxy, f"{USER}:{PASSWORD}"), Origin("up.invalid", 80, False))
        assert said in problem.message and problem.status == 502


@both
def test_a_proxy_that_hangs_is_left_when_connecting_takes_too_long(
    server: ScriptedUpstream, scheme: str
) -> None:
    with FakeProxy(scheme, manner="hang") as proxy:
        problem = refusal(through(proxy), origin_of(server), connect_timeout=0.1)
        assert (problem.status, problem.message) == (
            504,
            "Connecting through the proxy took too long.",
        )


@both
def test_one_call_may_have_less_time_than_the_pool(server: ScriptedUpstream, scheme: str) -> None:
    async def work(proxy: Proxy) -> None:
        client = UpstreamClient(origin_of(server), PoolLimits(), None, proxy)
        begun = asyncio.get_running_loop().time()
        with pytest.raises(ConnectFailed, match="too long"):
            await client.open([ASK], Collected(), 0.05)
        assert asyncio.get_running_loop().time() - begun < 8  # of the pool's own ten
        assert "connecting=0" in repr(client)
        await client.close()

    with FakeProxy(scheme, manner="hang") as proxy:
        asyncio.run(work(through(proxy)))


@both
@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-swordfish\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000 + b"\r\n\r\n",
        b"\x05\x07",
        b"\x05\x00\x05\x00\x00\x09",
        b"\x05\x00\x05\x63\x00\x01",
        b"\x05\x00\x05\x00\x00\x03\x01\xff\x00\x50",
        b"\x04\x00",
        b"",
    ],
)
def test_nonsense_is_not_taken_for_a_connection(
    server: ScriptedUpstream, scheme: str, nonsense: bytes
) -> None:
    with FakeProxy(scheme, manner=nonsense) as proxy:
        problem = refusal(through(proxy), origin_of(server), connect_timeout=2.0)
        assert problem.status == 502 and problem.message.startswith("The proxy")


def test_bytes_before_anybody_was_asked_are_no_reply(server: ScriptedUpstream) -> None:
    with FakeProxy(manner=HTTP_OK + OK) as proxy:
        assert "not understood" in refusal(through(proxy), origin_of(server)).message


@both
def test_a_proxy_that_hangs_up_is_no_connection(server: ScriptedUpstream, scheme: str) -> None:
    with FakeProxy(scheme, manner="leave") as proxy:
        assert "proxy" in refusal(through(proxy), origin_of(server)).message


@both
def test_a_proxy_that_is_not_there_says_so(server: ScriptedUpstream, scheme: str) -> None:
    kept, port = dead_port()
    gone: Any = Proxy(scheme, "127.0.0.1", port, USER, Secret(PASSWORD))  # type: ignore[arg-type]
    problem = refusal(gone, origin_of(server))
    assert problem.message == "The proxy cannot be reached: connection refused."
    kept.close()


@both
def test_a_proxy_that_accepts_nobody_is_left_in_time(
    server: ScriptedUpstream, scheme: str, full: int
) -> None:
    deaf: Any = Proxy(scheme, "127.0.0.1", full)  # type: ignore[arg-type]
    assert refusal(deaf, origin_of(server), connect_timeout=0.1).status == 504


@both
def test_a_proxy_whose_name_does_not_resolve_says_so(scheme: str) -> None:
    nowhere: Any = Proxy(scheme, "proxy.invalid", 80)  # type: ignore[arg-type]
    assert "name cannot be resolved" in refusal(nowhere, Origin("a", 80, False)).message


@both
def test_a_caller_that_gives_up_leaves_nothing_open(
    server: ScriptedUpstream, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(proxy: Proxy) -> None:
        client = UpstreamClient(origin_of(server), PoolLimits(), None, proxy)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.open([ASK], Collected())
        assert "open=0 idle=0 connecting=0" in repr(client)
        await client.close()

    with FakeProxy(scheme, credentials="", manner="hang") as proxy, caplog.at_level(logging.DEBUG):
        asyncio.run(work(through(proxy, f"{USER}:{PASSWORD}")))
    assert PASSWORD not in caplog.text


@both
def test_it_works_on_the_loop_of_the_daemon(server: ScriptedUpstream, scheme: str) -> None:
    uvloop = pytest.importorskip("uvloop")
    server.answer_with(OK)

    async def work(proxy: Proxy) -> Collected:
        client = UpstreamClient(origin_of(server), PoolLimits(), None, proxy)
        sink = Collected()
        await client.open([ASK], sink)
        await sink.done()
        await client.close()
        return sink

    with FakeProxy(scheme) as proxy, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(work(through(proxy))).body == b"{}"
