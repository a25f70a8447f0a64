"""The simulation of outages, five minutes of it; and that it notices what is wrong with a policy.

`make outage` simulates an hour. The goals are those of `benchmarks/outage/books.py`: what succeeds,
that nothing is sent where nothing may be sent, the retry budget, the recovery of every upstream.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.outage import choosing
from benchmarks.outage.books import Books
from benchmarks.outage.simulation import Plan, Simulation
from benchmarks.outage.world import ROUTING
from relayd.errors import BadStatus
from relayd.policy.pool import Wanted
from relayd.routing import BreakerRules

SHORT = Plan(seed=1, minutes=5.0, rate=100.0)
NO_BREAKERS = BreakerRules(enabled=False)
SHORTEST = replace(SHORT, minutes=0.5)


@pytest.fixture(scope="module")
def books() -> Books:
    """Five minutes with every kind of outage."""
    return Simulation(SHORT).run()


def test_a_failing_provider_is_a_non_event(books: Books) -> None:
    assert books.faults() == []


def test_every_outage_is_met_and_avoided(books: Books) -> None:
    met = [one.phase.name for one in books.records if one.outage.retries]

    assert met == [one.phase.name for one in books.records]
    assert all(one.outage.requests > 500 for one in books.records)


def test_a_run_can_be_repeated() -> None:
    once, again = Simulation(SHORTEST).run().total(), Simulation(SHORTEST).run().total()

    assert once == again
    assert once != Simulation(replace(SHORTEST, seed=2)).run().total()


def test_a_policy_without_retries_is_found_out() -> None:
    rules = replace(ROUTING, retries=replace(ROUTING.retries, attempts=1))

    faults = Simulation(replace(SHORTEST, routing=rules)).run().faults()

    assert any("succeeded" in fault for fault in faults)


def test_a_policy_without_breakers_is_found_out() -> None:
    rules = replace(ROUTING, breaker=NO_BREAKERS)

    faults = Simulation(replace(SHORTEST, routing=rules)).run().faults()

    assert any("the retry budget was spent" in fault for fault in faults)


def test_a_budget_that_is_overdrawn_is_found_out() -> None:
    generous = replace(ROUTING.retries, budget=1.0, floor=1000)
    rules = replace(ROUTING, breaker=NO_BREAKERS, retries=generous)
    simulation = Simulation(replace(SHORTEST, routing=rules))
    simulation.books.routing = ROUTING  # what the books hold it to

    faults = simulation.run().faults()

    assert any("of its retry budget" in fault for fault in faults)


def test_a_request_that_is_sent_where_nothing_may_be_sent_is_found_out() -> None:
    simulation = Simulation(SHORTEST)
    pools, books = simulation.pools, simulation.books
    route, failed = pools.route("solo", "chat"), BadStatus("It failed.", upstream_status=500)
    leases = [pools.choose(route, Wanted(), 1.0) for _ in range(40)]
    pools.doors["north/1"].refused = "The key is not known."
    for lease in leases[:20]:
        lease.fail(failed, 1.0)

    for lease in leases[20:]:
        books.sent(lease, 2.0)

    assert books.record.trespasses == {"refused": 10, "open": 20}


def test_shares_are_exact_and_the_table_is_bounded() -> None:
    deviation, exact = choosing.shares()
    entries, size = choosing.table_of(2000)

    assert deviation <= choosing.SHARE_GOAL
    assert exact
    assert entries == 2000
    assert size <= choosing.ENTRY_GOAL
