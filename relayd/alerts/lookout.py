"""The task that looks once a second whether something is wrong, and hands the news to couriers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from relayd.alerting import AlertRules, Webhook
from relayd.alerts.webhooks import Courier
from relayd.policy.conditions import Conditions, Snapshot
from relayd.tasks import Tasks

log = logging.getLogger("relayd")

EVERY: Final = 1.0


class Lookout:
    """Looks, and has the news sent. Owns the couriers' tasks.

    Arguments:
        snapshot: how everything stands now; called on the loop, must not wait.
        counted: called with a webhook's name, a result and a number of alerts.
    """

    def __init__(
        self, snapshot: Callable[[], Snapshot], counted: Callable[[str, str, int], None]
    ) -> None:
        self._snapshot = snapshot
        self._counted = counted
        self._conditions = Conditions(AlertRules())
        self._tasks = Tasks()
        self._couriers: list[Courier] = []
        self._webhooks: Sequence[Webhook] = ()
        self._failing = False

    def __repr__(self) -> str:
        return f"<Lookout {self._conditions!r} {self._couriers!r}>"

    async def adopt(self, rules: AlertRules, webhooks: Sequence[Webhook]) -> None:
        """Go by these from now on. What waited for a webhook that is gone is not sent."""
        self._conditions.rules = rules
        if webhooks == self._webhooks:
            return
        await self._tasks.cancel()
        self._webhooks = webhooks
        self._couriers = [Courier(one, self._count_of(one.name)) for one in webhooks]
        for courier in self._couriers:
            self._tasks.spawn(courier.run(), "courier")

    async def run(self, clock: Callable[[], float]) -> None:
        """Look for ever; `clock` gives Unix seconds."""
        while True:
            await asyncio.sleep(EVERY)
            if self._couriers:
                self.look(clock())

    def look(self, now: float) -> None:
        """Look once, at `now` in Unix seconds. A fault of ours here must not end the looking."""
        try:
            news = self._conditions.look(self._snapshot(), now)
        except Exception:
            if not self._failing:
                log.exception("alerts: the look at how things stand failed")
            self._failing = True
            return
        self._failing = False
        for courier in self._couriers:
            courier.take(news)

    async def close(self) -> None:
        """Send nothing more."""
        await self._tasks.cancel()

    def _count_of(self, name: str) -> Callable[[str, int], None]:
        return lambda result, number: self._counted(name, result, number)
