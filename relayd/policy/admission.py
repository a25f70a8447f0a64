"""Admission and settlement: may this request be served, what is set aside for it, what it cost.

`admit` asks everything first (model, price, caps, balance, concurrency, requests, tokens) and takes
only when nothing refused, so that a refusal changes nothing at all. There is no wait in it: on the
loop it is atomic, and no two requests can spend the same cent. Money is asked before rates, because
a client that is told to come back in a second should not then hear that its balance is used up.

A grant is what was taken. `settle` gives it back, once: the reservation is replaced by the cost,
the estimated tokens by the true ones. With `strict` nothing is ever overdrawn: what a request costs
beyond its reservation is paid only as far as there is something left, and the rest is uncharged.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from relayd.accounts import NO_CAPS, Caps
from relayd.errors import Limit, Refused
from relayd.money import shown
from relayd.policy.allowances import Allowance
from relayd.policy.balances import NO_BOUND, Balances, Spending
from relayd.policy.buckets import Level
from relayd.policy.calendar import Calendar
from relayd.policy.keys import LONGEST_SHOWN, Caller
from relayd.policy.prices import Price
from relayd.policy.reservation import DEFAULT_OUTPUT, Ask, opening_cost, reserved_for, tokens_for

# Minutes of its tokens that one settlement may leave a limit owing: counts come from strangers, and
# nobody is shut out for years by one of them.
MOST_OWED = 10
KEY, ACCOUNT = "this API key", "this account"
WINDOWS = {"day": "a day", "month": "a month", "ever": "in all"}


class Party(NamedTuple):
    """A key or an account, as far as it is limited: its rates, and its money."""

    allowance: Allowance
    spending: Spending


class Place(NamedTuple):
    """One of those that a key and its account may have in flight."""

    key: Allowance
    account: Allowance


@dataclass(slots=True, eq=False)
class Grant:
    """What a request was let in with. Owned by the request, until `settle`.

    Arguments:
        ask: what was asked.
        key, account: who it is taken from.
        reserved: pico-dollars set aside.
        tokens: what was taken of the minute's tokens.
        day: the calendar day it counts to.
        opening_cost: what the account pays if nothing more is ever heard of the request.
        at: when it was let in, by the loop's clock.
        balanced: whether a balance has to last for it.
    """

    ask: Ask
    key: Party
    account: Party
    reserved: int
    tokens: int
    day: int
    opening_cost: int
    at: float
    balanced: bool
    ended: bool = False

    @property
    def caller(self) -> Caller:
        return self.ask.caller

    @property
    def price(self) -> Price | None:
        return self.ask.price

    def __repr__(self) -> str:
        state = "ended" if self.ended else "open"
        return f"Grant({self.caller!r}, {self.reserved} reserved, {self.tokens} tokens, {state})"


class Standing(NamedTuple):
    """How the tightest limits of a caller stand, for headers; None where there is none."""

    requests: Level | None
    tokens: Level | None


class Admission:
    """Lets requests in and settles them. Owns the allowances of keys and accounts, also over a
    reload; the balances are shared with who shows them.

    Arguments:
        balances: what accounts have.
        calendar: which day it is.
        default_output: output tokens that a request may produce which names no limit.
        refuse_unpriced: whether models without a price are refused, or free.
    """

    def __init__(
        self,
        balances: Balances,
        calendar: Calendar,
        *,
        default_output: int = DEFAULT_OUTPUT,
        refuse_unpriced: bool = False,
    ) -> None:
        self.balances = balances
        self._keys: dict[int, Party] = {}
        self._accounts: dict[int, Party] = {}
        self.reconfigure(calendar, default_output, refuse_unpriced)

    def __repr__(self) -> str:
        open_now = sum(one.allowance.in_flight for one in self._accounts.values())
        return f"Admission({open_now} in flight, {self.balances!r})"

    def reconfigure(self, calendar: Calendar, default_output: int, refuse_unpriced: bool) -> None:
        """Go by another configuration; what is in flight and what is left of limits stays."""
        self._calendar = calendar
        self._default_output = default_output
        self._refuse_unpriced = refuse_unpriced

    def retain(self, keys: Collection[int], accounts: Collection[int]) -> None:
        """Forget the allowances of keys and accounts that are no more, if nothing is in flight."""
        for parties, ids in ((self._keys, keys), (self._accounts, accounts)):
            for id in [id for id in parties if id not in ids]:
                if not parties[id].allowance.in_flight:
                    del parties[id]

    # --- admit ----------------------------------------------------------------------------------

    def admit(self, ask: Ask, now: float, moment: float) -> Grant:
        """Let a request in, and take what it needs.

        Arguments:
            now: the loop's clock, for rates.
            moment: Unix seconds, for the calendar.

        Raises Refused, and nothing has changed: 404 for a model that the caller may not use, 403
        for one without a price, 402 without the money, 429 over a limit.
        """
        caller = ask.caller
        group = caller.group
        if ask.model:  # what is passed on unread names none
            caller.check_model(ask.model)
        if ask.price is None and self._refuse_unpriced:
            raise _unpriced(ask.model)
        output = self._default_output if ask.max_out is None else ask.max_out
        key, account = self._parties(caller)
        balanced = group.balance != "off" and self.needs_balance(caller)
        reserved = opening = 0
        if ask.price is not None or ask.fallbacks:
            reserved, needed = reserved_for(ask, output)
            if needed:
                self._check_money(caller, needed, balanced, moment)
        if ask.price is not None:
            opening = opening_cost(ask, ask.price, reserved)
        tokens = tokens_for(ask, min(output, self._default_output))
        key.allowance.check(tokens, now)
        account.allowance.check(tokens, now)

        key.allowance.take(tokens, now)
        account.allowance.take(tokens, now)
        key.spending.reserved += reserved
        account.spending.reserved += reserved
        day = self._calendar.day(moment)
        return Grant(ask, key, account, reserved, tokens, day, opening, now, balanced)

    def enter(self, caller: Caller, costs: bool, now: float, moment: float) -> Place:
        """Take a place among the requests in flight, for one of which no more is known yet than
        whether it costs anything; before it is admitted it has to `leave`.

        Raises as `admit` where it would not be let in, whatever it holds; nothing is taken then.
        """
        key, account = self._parties(caller)
        if costs and caller.group.multiplier:
            self._check_money(caller, 1, self.needs_balance(caller), moment)
        key.allowance.check(0, now)
        account.allowance.check(0, now)

        place = Place(key.allowance, account.allowance)
        for allowance in place:
            allowance.in_flight += 1
        return place

    @staticmethod
    def leave(place: Place) -> None:
        """Give back what `enter` took."""
        for allowance in place:
            allowance.in_flight -= 1

    def needs_balance(self, caller: Caller) -> bool:
        """Whether the caller's account has to have a balance to spend."""
        wanted = caller.group.balance
        if wanted == "auto":
            return self.balances.granted(caller.account.id) is not None
        return wanted == "on"

    def _check_money(self, caller: Caller, needed: int, balanced: bool, moment: float) -> None:
        """Raises Refused (402) where there is not as much."""
        key, account = caller.key, caller.account
        if balanced:
            available = self.balances.available(account.id)
            if available < needed:
                raise _no_balance(available, needed)
        if key.caps is not NO_CAPS:
            self._check_caps(KEY, self.balances.key(key.id), key.caps, needed, moment)
        if caller.group.caps is not NO_CAPS:
            spending = self.balances.account(account.id)
            self._check_caps(ACCOUNT, spending, caller.group.caps, needed, moment)

    def _check_caps(
        self, whose: str, spending: Spending, caps: Caps, needed: int, moment: float
    ) -> None:
        exceeded = spending.exceeded(caps, needed, self._calendar.day(moment))
        if exceeded is None:
            return
        left = ""
        if exceeded.window == "day":
            left = f" A new day begins in {_spoken(self._calendar.day_left(moment))}."
        elif exceeded.window == "month":
            left = f" A new month begins in {_spoken(self._calendar.month_left(moment))}."
        raise _out_of_money(
            "spending",
            f"The spending cap of {whose} does not allow this request:"
            f" {shown(exceeded.cap)} dollars {WINDOWS[exceeded.window]},"
            f" {shown(exceeded.used)} of it spent or reserved.{left}",
        )

    def _parties(self, caller: Caller) -> tuple[Party, Party]:
        """The caller's key and account, held to the limits that they have now."""
        key, account, limits = caller.key, caller.account, caller.group.limits
        of_key = self._keys.get(key.id)
        if of_key is None:
            of_key = Party(Allowance(KEY, key.limits), self.balances.key(key.id))
            self._keys[key.id] = of_key
        elif of_key.allowance.limits is not key.limits:
            of_key.allowance.adopt(key.limits)
        of_account = self._accounts.get(account.id)
        if of_account is None:
            of_account = Party(Allowance(ACCOUNT, limits), self.balances.account(account.id))
            self._accounts[account.id] = of_account
        elif of_account.allowance.limits is not limits:
            of_account.allowance.adopt(limits)
        return of_key, of_account

    # --- settle ---------------------------------------------------------------------------------

    def settle(self, grant: Grant, cost: int, tokens: int | None, now: float) -> tuple[int, int]:
        """End a request: what the account pays, and what is left uncharged.

        Arguments:
            cost: of the request, with the multiplier.
            tokens: what it used of both sides; None where nobody knows better than the estimate.

        A grant that has ended pays nothing more.
        """
        if grant.ended:
            return 0, 0
        grant.ended = True
        key, account = grant.key, grant.account
        delta = 0 if tokens is None else max(tokens, 0) - grant.tokens
        for allowance in (key.allowance, account.allowance):
            tpm = allowance.limits.tpm
            allowance.end(delta if tpm is None else min(delta, tpm * MOST_OWED), now)
        key.spending.reserved -= grant.reserved
        account.spending.reserved -= grant.reserved
        paid = cost = max(cost, 0)
        if grant.ask.caller.group.strict:
            paid = min(cost, self._most(grant))
        key.spending.add(paid, grant.day)
        account.spending.add(paid, grant.day)
        return paid, cost - paid

    def cancel(self, grant: Grant, now: float) -> None:
        """Take back an admission of which nothing came: as if it had been refused."""
        if not grant.ended:
            self.settle(grant, 0, 0, now)
            grant.key.allowance.give_back(now)
            grant.account.allowance.give_back(now)

    def _most(self, grant: Grant) -> int:
        """What a strict account can pay, its reservation for the request given back."""
        caller, day = grant.ask.caller, grant.day
        most = NO_BOUND
        if grant.balanced:
            most = self.balances.available(caller.account.id)
        if caller.key.caps is not NO_CAPS:
            most = min(most, grant.key.spending.room(caller.key.caps, day))
        if caller.group.caps is not NO_CAPS:
            most = min(most, grant.account.spending.room(caller.group.caps, day))
        return max(most, 0)

    # --- what there is --------------------------------------------------------------------------

    def standing(self, caller: Caller, now: float) -> Standing:
        """How the caller's limits stand: of the key's and the account's, the one with less left."""
        key, account = self._parties(caller)
        requests, tokens = key.allowance.standing(now)
        others, other_tokens = account.allowance.standing(now)
        return Standing(_tighter(requests, others), _tighter(tokens, other_tokens))

    def in_flight(self, account_id: int) -> int:
        """How many requests of an account are open."""
        party = self._accounts.get(account_id)
        return party.allowance.in_flight if party is not None else 0


def _tighter(one: Level | None, other: Level | None) -> Level | None:
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda level: (level.remaining, level.limit))


def _unpriced(model: str) -> Refused:
    return Refused(
        f"The model `{model[:LONGEST_SHOWN]}` has no price here, and is not to be had without one.",
        status=403,
        code="model_not_priced",
        param="model",
    )


def _no_balance(available: int, needed: int) -> Refused:
    return _out_of_money(
        "balance",
        f"The balance is used up: {shown(available)} dollars are available,"
        f" and {shown(needed)} are reserved for a request like this while it runs.",
    )


def _out_of_money(limit: Limit, message: str) -> Refused:
    refused = Refused(message, status=402, code="insufficient_quota")
    refused.limit = limit
    return refused


def _spoken(seconds: float) -> str:
    """`3 days`, `5 hours`, `12 minutes`: rounded up, so that who waits so long is not early."""
    for unit, length in (("day", 86400.0), ("hour", 3600.0)):
        if seconds > 2 * length:
            return f"{ceil(seconds / length)} {unit}s"
    return f"{ceil(seconds / 60)} min"
