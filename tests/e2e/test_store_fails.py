"""A store that does not take rows: what is served is kept, and nothing is served unlogged.

The store fails because the database is told to refuse rows, and is well when that is undone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.running import Running
from tests.support.speech import FORMATS, SPEECHES, error_of

BOUND = 8
CONFIG = f"""\
demo: "on"
ledger: {{interval: 10ms, bound: {BOUND}}}
prices: {{"demo*": {{input: 0, output: 0, request: 0.01}}}}
"""
CHAT = SPEECHES["chat"]


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


@contextmanager
def failing(relay: Running) -> Iterator[None]:
    """The store takes no rows meanwhile."""
    path = relay.daemon.config.database
    text = "CREATE TRIGGER refusal BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'no'); END"
    with closing(sqlite3.connect(path)) as db:
        db.execute(text)
        try:
            yield
        finally:
            db.execute("DROP TRIGGER refusal")


def test_what_is_served_while_the_store_fails_is_charged_at_once_and_logged_later(
    relay: Running,
) -> None:
    customer = Customer(relay, credit="0.03")
    with failing(relay):
        statuses = [customer.ask(CHAT, "demo").status for _ in range(4)]
        assert statuses == [200, 200, 200, 402], "balances do not wait for the store"
        assert relay.daemon.ledger.waiting >= 4
        assert customer.balance == 0
    assert sum(row.cost for row in customer.rows(4)) == 3 * 10**10
    assert customer.stored_balance == 0
    assert relay.call(relay.daemon.books.store.verify) == []


def test_when_too_many_rows_wait_nobody_is_served_until_there_is_room(relay: Running) -> None:
    customer = Customer(relay, credit="1")
    with failing(relay):
        for _ in range(BOUND):
            assert customer.ask(CHAT, "demo").status == 200
        for name in FORMATS:
            speech = SPEECHES[name]
            answer = customer.ask(speech, "demo")
            assert answer.status == (529 if name == "messages" else 503)
            assert answer.headers["retry-after"] == "5"
            assert "nothing is relayed unlogged" in error_of(speech.format, answer.document)[1]
        assert relay.daemon.ledger.waiting == BOUND, "refusals do not make it worse"
        assert customer.in_flight == 0
        assert relay.ask("/healthz", method="GET").status == 200
    assert relay.wait_for(lambda: customer.ask(CHAT, "demo").status == 200)
    costs = [row.cost for row in customer.rows(BOUND + 1)]
    assert sum(costs) == 10**12 - customer.balance == 10**12 - customer.stored_balance
