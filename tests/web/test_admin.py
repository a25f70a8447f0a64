"""The admin API: who is let in, what is shown, what is switched, and what is said to a mistake."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from relayd.errors import BadCall
from relayd.model import Secret
from relayd.web import admin
from relayd.web.admin import GUESSES, MINUTE, PEERS_REMEMBERED, Admin, Guesses
from relayd.web.client import BodyLimits
from relayd.web.pages import Pages
from relayd.web.server import Front
from tests.support.admin_desk import (
    OWN_TOKEN,
    TOKEN,
    AdminDesk,
    ListedProber,
    ListedUpstreams,
    door,
)
from tests.support.raw_client import RawClient, request_bytes

ROOT = "/admin/api/upstreams"
STRANGER = "203.0.113.9"


class Asking:
    """One request and what it is answered."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.raw_path, self.body = method, path, body
        self.headers = CIMultiDict(headers)
        self.peer = STRANGER
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
        path: str = ROOT,
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


@pytest.fixture
def office() -> Office:
    return Office()


def names(asking: Asking, field: str = "upstreams") -> list[str]:
    assert asking.status == 200, asking.document
    return [f"{row['upstream']}/{row['key']}" for row in asking.document[field]]


# who is let in


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer ", 401),
        ("Bearer wrong", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
        ("Bearer \udcff", 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        (f"Bearer {OWN_TOKEN}", 200),
    ],
)
def test_a_token_opens_the_admin_api(
    office: Office, authorization: str | None, status: int
) -> None:
    asking = office.ask(token=None, authorization=authorization)
    assert asking.status == status
    assert asking.sent[b"cache-control"] == b"no-store"
    if status == 401:
        assert asking.document["error"]["code"] == "invalid_admin_token"
        assert asking.sent[b"www-authenticate"].startswith(b"Bearer ")


def test_an_empty_token_of_the_configuration_opens_nothing() -> None:
    office = Office(token="")
    for authorization in ("Bearer ", "Bearer", None):
        assert office.ask(token=None, authorization=authorization).status == 401
    assert office.ask(token=OWN_TOKEN).status == 200


def test_a_stranger_does_not_learn_which_paths_and_names_there_are(office: Office) -> None:
    asked = [
        office.ask(path, method, token=None).document
        for path in ("/admin/api", ROOT, f"{ROOT}/openai/enable", f"{ROOT}/nobody/enable")
        for method in ("GET", "POST", "DELETE", "OPTIONS")
    ]
    assert all(document == asked[0] for document in asked)
    assert office.upstreams.told == []


def test_a_token_from_a_reload_counts_at_once(office: Office) -> None:
    office.admin.token = Secret("rotated")
    assert office.ask().status == 401
    assert office.ask(token="rotated").status == 200


def test_guessing_is_stopped_for_a_minute(office: Office) -> None:
    assert [office.ask(token="x").status for _ in range(GUESSES + 1)] == [401] * GUESSES + [429]
    office.now += 20.0
    stopped = office.ask()
    assert stopped.status == 429
    assert stopped.document["error"]["code"] == "too_many_attempts"
    assert stopped.sent[b"retry-after"] == b"40"
    office.now += 40.0
    assert office.ask().status == 200


def test_the_own_token_opens_whoever_guesses_beside_it(office: Office) -> None:
    for _ in range(GUESSES):
        office.ask(token="x")
    assert office.ask().status == 429
    assert office.ask(token=OWN_TOKEN).status == 200


def test_one_who_guesses_does_not_lock_out_others(office: Office) -> None:
    for _ in range(GUESSES):
        office.ask(token="x", peer="2001:db8::1")
    assert office.ask(peer="2001:db8::ffff:2").status == 429, "of the same network"
    assert office.ask(peer="2001:db8:0:1::1").status == 200
    assert office.ask(peer="198.51.100.1").status == 200


def test_to_come_without_a_token_is_no_guess(office: Office) -> None:
    for _ in range(GUESSES):
        office.ask(token=None)
    assert office.ask().status == 200


def test_the_memory_of_who_guessed_is_bounded() -> None:
    guesses = Guesses()
    for number in range(PEERS_REMEMBERED + 50):
        guesses.note(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert repr(guesses) == f"<Guesses of {PEERS_REMEMBERED} peers>"
    for _ in range(GUESSES):
        guesses.note("::ffff:10.0.0.1", 5.0)
    assert guesses.wait("::ffff:10.0.0.1", 5.0) == MINUTE
    assert guesses.wait("::ffff:10.0.0.2", 5.0) == 0.0, "an IPv4 peer is not its whole network"
    assert guesses.wait("", 5.0) == 0.0


# what is shown


def test_all_doors_are_shown_in_order(office: Office) -> None:
    asking = office.ask()
    assert names(asking) == ["openai/1", "openai/2", "azure/1"]
    assert asking.document["upstreams"][1]["until"] == 9.0
    assert names(office.ask(ROOT + "/")) == names(asking)
    assert office.ask(method="HEAD").status == 200


@pytest.mark.parametrize("path", ["openai/2", "openai%2F2", "openai?key=2"])
def test_a_door_is_named_by_path_or_by_key(office: Office, path: str) -> None:
    assert names(office.ask(f"{ROOT}/{path}")) == ["openai/2"]


def test_an_upstream_stands_for_all_its_doors(office: Office) -> None:
    assert names(office.ask(f"{ROOT}/openai")) == ["openai/1", "openai/2"]


# what is done


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("openai", b"", ("openai", None)),
        ("openai/2", b"", ("openai", "2")),
        ("openai", b'{"key": "2"}', ("openai", "2")),
        ("openai", b'{"key": 2}', ("openai", "2")),
        ("openai", b'{"key": null}', ("openai", None)),
        ("openai", b"{}", ("openai", None)),
    ],
)
def test_doors_are_switched_and_shown_as_they_are_now(
    office: Office, path: str, body: bytes, told: tuple[str, str | None]
) -> None:
    disabled = office.ask(f"{ROOT}/{path}/disable", "POST", body=body)
    assert {row["state"] for row in disabled.document["upstreams"]} == {"disabled"}
    enabled = office.ask(f"{ROOT}/{path}/enable", "POST", body=body)
    assert {row["state"] for row in enabled.document["upstreams"]} == {"up"}
    assert names(enabled) == [n for n in ("openai/1", "openai/2") if told[1] in (None, n[-1])]
    assert office.upstreams.told == [("disable", *told), ("enable", *told)]


def test_what_an_operator_does_is_logged(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "relayd"):
        office.ask(f"{ROOT}/openai/2/disable", "POST")
        office.ask(token="guess-me-not")
        office.ask()
    assert caplog.messages == [
        f"admin: disable openai/2, asked by {STRANGER}",
        f"admin: a wrong token from {STRANGER}",
    ]


def test_a_probe_tells_of_each_door() -> None:
    office = Office(bad={"openai/2": "401: no such key"})
    asking = office.ask(f"{ROOT}/openai/probe", "POST")
    assert [row["ok"] for row in asking.document["results"]] == [True, False]
    assert asking.document["results"][1]["why"] == "401: no such key"
    assert names(office.ask(f"{ROOT}/openai/2/probe", "POST"), "results") == ["openai/2"]


def test_everything_is_probed_at_once(office: Office) -> None:
    asking = office.ask(f"{ROOT}/probe", "POST")
    assert names(asking, "results") == ["openai/1", "openai/2", "azure/1"]


# mistakes


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("opnai", "There is no upstream `opnai`; did you mean `openai`?"),
        ("nobody", "There is no upstream `nobody`."),
        ("openai/7", "The upstream `openai` has no key `7`; it has: 1, 2."),
        ("openai/1?key=2", "The upstream `openai` has no key `1/2`; it has: 1, 2."),
    ],
)
def test_an_unknown_name_is_a_404_with_the_nearest(office: Office, path: str, message: str) -> None:
    name, _, query = path.partition("?")
    for verb in ("enable", "disable", "probe"):
        asking = office.ask(f"{ROOT}/{name}/{verb}?{query}", "POST")
        assert (asking.status, asking.document["error"]["code"]) == (404, "unknown_upstream")
        assert asking.document["error"]["message"] == message
    assert office.ask(f"{ROOT}/{path}").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/admin/api", 404, "not_found"),
        ("GET", "/admin/api/nothing", 404, "not_found"),
        ("GET", "/admin/api/upstreamsx", 404, "not_found"),
        ("POST", ROOT, 404, "not_found"),
        ("POST", f"{ROOT}/enable", 404, "not_found"),
        ("POST", f"{ROOT}/openai/explode", 404, "not_found"),
        ("DELETE", f"{ROOT}/openai", 405, "bad_method"),
        ("OPTIONS", ROOT, 405, "bad_method"),
    ],
)
def test_what_is_not_there_is_said(
    office: Office, method: str, path: str, status: int, code: str
) -> None:
    asking = office.ask(path, method)
    assert (asking.status, asking.document["error"]["code"]) == (status, code)
    assert asking.document["error"]["message"]
    assert (b"allow" in asking.sent) == (status == 405)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", b"{"),
        ("", b"[]"),
        ("", b'"2"'),
        ("", b'{"keys": "2"}'),
        ("", b'{"key": ""}'),
        ("", b'{"key": true}'),
        ("", b'{"key": ["2"]}'),
        ("", b"\xff"),
        ("?key=", b""),
        ("?key=1&key=2", b""),
        ("?key=1", b'{"key": "2"}'),
    ],
)
def test_a_bad_key_is_a_400_and_nothing_is_done(office: Office, query: str, body: bytes) -> None:
    asking = office.ask(f"{ROOT}/openai/disable{query}", "POST", body=body)
    assert asking.status == 400, asking.document
    assert office.upstreams.told == []


def test_a_body_that_cannot_be_read_is_said(office: Office) -> None:
    class Broken(Asking):
        async def read_body(self) -> bytes:
            raise BadCall("too large", status=413)

    asking = Broken("POST", f"{ROOT}/openai/enable", {"Authorization": f"Bearer {TOKEN}"}, b"")
    client: Any = asking
    asyncio.run(office.admin.answer(client))
    assert asking.status == 413


def test_a_bug_is_logged_and_not_shown(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    async def explode(upstream: str, key: str | None) -> Any:
        raise ZeroDivisionError("sk-secret")

    office.prober.probe = explode  # type: ignore[method-assign]
    asking = office.ask(f"{ROOT}/openai/probe", "POST")
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
    path, token = f"{ROOT}/openai/enable", {"Authorization": f"Bearer {TOKEN}"}
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
        """Stands for the relay and the ledger: whatever is asked of it is a failure."""

        def __getattr__(self, name: str) -> Any:
            happened.append(name)
            raise AssertionError(name)

    class Lobby(Asking):
        def admit(self, ids: bytes, limits: BodyLimits) -> None:
            self.limits = limits

    async def knock(office: Office, nobody: Any, path: str) -> Lobby:
        pages = Pages(CollectorRegistry(), Secret(""), Secret(""), "1", 0.0, lambda: True)
        front = Front(nobody, pages, nobody, BodyLimits(10**9), office.admin)
        for draining in (False, True):
            front.draining = draining
            client: Any = Lobby("POST", path, {"Authorization": f"Bearer {TOKEN}"}, b"{}")
            await front.handle(client)
        lobby: Lobby = client
        return lobby

    for tail, status in (("/openai/disable", 200), ("/nobody/disable", 404), ("?key=x", 404)):
        answered = asyncio.run(knock(Office(), Nobody(), ROOT + tail))
        assert answered.status == status
        assert answered.limits == admin.BODY
    assert happened == []
