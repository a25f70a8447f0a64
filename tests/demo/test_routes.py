"""Routes and credentials are as strict as the real ones."""

from __future__ import annotations

import pytest

from relayd.demo.reply import reply_to
from relayd.demo.routes import ROUTES, VERBS, Request
from tests.demo.serving import script_of


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions", {"authorization": "Bearer k"}),
        ("/v1/responses", {"authorization": "bearer k"}),
        ("/v1/messages", {"x-api-key": "k"}),
        ("/v1/messages", {"authorization": "Bearer k"}),
        ("/v1beta/models/demo:generateContent", {"x-goog-api-key": "k"}),
        ("/v1/models/demo:generateContent?key=k", {}),
    ],
)
def test_a_key_is_taken_where_each_vendor_takes_it(path: str, headers: dict[str, str]) -> None:
    def status(key: str) -> int:
        return reply_to(Request("POST", path, headers, b"{}"), key, 0).status

    assert status("k") == 400
    assert status("other") == 401


@pytest.mark.parametrize("path", [*ROUTES, *(f"/v1/models/demo:{verb}" for verb in VERBS)])
def test_without_a_key_it_is_401(path: str) -> None:
    assert script_of(path, {}, "k").status == 401


def test_a_credential_of_another_vendor_does_not_count() -> None:
    assert script_of("/v1/chat/completions", {}, "k", x_api_key="k").status == 401
    path = "/v1beta/models/demo:generateContent"
    assert script_of(path, {}, "k", authorization="Bearer k").status == 401


def test_a_known_route_takes_its_method_only() -> None:
    assert reply_to(Request("GET", "/v1/chat/completions", {}, b""), None, 0).status == 405
    assert reply_to(Request("GET", "/", {}, b""), None, 0).status == 404
