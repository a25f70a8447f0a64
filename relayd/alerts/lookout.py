"""The task that looks once a second whether something is wrong, and hands the news to couriers.

Customers may be very many: they are looked at less often, and in a thread, so that no request
waits meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from relayd.alerting import Alert, AlertRules, Webhook
from relayd.alerts.webhooks import RESULTS, Courier
from relayd.lines import say
from relayd.policy.conditions import Conditions, Customers, Snapshot
from relayd.tasks import Tasks

EVERY: Final = 1.0
CUSTOMERS_EVERY: Final = 10.0


class Lookout:
    """Looks, and has the news sent. Owns the couriers and their tasks.

    Arguments:
        snapshot: how everything stands now, but customers; called on the loop, must not wait.
        customers: how they stand; called in a thread.
        counted: called with a webhook's name, a result and a number of alerts.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        customers: Callable[[], Customers],
        counted: Callable[[str, str, int], None],
    ) -> None:
        self._snapshot = snapshot
        self._look_at_customers = customers
        self._customers = Customers()
        self._counted = counted
        self._conditions = Conditions(AlertRules())
        self._tasks = Tasks()
        self._couriers: dict[Courier, asyncio.Task[None]] = {}
        self._failing = False

    def __repr__(self) -> str:
        return f"<Lookout {self._conditions!r} {list(self._couriers)!r}>"

    async def adopt(self, rules: AlertRules, webhooks: Sequence[Webhook]) -> None:
        """Go by these from now on.

        What waits for a webhook that stays as it is, waits on; for one that has changed, it goes
        the new way; what waits for one that is gone is dropped.
        """
        if not webhooks:  # nobody is told: who is one day, hears of all that is wrong then
            self._conditions = Conditions(rules)
        self._conditions.rules = rules
        before = {courier.webhook.name: courier for courier in self._couriers}
        kept = [c for c in self._couriers if c.webhook in webhooks]
        running = {courier: self._couriers[courier] for courier in kept}
        await self._stop([c for c in self._couriers if c not in running])
        for webhook in webhooks:
            if not any(courier.webhook == webhook for courier in kept):
                old = before.pop(webhook.name, None)
                courier = self._new(webhook, old)
                running[courier] = self._tasks.spawn(courier.run(), "courier")
        for gone in before.values():
            if gone not in running and (left := gone.leave()):
                self._counted(gone.webhook.name, "dropped", len(left))
        self._couriers = running

    def _new(self, webhook: Webhook, old: Courier | None) -> Courier:
        for result in RESULTS:  # from 0 on, so that the first one is seen to be an increase
            self._counted(webhook.name, result, 0)
        courier = Courier(webhook, self._count_of(webhook.name), self._standing)
        courier.take(self._standing() if old is None else [*old.owed(), *old.leave()])
        return courier

    def _standing(self) -> list[Alert]:
        return self._conditions.standing()

    async def _stop(self, couriers: Sequence[Courier]) -> None:
        tasks = [self._couriers[courier] for courier in couriers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self) -> None:
        """Look for ever."""
        clock = asyncio.get_running_loop().time
        walk, walk_at = None, clock()
        while True:
            due = clock() + EVERY
            await asyncio.sleep(EVERY)
            late = max(clock() - due, 0.0)
            if not self._couriers:
                continue
            # Not waited for: where no thread comes to an end, all else must still be told.
            if clock() >= walk_at and (walk is None or walk.done()):
                walk_at = clock() + CUSTOMERS_EVERY
                walk = self._tasks.spawn(self.look_at_customers(), "lookout")
            self.look(clock(), late)

    async def look_at_customers(self) -> None:
        """See how they stand, for the looks that follow."""
        try:
            self._customers = await asyncio.to_thread(self._look_at_customers)
        except Exception:
            self._fault()

    def look(self, now: float, late: float = 0.0) -> None:
        """Look once, at `now` in seconds. A fault of ours here must not end the looking.

        Arguments:
            late: seconds by which this look came too late.
        """
        balances, keys = self._customers
        try:
            stands = self._snapshot()._replace(balances=balances, keys=keys, late=late)
            news = self._conditions.look(stands, now)
        except Exception:
            self._fault()
            return
        self._failing = False
        for courier in self._couriers:
            courier.take(news)

    def _fault(self) -> None:
        if not self._failing:
            say(logging.ERROR, "the look at what is wrong failed", exc=True)
        self._failing = True

    async def close(self) -> None:
        """Send nothing more."""
        await self._tasks.cancel()

    def _count_of(self, name: str) -> Callable[[str, int], None]:
        return lambda result, number: self._counted(name, result, number)
