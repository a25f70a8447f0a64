"""Who may read the metrics, by what the request carries and where it comes from."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import HttpVersion10, HttpVersion11
from multidict import CIMultiDict

from relayd.model import Secret
from relayd.web.scraping import Scraping, has_token, is_local, served

HERE = {"Host": "localhost:8080"}


class Asking:
    """A client that asks, and what it got."""

    def __init__(self, path: str = "/metrics", *, method: str = "GET", **headers: str) -> None:
        self.raw_path, self.method = path, method
        self.headers = CIMultiDict(headers)
        self.is_behind = self.closes = False
        self.status = 0

    def admit(self, ids: bytes, limits: object) -> None:
        assert ids == b""  # no web page may read what is said here

    def close_after(self) -> None:
        self.closes = True

    def send(self, status: int, headers: object, body: bytes) -> None:
        self.status = status


def local(peer: str = "127.0.0.1", version: Any = HttpVersion11, **headers: str) -> bool:
    named = CIMultiDict(HERE)
    named.update({name.replace("_", "-"): value for name, value in headers.items()})
    client: Any = SimpleNamespace(peer=peer, version=version, headers=named)
    return is_local(client)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:8080"])
def test_a_program_of_this_machine_may_read_them(peer: str, host: str) -> None:
    assert local(peer, Host=host, Accept="text/plain", User_Agent="Prometheus/2.42.0")


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.1", "::ffff:10.0.0.1", "", "/run/socket"])
def test_nobody_else_may(peer: str) -> None:
    assert not local(peer)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "relay.example",
        "relay.example:8080",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        ":80",
    ],
)
def test_who_asks_for_another_host_came_through_somebody(host: str) -> None:
    """A TLS terminator, a forwarded port; or a name of somebody's that leads here."""
    assert not local(Host=host)


@pytest.mark.parametrize(
    "name",
    [
        *("X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded", "Forwarded", "Forwarded-For"),
        *("X-Real-IP", "X-Client-IP", "True-Client-IP", "X-Cluster-Client-IP", "Via", "CF-Ray"),
        *("X-Original-URL", "X-Envoy-External-Address", "Fly-Client-IP", "X-Azure-ClientIP"),
        *("X-Amzn-Trace-Id", "X-Cloud-Trace-Context", "Tailscale-User-Login", "Cdn-Loop"),
        *("x-forwarded-for", "Origin", "Referer", "Sec-Fetch-Site"),
    ],
)
def test_what_proxies_and_web_pages_send_is_not_local(name: str) -> None:
    assert not local(**{name: "cross-site"})


def test_an_address_typed_into_a_browser_here_is() -> None:
    assert local(Sec_Fetch_Site="none") and local(Sec_Fetch_Site="same-origin")


def test_what_a_bare_nginx_passes_on_is_not_local() -> None:
    assert not local(version=HttpVersion10)


@pytest.mark.parametrize(
    ("given", "opens"),
    [
        ("Bearer a-token", True),
        ("Bearer another", True),
        ("Bearer a-toke", False),
        ("Bearer ", False),
        ("", False),
        ("Bearer \udcff", False),
    ],
)
def test_a_token_opens_and_an_empty_one_opens_nothing(given: str, opens: bool) -> None:
    tokens = [Secret(""), Secret("a-token"), Secret("another")]
    assert has_token({"Authorization": given}, tokens) == opens
    assert not has_token({}, [Secret("")])


def test_a_listener_of_their_own_serves_them_and_nothing_else() -> None:
    token = Secret("")
    door = Scraping(lambda: b"page", lambda: token)

    def status(client: Any) -> int:
        asyncio.run(door.handle(client))
        return int(client.status)

    assert status(Asking()) == status(Asking("/metrics?x=1", method="HEAD")) == 200
    assert status(Asking("/")) == status(Asking(method="POST")) == 404
    assert repr(door) == "<Scraping open>"
    token = Secret("a-long-metrics-token")
    assert status(Asking()) == 403
    assert status(Asking(Authorization="Bearer a-long-metrics-token")) == 200
    assert repr(door) == "<Scraping by token>"


def test_who_asks_and_does_not_read_gets_no_more() -> None:
    client: Any = Asking()
    assert served(client, lambda: b"page")[0] == 200
    client.is_behind = True
    assert served(client, lambda: b"page")[0] == 503 and client.closes
