"""Realtime sessions for tests: a client with a library of its own, and an upstream by hand."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from relayd.model import Entry
from tests.support.raw_client import RawClient, Reply
from tests.support.running import Running
from tests.support.scripted_upstream import Asked, Peer

PATIENCE = 10.0
KEY = base64.b64encode(bytes(range(16))).decode()
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}

BY_HAND = """\
demo: "off"
realtime: {{max_message: 64KiB}}
upstreams:
  up:
    dialect: openai
    base_url: "{url}/v1"
    key: sk-upstream
    models: {{fast: big-model}}
    timeouts: {{connect: 5s, first_byte: 5s, stall: 500ms}}
"""
MASK = b"\x01\x02\x03\x04"


class Talk:
    """A client's side of a session. A context; it hangs up at the end."""

    def __init__(
        self,
        relay: Running,
        model: str = "demo",
        *,
        key: str | None = None,
        query: str = "",
        protocols: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        host, port = relay.address
        auth = {"Authorization": f"Bearer {key or relay.key}"} if not protocols else {}
        self._opening = connect(
            f"ws://{host}:{port}/v1/realtime?model={model}{query}",
            additional_headers={**auth, **(headers or {})},
            subprotocols=[Subprotocol(each) for each in protocols] or None,
            max_size=None,
            open_timeout=PATIENCE,
            ping_interval=None,
            close_timeout=PATIENCE,
            proxy=None,
        )

    def __enter__(self) -> Talk:
        self.socket: ClientConnection = self._opening.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._opening.__exit__(None, None, None)

    @property
    def request_id(self) -> str:
        """What the relay calls the session."""
        assert self.socket.response is not None
        return str(self.socket.response.headers["x-request-id"])

    def say(self, kind: str, **more: Any) -> None:
        """Send an event."""
        self.socket.send(orjson.dumps({"type": kind, **more}).decode())

    def hear(self) -> Any:
        """The next event."""
        return orjson.loads(self.socket.recv(PATIENCE))

    def hear_until(self, kind: str) -> Any:
        """The next event of a kind."""
        while True:
            event = self.hear()
            if event["type"] == kind:
                return event

    def respond(self, text: str = "hi") -> Any:
        """Ask for a response, and hear it to its end."""
        item = {"type": "message", "content": [{"type": "input_text", "text": text}]}
        self.say("conversation.item.create", item=item)
        self.say("response.create")
        return self.hear_until("response.done")

    def ending(self) -> tuple[int, list[Any]]:
        """The close code, and the events before it."""
        events: list[Any] = []
        try:
            while True:
                events.append(self.hear())
        except ConnectionClosed as closed:
            return (closed.rcvd.code if closed.rcvd is not None else 1006), events


def knock(
    relay: Running,
    path: str = "/v1/realtime?model=demo",
    headers: Mapping[str, str | None] | None = None,
) -> Reply:
    """The reply to a handshake that is refused; a header of None is left out."""
    wanted = {"Host": "relay.test", **relay.auth, **HANDSHAKE, **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in wanted.items() if value is not None)
    with relay.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        return client.reply()


def handshake(relay: Running, model: str = "demo") -> bytes:
    """A request for a session."""
    wanted = {"Host": "relay.test", **relay.auth, **HANDSHAKE}
    lines = "".join(f"{name}: {value}\r\n" for name, value in wanted.items())
    return f"GET /v1/realtime?model={model} HTTP/1.1\r\n{lines}\r\n".encode()


def opened(relay: Running, model: str = "demo") -> RawClient:
    """A session over a bare socket, its handshake done."""
    client = relay.connect()
    client.send(handshake(relay, model))
    head = client.read_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client


def accept(peer: Peer, *, more: bytes = b"") -> Asked:
    """An upstream agrees to the session that is asked of it."""
    asked = peer.read_request()
    key = asked.headers["sec-websocket-key"].encode()
    answer = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + answer + b"\r\n" + more + b"\r\n"
    )
    return asked


def event(kind: str, **more: Any) -> bytes:
    """An event as an upstream's frame."""
    return frame(1, orjson.dumps({"type": kind, **more}))


def frame(opcode: int, payload: bytes = b"", *, mask: bytes = b"") -> bytes:
    """One frame; a client's has a mask."""
    size, flag = len(payload), 0x80 if mask else 0
    if size < 126:
        length = bytes([flag | size])
    elif size < 2**16:
        length = bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([flag | 127]) + size.to_bytes(8, "big")
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return bytes([0x80 | opcode]) + length + mask + masked


def close(code: int, *, mask: bytes = b"") -> bytes:
    """A close frame."""
    return frame(8, code.to_bytes(2, "big"), mask=mask)


def last_words(client: RawClient) -> tuple[str, int]:
    """The code of the last error event before the close frame, and that frame's."""
    code = ""
    while True:
        head = client.read_exactly(2)
        size = head[1]
        if size > 125:
            size = int.from_bytes(client.read_exactly(2 if size == 126 else 8), "big")
        payload = client.read_exactly(size)
        if head[0] & 0x0F == 8:
            return code, int.from_bytes(payload[:2], "big")
        if payload.startswith(b"{"):
            code = (orjson.loads(payload).get("error") or {}).get("code", code)


def rows(relay: Running, before: int, number: int) -> list[Entry]:
    """The rows since then, in the order in which they came about."""
    return sorted(relay.new_rows(before, number), key=lambda row: row.request_id)
