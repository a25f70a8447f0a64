"""Who is let into the admin API, and who is stopped from guessing."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from relayd.accounts import AdminToken
from relayd.errors import Refused
from relayd.model import Secret
from relayd.web.admin_guard import GUESSES, GUESSES_OF_ALL, MINUTE, PEERS_REMEMBERED, Guard, Guesses
from tests.support.admin_desk import OWN_TOKEN, TOKEN
from tests.support.admin_office import STRANGER, UPSTREAMS, Asking, Office


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
        for path in (
            "/admin/api",
            UPSTREAMS,
            f"{UPSTREAMS}/openai/enable",
            f"{UPSTREAMS}/nobody/enable",
        )
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
    assert guesses.wait("10.9.9.9", MINUTE) == 0.0
    assert repr(guesses) == f"<Guesses of {PEERS_REMEMBERED} peers>"
    for _ in range(GUESSES):
        guesses.note("::ffff:10.0.0.1", MINUTE)
    assert guesses.wait("::ffff:10.0.0.1", MINUTE) == MINUTE
    assert guesses.wait("::ffff:10.0.0.2", MINUTE) == 0.0, "an IPv4 peer is not its whole network"
    assert guesses.wait("", MINUTE) == 0.0


def test_many_peers_together_do_not_guess_without_bound(office: Office) -> None:
    tried = [office.ask(token="x", peer=f"2001:db8:{n:x}::1").status for n in range(150)]
    assert tried == [401] * GUESSES_OF_ALL + [429] * (150 - GUESSES_OF_ALL)
    assert office.ask(peer="198.51.100.1").status == 429
    assert office.ask(token=OWN_TOKEN).status == 200, "which cannot be guessed"
    office.now += MINUTE
    assert office.ask(peer="198.51.100.1").status == 200


def kept(name: str, secret: bytes, disabled: bool = False) -> AdminToken:
    return AdminToken(1, name, sha256(secret).digest(), secret[:8].decode(), 1.0, disabled)


def test_each_token_has_a_name_for_what_it_does() -> None:
    office = Office()
    office.admin.know([kept("ops", b"rat-1"), kept("old", b"rat-2", disabled=True)])
    assert office.ask(token="rat-1").status == 200
    assert office.ask(token="rat-2").status == 401
    office.admin.know([])
    assert office.ask(token="rat-1").status == 401


def test_a_token_of_the_store_opens_whoever_guesses_beside_it(office: Office) -> None:
    office.admin.know([kept("ops", b"rat-1")])
    for _ in range(GUESSES):
        office.ask(token="x")
    assert office.ask().status == 429
    assert office.ask(token="rat-1").status == 200


def test_behind_a_trusted_proxy_it_is_the_client_that_guesses() -> None:
    guard = Guard(Secret("own"), Secret("right"), lambda: 0.0, lambda _: "192.0.2.1")
    client: Any = Asking("GET", UPSTREAMS, {"Authorization": "Bearer x"}, b"")
    for _ in range(GUESSES):
        with pytest.raises(Refused):
            guard.let_in(client)
    assert guard._guesses.wait("192.0.2.1", 0.0) == MINUTE
    assert guard._guesses.wait(STRANGER, 0.0) == 0.0


def test_no_repr_shows_a_token(office: Office) -> None:
    office.admin.know([kept("ops", b"rat-1")])
    office.ask(token="x")
    assert repr(office.admin) == "<Admin <Guard of 1 tokens, <Guesses of 1 peers>>>"
