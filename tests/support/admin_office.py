"""An admin API over upstreams in memory, asked without a socket, by a clock that stands still."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from multidict import CIMultiDict

from relayd.model import Secret
from relayd.web.admin import Admin
from tests.support.admin_desk import OWN_TOKEN, TOKEN, ListedProber, ListedUpstreams, door

UPSTREAMS = "/admin/api/upstreams"
STRANGER = "203.0.113.9"


class Asking:
    """One request and what it is answered."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.raw_path, self.body = method, path, body
        self.headers = CIMultiDict(headers)
        self.peer = STRANGER
        self.request_id = "req_1"
        self.status = 0

    async def read_body(self) -> bytes:
        return self.body

    def send(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        assert not self.status, "answered twice"
        self.status, self.sent, self.document = status, dict(headers), orjson.loads(body)


class Office:
    """An admin API over upstreams in memory, with a clock that stands still."""

    def __init__(self, token: str = TOKEN, bad: dict[str, str] | None = None) -> None:
        self.now = 1000.0
        self.upstreams = ListedUpstreams(
            [door("openai", "1"), door("openai", "2", state="cooling", until=9.0), door("azure")]
        )
        self.prober = ListedProber(self.upstreams, bad)
        self.admin = Admin(
            self.upstreams,
            self.prober,
            own_token=Secret(OWN_TOKEN),
            token=Secret(token),
            clock=lambda: self.now,
        )

    def ask(
        self,
        path: str = UPSTREAMS,
        method: str = "GET",
        *,
        body: bytes = b"",
        token: str | None = TOKEN,
        peer: str = STRANGER,
        authorization: str | None = None,
    ) -> Asking:
        offered = authorization or (f"Bearer {token}" if token is not None else None)
        asking = Asking(method, path, {"Authorization": offered} if offered else {}, body)
        asking.peer = peer
        client: Any = asking
        asyncio.run(self.admin.answer(client))
        return asking
