"""What clients are told of their own account, each in the shape that it was written for."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from relayd.money import DOLLAR
from relayd.web.account import FRESH, UNBOUNDED, UNITS, Week, monday_of
from tests.support.admin_desk import NOW, TODAY
from tests.support.raw_client import Reply, request_bytes
from tests.web.conftest import Counter

PATHS = (
    "/api/v1/credits",
    "/v1/dashboard/billing/subscription",
    "/dashboard/billing/subscription",
    "/v1/dashboard/billing/usage",
    "/dashboard/billing/usage",
    "/api/usage/token",
    "/v1/usage",
    "/api/v1/key",
)


class Client:
    """One who has a key and asks about it."""

    def __init__(self, ask: Counter, **fields: Any) -> None:
        self.ask = ask
        made = ask("POST", "/keys", {"name": "laptop", "account": "alice", **fields}, status=201)
        self.key_id, self.account_id = made["id"], made["account_id"]
        self.secret = made["secret"]

    def get(self, path: str, method: str = "GET", secret: str | None = None) -> Reply:
        headers = {"Authorization": f"Bearer {self.secret if secret is None else secret}"}
        return self.ask.desk.send(request_bytes(path, b"", headers, method=method))

    def __call__(self, path: str) -> Any:
        reply = self.get(path)
        assert reply.status == 200, reply.body
        return reply.document

    def spend(self, dollars: float, day: int = TODAY) -> None:
        """As a settled request does."""
        balances, amount = self.ask.desk.balances, int(dollars * DOLLAR)
        balances.account(self.account_id).add(amount, day)
        balances.key(self.key_id).add(amount, day)


@pytest.fixture
def client(ask: Counter) -> Client:
    """Of an account without any credit: nothing bounds it."""
    ask("POST", "/accounts", {"name": "alice"}, status=201)
    return Client(ask)


@pytest.fixture
def payer(ask: Counter) -> Client:
    """Of an account with a hundred dollars, 14.50 of them spent."""
    ask("POST", "/accounts", {"name": "alice"}, status=201)
    ask("POST", "/accounts/alice/credits", {"amount": "100"}, status=201)
    client = Client(ask)
    client.spend(14.5)
    return client


def test_the_balance_is_shown_in_every_shape(payer: Client) -> None:
    assert payer("/api/v1/credits") == {"data": {"balance": 85.5, "amount": 100.0}}
    for start in ("/v1", ""):
        assert payer(f"{start}/dashboard/billing/subscription") == {
            "object": "billing_subscription",
            "has_payment_method": True,
            "soft_limit_usd": 100.0,
            "hard_limit_usd": 100.0,
            "system_hard_limit_usd": 100.0,
            "access_until": 0,
        }
        used = payer(f"{start}/dashboard/billing/usage?start_date=2026-01-01")
        assert used == {"object": "list", "total_usage": 1450.0}
    assert payer("/v1/usage") == {
        "isValid": True,
        "planName": "default",
        "remaining": 85.5,
        "unit": "USD",
    }
    assert payer("/api/usage/token/") == {
        "code": True,
        "message": "ok",
        "data": {
            "object": "token_usage",
            "name": "laptop",
            "total_granted": 100 * UNITS,
            "total_used": int(14.5 * UNITS),
            "total_available": int(85.5 * UNITS),
            "unlimited_quota": False,
            "model_limits": {},
            "model_limits_enabled": False,
            "expires_at": 0,
        },
    }


def test_what_requests_in_flight_have_reserved_is_not_left(payer: Client) -> None:
    payer.ask.desk.balances.account(payer.account_id).reserved += DOLLAR
    assert payer("/api/v1/credits")["data"]["balance"] == 84.5
    payer.ask("PATCH", "/keys/laptop", {"caps": {"ever": "20"}})
    payer.ask.desk.balances.key(payer.key_id).reserved += DOLLAR
    assert payer("/v1/usage")["remaining"] == 4.5


def test_an_account_without_bounds_says_so_in_every_shape(client: Client) -> None:
    client.spend(2.5)
    unbounded = float(UNBOUNDED)
    assert client("/api/v1/credits") == {"data": {"balance": unbounded, "amount": unbounded}}
    assert client("/v1/dashboard/billing/subscription")["hard_limit_usd"] == unbounded
    assert client("/v1/dashboard/billing/usage")["total_usage"] == 250.0
    assert client("/v1/usage")["remaining"] == -1
    token = client("/api/usage/token")["data"]
    assert (token["unlimited_quota"], token["total_used"]) == (True, int(2.5 * UNITS))
    key = client("/api/v1/key")["data"]
    assert (key["limit"], key["limit_remaining"], key["limit_reset"]) == (None, None, None)


def test_the_least_of_balance_and_caps_is_what_remains(ask: Counter, payer: Client) -> None:
    ask("PATCH", "/keys/laptop", {"caps": {"day": "20", "month": "50"}})
    assert payer("/v1/usage")["remaining"] == 5.5
    assert payer("/api/v1/credits")["data"]["balance"] == 85.5, "the account's own"
    payer.spend(7)
    assert payer("/v1/usage")["remaining"] == 0.0, "less than nothing would read as no bound"
    token = payer("/api/usage/token")["data"]
    assert (token["total_available"], token["unlimited_quota"]) == (0, False)


def test_without_a_balance_a_cap_stands_for_the_credit(ask: Counter, client: Client) -> None:
    ask("PATCH", "/keys/laptop", {"caps": {"ever": "10"}})
    client.spend(4)
    assert client("/api/v1/credits") == {"data": {"balance": 6.0, "amount": 10.0}}
    assert client("/dashboard/billing/subscription")["hard_limit_usd"] == 10.0
    assert client("/dashboard/billing/usage")["total_usage"] == 400.0


@pytest.mark.parametrize(
    ("caps", "limit", "remaining", "reset"),
    [
        ({"day": "5"}, 5.0, 4.0, "daily"),
        ({"day": "5", "month": "20"}, 20.0, 17.0, "monthly"),
        ({"day": "5", "ever": "100"}, 100.0, 90.0, None),
        ({"month": "2"}, 2.0, 0.0, "monthly"),
    ],
)
def test_a_key_shows_its_widest_cap_and_what_it_spent_by_window(
    ask: Counter,
    client: Client,
    caps: dict[str, str],
    limit: float,
    remaining: float,
    reset: str | None,
) -> None:
    ask("PATCH", "/keys/laptop", {"caps": caps})
    for dollars, day in ((7, 20261001), (2, 20261118), (1, TODAY)):
        client.spend(dollars, day)
    key = client("/api/v1/key")["data"]
    assert (key["limit"], key["limit_remaining"], key["limit_reset"]) == (limit, remaining, reset)
    assert (key["label"], key["usage"]) == ("laptop", 10.0)
    assert (key["usage_daily"], key["usage_monthly"]) == (1.0, 3.0)
    assert key["usage_weekly"] == 1.0, "no row is in the store yet"


def test_a_key_shows_when_it_ends_and_what_it_is_narrowed_to(ask: Counter, client: Client) -> None:
    ask("PATCH", "/keys/laptop", {"expires_at": NOW + 60.0, "models": ["fast-*"]})
    assert client("/v1/dashboard/billing/subscription")["access_until"] == NOW + 60.0
    token = client("/api/usage/token")["data"]
    assert (token["model_limits"], token["model_limits_enabled"]) == ({"fast-*": True}, True)
    assert token["expires_at"] == NOW + 60.0


@pytest.mark.parametrize("path", PATHS)
def test_a_wrong_key_is_a_401_whose_reason_stands_where_it_is_looked_for(
    client: Client, path: str
) -> None:
    for secret in ("sk-relayd-wrong", ""):
        reply = client.get(path, secret=secret)
        assert reply.status == 401
        message = reply.document.get("message") or reply.document["error"]["message"]
        assert "key" in message
        assert "sk-relayd-wrong" not in message
    assert client.get("/api/usage/token", secret="x").document["success"] is False


@pytest.mark.parametrize("path", PATHS)
def test_account_endpoints_are_for_reading(client: Client, path: str) -> None:
    posted = client.get(path, "POST")
    assert (posted.status, posted.headers["allow"]) == (405, "GET, HEAD")
    head = client.get(path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["cache-control"] == "no-store"


def test_a_disabled_key_is_told_nothing(ask: Counter, payer: Client) -> None:
    ask("PATCH", "/keys/laptop", {"disabled": True})
    assert payer.get("/api/v1/credits").status == 401


def test_a_store_that_cannot_be_read_is_a_503(client: Client, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "relayd.db")) as database, database:
        database.execute("DROP TABLE usage_daily_keys")
    assert client.get("/api/v1/key").status == 503
    assert client.get("/api/v1/credits").status == 200, "that needs no store"


class CountingSpends:
    """A store whose answer is how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def key_spent(self, since_day: int) -> dict[int, dict[int, int]]:
        self.asked.append(since_day)
        return {1: {since_day: len(self.asked), since_day + 1: 100}}


def test_the_week_is_asked_for_once_in_a_while_and_when_it_is_another() -> None:
    now, spends = [0.0], CountingSpends()

    async def spent(week: Week, day: int = TODAY) -> list[int]:
        return await asyncio.gather(*(week.spent(1, day) for _ in range(5)))

    async def ask() -> None:
        week = Week(spends, lambda: now[0])
        assert await spent(week) == [101] * 5
        now[0] = FRESH - 1.0
        assert await spent(week) == [101] * 5
        now[0] = FRESH
        assert await spent(week) == [102] * 5
        assert await spent(week, 20261123) == [103] * 5
        assert await week.spent(2, 20261123) == 0

    asyncio.run(ask())
    assert spends.asked == [20261116, 20261116, 20261123]


def test_a_week_begins_on_monday() -> None:
    assert [monday_of(day) for day in (20261121, 20261116, 20260301)] == [
        20261116,
        20261116,
        20260223,
    ]
