"""The admin API as a whole: mistakes of its own, and what comes over a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.model import Secret
from relayd.web import admin
from relayd.web.admin import Admin
from relayd.web.bodies import BodyLimits
from relayd.web.pages import Face, Pages
from relayd.web.server import Front
from tests.support.admin_desk import TOKEN, AdminDesk, door
from tests.support.admin_office import UPSTREAMS, Asking, Office
from tests.support.raw_client import RawClient, request_bytes


def test_a_body_that_cannot_be_read_is_said(office: Office) -> None:
    class Broken(Asking):
        async def read_body(self) -> bytes:
            raise BadCall("too large", status=413)

    asking = Broken("POST", f"{UPSTREAMS}/openai/enable", {"Authorization": f"Bearer {TOKEN}"}, b"")
    client: Any = asking
    asyncio.run(office.admin.answer(client))
    assert asking.status == 413


def test_a_bug_is_logged_and_not_shown(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    async def explode(upstream: str, key: str | None) -> Any:
        raise ZeroDivisionError("sk-secret")

    office.prober.probe = explode  # type: ignore[method-assign]
    asking = office.ask(f"{UPSTREAMS}/openai/probe", "POST")
    assert (asking.status, asking.document["error"]["code"]) == (500, "internal_error")
    assert "sk-secret" not in asking.document["error"]["message"]
    assert "could not be answered" in caplog.messages[-1]


# over a socket


@pytest.mark.parametrize(
    ("path", "mine"),
    [
        ("/admin/api", True),
        ("/admin/api/", True),
        ("/admin/api/upstreams", True),
        ("/admin/apiary", False),
        ("/admin", False),
        ("/v1/admin/api", False),
    ],
)
def test_the_admin_api_is_one_folder(path: str, mine: bool) -> None:
    assert Admin.serves(path) is mine


def test_a_stranger_cannot_send_a_large_body_and_an_operator_need_not() -> None:
    path, token = f"{UPSTREAMS}/openai/enable", {"Authorization": f"Bearer {TOKEN}"}
    large = b" " * (admin.BODY.max_body + 1)
    with AdminDesk([door("openai")]) as desk:
        address = ("127.0.0.1", int(desk.url.rpartition(":")[2]))
        for headers, status in (({}, 401), (token, 413)):
            with RawClient(address) as client:
                client.send(request_bytes(path, large, headers))
                assert client.reply().status == status
        form = {**token, "Content-Type": "application/x-www-form-urlencoded"}
        with RawClient(address) as client:
            client.send(request_bytes(path, b"key=1", form))
            assert client.reply().status == 415
        with RawClient(address) as client:
            client.send(request_bytes(path, b'{"key":1}', token))
            assert client.reply().document["upstreams"][0]["state"] == "up"
            client.send(request_bytes(path, b"", token))
            assert client.reply().status == 200, "the connection is still good"


def test_an_admin_request_is_not_relayed_and_leaves_no_row() -> None:
    happened: list[str] = []

    class Nobody:
        """Stands for the relay and the account pages: whatever is asked of it is a failure."""

        def __getattr__(self, name: str) -> Any:
            happened.append(name)
            raise AssertionError(name)

    class Lobby(Asking):
        def admit(self, ids: bytes, limits: BodyLimits) -> None:
            self.limits = limits

        def release(self) -> None:
            """It has no body that was kept."""

    async def knock(office: Office, nobody: Any, path: str) -> Lobby:
        pages = Pages(bytes, Secret(""), [], Face("1", 0.0), lambda: True)
        front = Front(nobody, pages, BodyLimits(10**9), office.admin, nobody, nobody)
        for draining in (False, True):
            front.draining = draining
            client: Any = Lobby("POST", path, {"Authorization": f"Bearer {TOKEN}"}, b"{}")
            await front.handle(client)
        lobby: Lobby = client
        return lobby

    for tail, status in (("/openai/disable", 200), ("/nobody/disable", 404), ("?key=x", 405)):
        answered = asyncio.run(knock(Office(), Nobody(), UPSTREAMS + tail))
        assert answered.status == status
        assert answered.limits == admin.BODY
    assert happened == []
