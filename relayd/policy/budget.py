"""How many retries an outage may cost: a share of the requests, so that it is not multiplied.

When every request fails, retrying each of them three times makes four times the load on what is
already down. So retries are paid from a budget: as many as a share of the requests in a sliding
window, and a few in any window, so that those with little traffic have theirs. Requests and retries
are counted in the same slots and leave together.
"""

from __future__ import annotations

from relayd.policy.windows import Window
from relayd.routing import RetryRules

SLOTS = 10


class RetryBudget:
    """What retries may still be made. Owns both counts.

    Arguments:
        rules: the share, the window and the floor.
    """

    __slots__ = ("_requests", "_rules", "_spent")

    def __init__(self, rules: RetryRules) -> None:
        self._rules = rules
        self._requests = Window(rules.window / SLOTS, SLOTS)
        self._spent = Window(rules.window / SLOTS, SLOTS)

    def __repr__(self) -> str:
        return f"RetryBudget({self._spent.counted} spent, {self._requests.counted} requests)"

    def request(self, now: float) -> None:
        """Count a request, however many attempts it will take."""
        self._requests.add(1, now)

    def allows(self, now: float) -> bool:
        """Whether one retry more is within the budget."""
        allowed = self._rules.floor + self._rules.budget * self._requests.total(now)
        return self._spent.total(now) + 1 <= allowed

    def spend(self, now: float) -> None:
        """Count a retry."""
        self._spent.add(1, now)

    def requests(self, now: float) -> int:
        """Requests in the window that ends now."""
        return self._requests.total(now)

    def spent(self, now: float) -> int:
        """Retries in the window that ends now."""
        return self._spent.total(now)
