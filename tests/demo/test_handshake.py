"""Which requests get a session of the demo, and what the others hear."""

from __future__ import annotations

import pytest

from relayd.demo.handshake import agreement, check, is_session
from relayd.demo.refusal import Refusal
from relayd.demo.routes import Request

HEADERS = {
    "upgrade": "WebSocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def request(model: str = "demo", method: str = "GET", **headers: str) -> Request:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, f"/v1/realtime?model={model}", HEADERS | more, b"")


def test_a_handshake_at_the_sessions_path_asks_for_one() -> None:
    assert is_session(request())
    assert not is_session(request(method="POST"))
    assert not is_session(request(upgrade="h2c"))
    assert not is_session(request()._replace(path="/v1/models"))


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        (request(sec_websocket_version="8"), 400),
        (request(""), 400),
        (request("demo-429"), 429),
        (request("demo-503"), 503),
    ],
)
def test_a_session_may_not_be_had(wanted: Request, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        check(wanted)
    assert caught.value.status == status


def test_the_key_is_answered_as_in_the_rfc() -> None:
    assert check(request()) == "demo"
    head = agreement(request(sec_websocket_protocol="other, realtime"))

    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert head.endswith(b"sec-websocket-protocol: realtime\r\n\r\n")
    assert b"protocol" not in agreement(request())
