"""The fixed pages: what they say, and that the metrics are the only one that is guarded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
from aiohttp import HttpVersion11
from multidict import CIMultiDict

from relayd.model import Secret
from relayd.web.pages import PRIVATE, Face, Pages

STRANGER = "203.0.113.9"
FACE = Face("1.0", 5.9, "Our relay", ("https://a.example", "https://b.example"))


def pages(token: str = "", ready: bool = True, face: Face = FACE) -> Pages:
    return Pages(bytes, Secret(token), [Secret("admin")], face, lambda: ready)


def answer(pages: Pages, path: str, peer: str = STRANGER, **headers: str) -> tuple[int, Any, bytes]:
    named = CIMultiDict(headers)
    request: Any = SimpleNamespace(
        headers=named, peer=peer, method="GET", version=HttpVersion11, is_behind=False
    )
    page = pages.find("GET", path)
    assert page is not None
    return page(request)


def status(pages: Pages, path: str, peer: str = STRANGER, **headers: str) -> int:
    return answer(pages, path, peer, **headers)[0]


def test_the_metrics_are_for_a_token_or_for_this_machine() -> None:
    local = {"peer": "127.0.0.1", "Host": "localhost:8080"}
    assert status(pages(), "/metrics", **local) == 200
    assert status(pages(), "/metrics") == 403
    assert status(pages(), "/metrics", Authorization="Bearer admin") == 200
    assert status(pages("t"), "/metrics", **local) == 403
    assert status(pages("t"), "/metrics", Authorization="Bearer t") == 200
    assert "/metrics" in PRIVATE


def test_the_status_says_what_widgets_look_for_and_where_clients_reach_it() -> None:
    code, headers, body = answer(pages(), "/api/status")
    assert code == 200 and (b"cache-control", b"public, max-age=5") in headers
    assert orjson.loads(body) == {
        "success": True,
        "message": "",
        "data": {
            "system_name": "Our relay",
            "version": "1.0",
            "start_time": 5,
            "server_address": "https://a.example",
            "base_urls": ["https://a.example", "https://b.example"],
            "quota_per_unit": 500_000,
            "display_in_currency": True,
        },
    }


def test_another_name_and_address_is_said_from_then_on() -> None:
    shown = pages(face=Face("1.0", 5.9))
    data = orjson.loads(answer(shown, "/api/status")[2])["data"]
    assert (data["system_name"], data["server_address"], data["base_urls"]) == ("relayd", "", [])
    shown.show(FACE)
    assert b"Our relay" in answer(shown, "/api/status")[2]
    assert b"Our relay" in answer(shown, "/")[2]


def test_readiness_follows_the_daemon() -> None:
    assert [status(pages(ready=ready), "/readyz") for ready in (True, False)] == [200, 503]


def test_pages_are_for_reading() -> None:
    assert pages().find("POST", "/healthz") is None
    assert pages().find("GET", "/elsewhere") is None


def test_the_settings_of_clients_are_for_everybody_with_gaps_for_address_and_key() -> None:
    code, _, body = answer(pages(), "/api/clients")
    told = {one["name"]: one for one in orjson.loads(body)["clients"]}
    assert code == 200
    assert told["claude-code"]["setups"][0]["env"]["ANTHROPIC_BASE_URL"] == "{base}"
    assert b"sk-" not in body
