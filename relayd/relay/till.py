"""The till: a request is charged here, once, however it ends.

`open` lets a request in: the limits and the balance are asked, what it may cost is set aside, and
the journal has its opening line before any upstream hears of it. `close` is its counterpart: what
it really used is priced, the account pays, and the journal has the row before the last byte goes
out. Neither waits, so on the loop each is atomic. What has no grant (a refusal, a typing error)
costs nothing and leaves a row all the same, as long as such rows are few.

Who pays when a client leaves early is the group's matter: `estimate` charges what was produced as
far as anyone knows, `free` nothing; to `drain` is the relay's part, which then closes later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from relayd.errors import NoUpstream, Refused
from relayd.ledger.lines import Opening
from relayd.model import Entry, Operation, Usage
from relayd.policy.admission import Admission, Grant
from relayd.policy.buckets import TokenBucket
from relayd.policy.calendar import Calendar
from relayd.policy.estimate import Estimates
from relayd.policy.keys import Caller
from relayd.policy.prices import Price, PriceBook, Rates, charged
from relayd.policy.reservation import NOBODY_ELSE, Ask
from relayd.relay.sides import RawHeaders
from relayd.relay.work import Work
from relayd.wire import limits
from relayd.wire.head import Head

FREE = Price(Rates.of({}))
FREE_OF_CHARGE: frozenset[Operation] = frozenset({"count_tokens", "follow_up", "other"})
STRANGERS = 600  # rows a minute for requests without a known key
CROWDED = "The usage log cannot keep up; nothing is relayed unlogged."


class Ledger(Protocol):
    """Where openings and rows go."""

    @property
    def full(self) -> bool: ...

    @property
    def crowded(self) -> bool: ...

    def open(self, opening: Opening) -> None: ...

    def add(self, entry: Entry) -> None: ...


class Till:
    """Charges requests.

    Arguments:
        admission: limits and balances.
        estimates: how many tokens a body has.
        ledger: keeps the rows.
        prices: of the models; a reload replaces them.
        calendar: which day it is; likewise.
    """

    def __init__(
        self,
        admission: Admission,
        estimates: Estimates,
        ledger: Ledger,
        prices: PriceBook,
        calendar: Calendar,
    ) -> None:
        self.admission = admission
        self.estimates = estimates
        self.prices = prices
        self.calendar = calendar
        self._ledger = ledger
        self._strangers = TokenBucket(STRANGERS)

    def __repr__(self) -> str:
        return f"<Till {self.admission!r} {self.prices!r}>"

    def check_room(self) -> None:
        """Raises NoUpstream (503) while rows could not be kept."""
        if self._ledger.full:
            raise NoUpstream(CROWDED, retry_after=5)

    def sells(self, model: str) -> bool:
        """Whether the model is to be had here: it has a price, or needs none."""
        return not self.prices.refuses or self.prices.find(model) is not None

    @contextmanager
    def reading(self, work: Work, now: float) -> Iterator[None]:
        """Hold a place for a request while its body is read: an upload may take its time, and each
        one takes room. Raises as `open` where it would not be let in whatever it holds."""
        caller, operation = work.caller, work.entry.operation
        assert caller is not None
        costs = operation not in FREE_OF_CHARGE and self.prices.charges_all
        try:
            place = self.admission.enter(caller, costs, now, work.entry.started_at)
        except Refused as exc:
            if exc.status == 429:
                work.limits = self._limits(work, caller, now)
            raise
        try:
            yield
        finally:
            self.admission.leave(place)

    def open(self, work: Work, now: float) -> None:
        """Let a request in; from now on it has to be closed.

        Raises Refused (402, 403, 404, 429), or NoUpstream where it could not be written down. Then
        nothing was taken.
        """
        caller, head, entry = work.caller, work.head, work.entry
        assert caller is not None and head is not None
        ask = self._ask(caller, head, work)
        moment = entry.started_at
        try:
            grant = self.admission.admit(ask, now, moment)
        except Refused as exc:
            if exc.status == 429:
                work.limits = self._limits(work, caller, now)
            raise
        try:
            self._ledger.open(_opening(entry, ask, grant))
        except BaseException:
            self.admission.cancel(grant, now)
            raise
        work.grant = grant
        entry.day = grant.day
        if caller.is_limited:
            work.limits = self._limits(work, caller, now)

    def _ask(self, caller: Caller, head: Head, work: Work) -> Ask:
        if work.entry.operation in FREE_OF_CHARGE:  # that costs nothing, and uses no tokens
            return Ask(caller, head.model, FREE, 0, 0, 0)
        most = 0 if work.entry.operation == "embed" else head.max_output
        price, fallbacks = self.prices.find(head.model), self._fallbacks(work)
        size, tokens = len(head.body), head.input_estimate
        if head.asked is not None:  # of a recording or a picture, the bytes say nothing
            size = tokens * 4
        return Ask(
            caller, head.model, price, tokens, size, most, head.choices, fallbacks, head.asked
        )

    def _fallbacks(self, work: Work) -> Mapping[str, Price]:
        if work.attempts is None or not work.attempts.fallbacks:
            return NOBODY_ELSE
        prices = {name: self.prices.find(name) for name in work.attempts.fallbacks}
        return {name: price for name, price in prices.items() if price is not None}

    def _limits(self, work: Work, caller: Caller, now: float) -> RawHeaders:
        standing = self.admission.standing(caller, now)
        return limits.headers(work.call.format, *standing, work.entry.started_at)

    def close(self, work: Work, now: float) -> None:
        """Charge a request and keep its row. A second call must not happen, and is harmless."""
        entry, grant = work.entry, work.grant
        if grant is not None:
            if grant.ended:
                return
            # The usage of a request that failed is empty; of any other it is known, or guessed.
            cost, tokens, thread = self._cost(work, grant), entry.usage.total, work.thread
            if thread is not None:
                cost = thread.due(cost)
            entry.cost, entry.uncharged = self.admission.settle(grant, cost, tokens, now)
            if thread is not None and entry.holding is not None:
                entry.holding = thread.charged(
                    entry.holding, entry.cost, grant.reserved, grant.opening_cost
                )
            if entry.usage_source == "reported":
                self._learn(work)
            self._ledger.add(entry)
        else:
            self.note(entry, now)

    def note(self, entry: Entry, now: float) -> None:
        """Keep the row of what was never let in, if there is plenty of room: half of it is for who
        pays. Of strangers, who carry no key that is known, only some are kept: else anybody could
        fill the disk."""
        if self._ledger.crowded:
            return
        if entry.key_id is None:
            if not self._strangers.fits(1, now):
                return
            self._strangers.take(1, now)
        entry.day = self.calendar.day(entry.started_at)
        self._ledger.add(entry)

    def _cost(self, work: Work, grant: Grant) -> int:
        entry, group = work.entry, grant.caller.group
        if entry.usage_source == "none":
            return 0
        if group.leaving == "free" and entry.outcome == "client_gone":
            return 0
        price = grant.price
        if work.settles_debt and work.head is not None:  # set aside when it was made
            price = self.prices.find(work.head.model)
        elif work.attempts is not None and work.attempts.fell_back:
            price = grant.ask.fallbacks.get(work.attempts.route.asked)
        return 0 if price is None else charged(price.cost(entry.usage), group.multiplier)

    def _learn(self, work: Work) -> None:
        """A body's size and what it turned out to be, for the next estimates."""
        usage, head = work.entry.usage, work.head
        assert head is not None
        if work.entry.operation == "generate":
            self.estimates.learn(head.model, len(head.body), _prompt(usage))

    def estimate(self, head: Head) -> None:
        """Say how many tokens the prompt may have, by what is known of the model; where it is more
        than text, who read it knows better."""
        if head.asked is not None:
            return
        head.input_estimate = self.estimates.tokens(head.model, len(head.body))


def _prompt(usage: Usage) -> int:
    return (usage.in_uncached or 0) + (usage.cache_read or 0) + usage.cache_write


def _opening(entry: Entry, ask: Ask, grant: Grant) -> Opening:
    return Opening(
        entry.request_id,
        entry.started_at,
        grant.day,
        entry.key_id,
        entry.account_id,
        entry.operation,
        entry.model_asked,
        entry.stream,
        entry.format_in,
        ask.tokens_in,
        grant.opening_cost,
    )
