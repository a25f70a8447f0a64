"""The looking goes on, whatever happens, and a reload changes who is told."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from relayd.alerting import AlertRules, Webhook
from relayd.alerts.lookout import Lookout
from relayd.alerts.webhooks import RESULTS
from relayd.model import Secret
from relayd.policy.conditions import MOST_LATE, Customers, Snapshot
from relayd.tasks import Tasks
from tests.support.waiting import until

RULES = AlertRules()
HOOK = Webhook("ops", Secret("http://127.0.0.1:9/secret"))
OTHER = HOOK._replace(name="other")
WRONG = Snapshot(ledger="Rows wait.")
WORSE = WRONG._replace(reload_failed=True)

Counted = list[tuple[str, str, int]]


@asynccontextmanager
async def looking(
    snapshot: Callable[[], Snapshot] = lambda: WRONG,
    counted: Counted | None = None,
    customers: Callable[[], Customers] = Customers,
) -> AsyncIterator[Lookout]:
    """A lookout whose couriers have no time to send anything."""
    kept: Counted = [] if counted is None else counted
    lookout = Lookout(snapshot, customers, lambda *one: kept.append(one))
    try:
        yield lookout
    finally:
        await lookout.close()


def waiting(lookout: Lookout) -> str:
    return repr(lookout).split("[")[1].removesuffix("]>")


def test_news_go_to_every_webhook() -> None:
    async def run() -> None:
        async with looking() as lookout:
            await lookout.adopt(RULES, (HOOK, OTHER))
            lookout.look(1.0)
            lookout.look(2.0)
            assert waiting(lookout) == "<Courier ops waiting=1>, <Courier other waiting=1>"

    asyncio.run(run())


def test_results_are_counted_from_zero_on() -> None:
    counted: Counted = []

    async def run() -> None:
        async with looking(counted=counted) as lookout:
            await lookout.adopt(RULES, (HOOK,))

    asyncio.run(run())
    assert counted == [("ops", result, 0) for result in RESULTS]


def test_a_reload_with_the_same_webhooks_loses_nothing_and_tells_nothing_twice() -> None:
    async def run() -> None:
        async with looking() as lookout:
            await lookout.adopt(RULES, (HOOK,))
            lookout.look(1.0)
            await lookout.adopt(AlertRules(error_ratio=0.5), (HOOK,))
            lookout.look(2.0)
            assert waiting(lookout) == "<Courier ops waiting=1>"

    asyncio.run(run())


def test_what_waits_for_a_webhook_goes_the_new_way_when_it_has_one() -> None:
    async def run() -> None:
        async with looking() as lookout:
            await lookout.adopt(RULES, (HOOK, OTHER))
            lookout.look(1.0)
            moved = HOOK._replace(url=Secret("http://127.0.0.1:9/another"))
            await lookout.adopt(RULES, (moved, OTHER))
            assert waiting(lookout) == "<Courier other waiting=1>, <Courier ops waiting=1>"

    asyncio.run(run())


def test_what_waits_for_a_webhook_that_is_gone_is_dropped_and_counted() -> None:
    counted: Counted = []

    async def run() -> None:
        async with looking(counted=counted) as lookout:
            await lookout.adopt(RULES, (HOOK, OTHER))
            lookout.look(1.0)
            await lookout.adopt(RULES, (HOOK,))
            assert waiting(lookout) == "<Courier ops waiting=1>"

    asyncio.run(run())
    assert [one for one in counted if one[2]] == [("other", "dropped", 1)]


def test_a_new_webhook_hears_of_all_that_is_wrong() -> None:
    stands = [WRONG, WORSE]

    async def run() -> None:
        async with looking(lambda: stands.pop(0)) as lookout:
            await lookout.adopt(RULES, (HOOK,))
            lookout.look(1.0)
            await lookout.adopt(RULES, (HOOK, OTHER))
            lookout.look(2.0)
            assert waiting(lookout) == "<Courier ops waiting=2>, <Courier other waiting=2>"

    asyncio.run(run())


def test_the_first_webhook_hears_of_all_that_is_wrong() -> None:
    async def run() -> None:
        async with looking() as lookout:
            await lookout.adopt(RULES, (HOOK,))
            lookout.look(1.0)
            await lookout.adopt(RULES, ())
            await lookout.adopt(RULES, (OTHER,))
            lookout.look(2.0)
            assert waiting(lookout) == "<Courier other waiting=1>"

    asyncio.run(run())


def test_what_was_over_while_nobody_was_told_is_told_to_nobody() -> None:
    stands = [WRONG, Snapshot()]

    async def run() -> None:
        async with looking(lambda: stands.pop(0)) as lookout:
            await lookout.adopt(RULES, (HOOK,))
            lookout.look(1.0)
            await lookout.adopt(RULES, ())
            await lookout.adopt(RULES, (OTHER,))
            lookout.look(1000.0)
            assert waiting(lookout) == "<Courier other waiting=0>"

    asyncio.run(run())


def test_customers_are_looked_at_beside_the_loop() -> None:
    threads = []

    def customers() -> Customers:
        threads.append(threading.current_thread())
        return Customers(balances=[("a", 0), ("b", 0)])

    async def run() -> None:
        async with looking(Snapshot, customers=customers) as lookout:
            await lookout.adopt(RULES, (HOOK,))
            await lookout.look_at_customers()
            lookout.look(1.0)
            lookout.look(2.0)
            assert waiting(lookout) == "<Courier ops waiting=2>"

    asyncio.run(run())
    assert len(threads) == 1 and threads[0] is not threading.current_thread()


def test_where_the_walk_does_not_end_the_looking_goes_on() -> None:
    going_on = threading.Event()

    def customers() -> Customers:
        going_on.wait(60)
        return Customers()

    async def run() -> None:
        async with looking(customers=customers) as lookout:
            await lookout.adopt(RULES, (HOOK,))
            tasks = Tasks()
            tasks.spawn(lookout.run(), "lookout")
            await until(lambda: "waiting=1" in repr(lookout))
            going_on.set()
            await tasks.cancel()

    asyncio.run(run())


def test_a_look_that_comes_late_says_so() -> None:
    async def run() -> None:
        async with looking(Snapshot) as lookout:
            await lookout.adopt(RULES, (HOOK,))
            lookout.look(1.0, late=MOST_LATE)
            assert waiting(lookout) == "<Courier ops waiting=1>"

    asyncio.run(run())


def test_a_fault_in_the_looking_is_told_once_and_does_not_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = True

    def snapshot() -> Snapshot:
        if broken:
            raise ZeroDivisionError
        return WRONG

    def customers() -> Customers:
        raise ZeroDivisionError

    async def run() -> None:
        nonlocal broken
        async with looking(snapshot, customers=customers) as lookout:
            await lookout.adopt(RULES, (HOOK,))
            lookout.look(1.0)
            lookout.look(2.0)
            await lookout.look_at_customers()
            broken = False
            lookout.look(3.0)
            assert waiting(lookout) == "<Courier ops waiting=1>"

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert len(caplog.records) == 1
