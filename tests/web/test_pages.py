"""Who may see the metrics, by what the request carries and where it comes from; nothing else is
guarded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from relayd.model import Secret
from relayd.web.pages import Pages

LOCAL, STRANGER = "127.0.0.1", "203.0.113.9"


def pages(token: str = "", ready: bool = True) -> Pages:
    return Pages(bytes, Secret(token), [Secret("admin")], "1.0", 5.0, lambda: ready)


def status(pages: Pages, path: str, peer: str = LOCAL, method: str = "GET", **headers: str) -> int:
    named = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
    request: Any = SimpleNamespace(headers=named, peer=peer, method=method)
    page = pages.find(method, path)
    assert page is not None
    return page(request)[0]


@pytest.mark.parametrize(
    ("token", "peer", "headers", "expected"),
    [
        ("", LOCAL, {}, 200),
        ("", "::1", {}, 200),
        ("", STRANGER, {}, 403),
        ("", "", {}, 403),
        ("", "/run/socket", {}, 403),
        ("", LOCAL, {"X_Forwarded_For": "203.0.113.9"}, 403),
        ("", LOCAL, {"Forwarded": "for=203.0.113.9"}, 403),
        ("", STRANGER, {"Authorization": "Bearer "}, 403),
        ("", STRANGER, {"Authorization": "Bearer admin"}, 200),
        ("t", LOCAL, {}, 403),
        ("t", LOCAL, {"Authorization": "Bearer x"}, 403),
        ("t", STRANGER, {"Authorization": "Bearer t"}, 200),
        ("t", STRANGER, {"Authorization": "Bearer admin"}, 200),
        ("t", STRANGER, {"Authorization": "Bearer \xff"}, 403),
    ],
)
def test_the_metrics_are_for_the_token_or_for_loopback(
    token: str, peer: str, headers: dict[str, str], expected: int
) -> None:
    assert status(pages(token), "/metrics", peer, **headers) == expected


def test_readiness_follows_the_daemon() -> None:
    assert [status(pages(ready=ready), "/readyz") for ready in (True, False)] == [200, 503]


def test_pages_are_for_reading() -> None:
    assert pages().find("POST", "/healthz") is None
    assert pages().find("GET", "/elsewhere") is None


def test_the_settings_of_clients_are_for_everybody_with_gaps_for_address_and_key() -> None:
    request: Any = SimpleNamespace(headers=CIMultiDict(), peer=STRANGER, method="GET")
    page = pages().find("GET", "/api/clients")
    assert page is not None
    code, _, body = page(request)
    told = {one["name"]: one for one in orjson.loads(body)["clients"]}
    assert code == 200
    assert told["claude-code"]["setups"][0]["env"]["ANTHROPIC_BASE_URL"] == "{base}"
    assert b"sk-" not in body
