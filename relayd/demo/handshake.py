"""How a realtime session of the demo begins: which requests ask for one, and what they are told."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from relayd.demo.names import parse
from relayd.demo.refusal import Refusal
from relayd.demo.routes import Request

ROUTE: Final = "/v1/realtime"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STATUSES: Final = ("400", "401", "403", "404", "429", "500", "503", "529")


def is_session(request: Request) -> bool:
    """Whether a request asks for a session."""
    wanted = request.headers.get("upgrade", "").lower()
    return request.method == "GET" and request.route == ROUTE and wanted == "websocket"


def check(request: Request) -> str:
    """The model of a session; raises Refusal where it is not to be had."""
    headers = request.headers
    if headers.get("sec-websocket-version") != "13" or "sec-websocket-key" not in headers:
        raise Refusal(400, "This is no WebSocket handshake.")
    model = request.query.get("model", "")
    if not model:
        raise Refusal(400, "You must provide a model parameter.", code="missing_model")
    for status in _STATUSES:
        if parse(model).has(status):
            raise Refusal(int(status), f"The model {model} answers {status}.")
    return model


def agreement(request: Request) -> bytes:
    """The head of the reply to a handshake that `check` has let pass."""
    key = request.headers["sec-websocket-key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    head = (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"x-request-id: req_demo_session\r\nsec-websocket-accept: " + accept + b"\r\n"
    )
    offered = request.headers.get("sec-websocket-protocol", "")
    if "realtime" in [each.strip() for each in offered.split(",")]:
        head += b"sec-websocket-protocol: realtime\r\n"
    return head + b"\r\n"
