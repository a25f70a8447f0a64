"""What a client may know of its own account: balance, usage, limits, with its key.

There is no one way to ask, so there are the ways that clients have: the shapes are those of the
relays that they were written for, and each answers every client that knows the path. All of them
read figures in memory; only the week's spending comes from the store, at most once in a while.

Two different things are shown. The account's credit is what it was granted and has left. What may
be spent is the least that the account's balance, the key's caps and the group's caps leave. Where
nothing bounds the spending, each shape says so in its own way; where it has none, with a number
that no one reaches.

    GET /api/v1/credits                       {"data": {"balance": 85.5, "amount": 100.0}}
    GET /v1/dashboard/billing/subscription    also without /v1; dollars
    GET /v1/dashboard/billing/usage           also without /v1; cents
    GET /api/usage/token                      in units of 1/500,000 dollar
    GET /v1/usage                             dollars, -1 without bound
    GET /api/v1/key                           dollars; by day, week and month
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import NamedTuple, Protocol

import orjson

from relayd.accounts import Caps
from relayd.errors import BadCall, RelayError
from relayd.lines import say
from relayd.money import DOLLAR, number
from relayd.policy.balances import Balances, Spending
from relayd.policy.keys import Caller
from relayd.store.refusals import StoreError
from relayd.web.admin_desk import refusal
from relayd.web.client import HttpClient, RawHeaders
from relayd.wire.formats import FORMATS

UNBOUNDED = 100_000_000  # dollars: what clients were taught to read as no limit
UNITS = 500_000  # of the token endpoint, to a dollar; /api/status says so
FRESH = 30.0  # seconds that the week's spending is good for
HEADERS: RawHeaders = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]

Document = dict[str, object]


class Spends(Protocol):
    """The part of a store that knows of past days."""

    async def key_spent(self, since_day: int) -> dict[int, dict[int, int]]:
        """Key id to day to what was paid for its requests on that day, from `since_day` on."""


class Left(NamedTuple):
    """Something to spend from, in pico-dollars: what is left of how much."""

    left: int
    total: int

    @property
    def used(self) -> int:
        return self.total - self.left


class Books(NamedTuple):
    """Where the figures come from.

    Arguments:
        balances: of accounts and keys.
        needs_balance: whether a caller's account has to have one.
        today: the calendar day, as 20261121.
        spends: for the week.
    """

    balances: Balances
    needs_balance: Callable[[Caller], bool]
    today: Callable[[], int]
    spends: Spends


class Week:
    """What keys spent since Monday. Owns the last answer of the store, and asks again in a while.

    One asks at a time; others wait for the answer.
    """

    def __init__(self, spends: Spends, clock: Callable[[], float]) -> None:
        self._spends = spends
        self._clock = clock
        self._asking = asyncio.Lock()
        self._until = float("-inf")
        self._monday = 0
        self._sums: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<Week from {self._monday}: {len(self._sums)} keys>"

    async def spent(self, key_id: int, day: int) -> int:
        """By this key, in the week of that day. Raises StoreError."""
        async with self._asking:
            if self._clock() >= self._until or self._monday != monday_of(day):
                await self._ask(monday_of(day))
        return self._sums.get(key_id, 0)

    async def _ask(self, monday: int) -> None:
        days = await self._spends.key_spent(monday)
        self._sums = {key_id: sum(amounts.values()) for key_id, amounts in days.items()}
        self._monday, self._until = monday, self._clock() + FRESH


class AccountPages:
    """Answers account endpoints. Owns the memory of the week.

    Arguments:
        find: the caller of a request, from its key and address; raises Refused.
        books: the figures.
        clock: the loop's.
    """

    def __init__(
        self, find: Callable[[HttpClient], Caller], books: Books, clock: Callable[[], float]
    ) -> None:
        self._find = find
        self._books = books
        self._week = Week(books.spends, clock)
        pages: dict[str, Callable[[Caller], Awaitable[Document]]] = {
            "/api/v1/credits": self._credits,
            "/v1/dashboard/billing/subscription": self._subscription,
            "/dashboard/billing/subscription": self._subscription,
            "/v1/dashboard/billing/usage": self._usage,
            "/dashboard/billing/usage": self._usage,
            "/api/usage/token": self._token,
            "/v1/usage": self._remaining,
            "/api/v1/key": self._key,
        }
        self._pages = {**pages, **{f"{path}/": page for path, page in pages.items()}}

    def __repr__(self) -> str:
        return f"<AccountPages {self._week!r}>"

    def serves(self, path: str) -> bool:
        """Whether there is an account endpoint at this path."""
        return path in self._pages

    async def answer(self, client: HttpClient, path: str, request_id: str) -> None:
        """Answer one request to a path that is served, whatever it is."""
        try:
            if client.method not in ("GET", "HEAD"):
                raise BadCall("This is for reading: GET.", status=405, code="bad_method")
            document = await self._pages[path](self._find(client))
        except StoreError as exc:
            _refuse(client, path, refusal(exc), request_id)
        except RelayError as exc:
            _refuse(client, path, exc, request_id)
        except Exception:
            words = f"{path} could not be answered"
            say(logging.ERROR, words, exc=True, request=request_id)
            bug = RelayError("This could not be found out: see relayd's log.")
            _refuse(client, path, bug, request_id)
        else:
            client.send(200, HEADERS, orjson.dumps(document))

    # --- the shapes -----------------------------------------------------------------------------

    async def _credits(self, caller: Caller) -> Document:
        credit = self._credit(caller) or self._least(caller)
        balance, amount = (number(credit.left), number(credit.total)) if credit else _NO_BOUND
        return {"data": {"balance": balance, "amount": amount}}

    async def _subscription(self, caller: Caller) -> Document:
        credit = self._credit(caller) or self._least(caller)
        total = number(credit.total) if credit else float(UNBOUNDED)
        return {
            "object": "billing_subscription",
            "has_payment_method": True,
            "soft_limit_usd": total,
            "hard_limit_usd": total,
            "system_hard_limit_usd": total,
            "access_until": _expiry(caller),
        }

    async def _usage(self, caller: Caller) -> Document:
        credit = self._credit(caller) or self._least(caller)
        used = credit.used if credit else self._books.balances.spent(caller.account.id)
        return {"object": "list", "total_usage": number(used * 100)}

    async def _token(self, caller: Caller) -> Document:
        least, used = self._least(caller), self._books.balances.key(caller.key.id).ever
        available = max(0, least.left) if least else UNBOUNDED * DOLLAR
        models = caller.key.models
        data = {
            "object": "token_usage",
            "name": caller.key.name,
            "total_granted": _units(available + used),
            "total_used": _units(used),
            "total_available": _units(available),
            "unlimited_quota": least is None,
            "model_limits": dict.fromkeys(models, True),
            "model_limits_enabled": bool(models),
            "expires_at": _expiry(caller),
        }
        return {"code": True, "message": "ok", "data": data}

    async def _remaining(self, caller: Caller) -> Document:
        least = self._least(caller)
        remaining = -1 if least is None else number(max(0, least.left))
        plan = caller.group.name
        return {"isValid": True, "planName": plan, "remaining": remaining, "unit": "USD"}

    async def _key(self, caller: Caller) -> Document:
        key, day = caller.key, self._books.today()
        spending, window = self._books.balances.key(key.id), _widest(caller.key.caps)
        bound = _left(spending, key.caps, day).get(window)
        today = spending.on(day)
        data = {
            "label": key.name,
            "limit": number(bound.total) if bound else None,
            "limit_remaining": number(max(0, bound.left)) if bound else None,
            "limit_reset": _RESETS.get(window) if bound else None,
            "usage": number(spending.ever),
            "usage_daily": number(today),
            "usage_weekly": number(max(today, await self._week.spent(key.id, day))),
            "usage_monthly": number(spending.in_month(day)),
            "is_free_tier": False,
        }
        return {"data": data}

    # --- the figures ----------------------------------------------------------------------------

    def _credit(self, caller: Caller) -> Left | None:
        """The account's credit; None where it needs none."""
        if not self._books.needs_balance(caller):
            return None
        balances, account = self._books.balances, caller.account.id
        return Left(balances.available(account), balances.granted(account) or 0)

    def _least(self, caller: Caller) -> Left | None:
        """That of which least is left; None where nothing bounds the spending."""
        day, balances = self._books.today(), self._books.balances
        bounds = [
            *_left(balances.key(caller.key.id), caller.key.caps, day).values(),
            *_left(balances.account(caller.account.id), caller.group.caps, day).values(),
        ]
        if credit := self._credit(caller):
            bounds.append(credit)
        return min(bounds, default=None)


_NO_BOUND = (float(UNBOUNDED), float(UNBOUNDED))
_RESETS = {"day": "daily", "month": "monthly"}


def monday_of(day: int) -> int:
    """The first day of its week, both as 20261121."""
    when = date(day // 10_000, day // 100 % 100, day % 100)
    return int(f"{when - timedelta(when.weekday()):%Y%m%d}")


def _left(spending: Spending, caps: Caps, day: int) -> dict[str, Left]:
    """By window, of those that have a cap, what it leaves beside requests in flight."""
    windows = (
        ("ever", caps.ever, spending.ever),
        ("month", caps.month, spending.in_month(day)),
        ("day", caps.day, spending.on(day)),
    )
    return {
        window: Left(cap - spent - spending.reserved, cap)
        for window, cap, spent in windows
        if cap is not None
    }


def _widest(caps: Caps) -> str:
    """The window of the key's limit, where one has to stand for all."""
    if caps.ever is not None:
        return "ever"
    return "month" if caps.month is not None else "day"


def _expiry(caller: Caller) -> int:
    return int(caller.key.expires_at or 0)


def _units(amount: int) -> int:
    return amount * UNITS // DOLLAR


def _refuse(client: HttpClient, path: str, exc: RelayError, request_id: str) -> None:
    headers = [*HEADERS, *([(b"allow", b"GET, HEAD")] if exc.status == 405 else ())]
    if path.startswith("/api/usage"):
        body = orjson.dumps({"success": False, "message": exc.message})
        client.send(exc.status, headers, body)
    else:
        reply = FORMATS["chat"].error(exc, request_id)
        client.send(reply.status, headers, reply.body)
