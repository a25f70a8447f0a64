"""Where the metrics look, on a real daemon."""

from __future__ import annotations

import pytest

from relayd.daemon import instruments
from relayd.metrics.states import AccountState, Connections, LedgerState
from relayd.money import pico
from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.running import Running
from tests.support.speech import SPEECHES

CHAT = SPEECHES["chat"]


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start('demo: "on"\nprices: {demo: {input: 3, output: 15}}\n')


def accounts(relay: Running) -> dict[str, AccountState]:
    return {one.name: one for one in instruments.accounts(relay.daemon.books)}


def test_an_account_says_what_it_paid_and_has(relay: Running) -> None:
    customer = Customer(relay, credit="1")
    assert accounts(relay)[customer.name].balance == pico(1)
    paid = customer.row(customer.ask(CHAT, "demo")).cost
    found = accounts(relay)[customer.name]
    assert (found.paid, found.balance) == (paid, pico(1) - paid) and paid > 0


def test_who_needs_no_balance_has_none_to_tell(relay: Running) -> None:
    customer = Customer(relay)
    customer.ask(CHAT, "demo")
    found = accounts(relay)[customer.name]
    assert found.balance is None and found.paid > 0


def test_connections_are_counted_when_made_and_when_used_again(relay: Running) -> None:
    def state() -> Connections:
        found = instruments.connections(relay.daemon.relay.providers.values())
        return next(one for one in found if one.upstream == "demo")

    customer = Customer(relay)
    customer.ask(CHAT, "demo")
    before = state()
    customer.ask(CHAT, "demo")
    after = state()
    assert (after.opened, after.reused) == (before.opened, before.reused + 1)
    assert (after.idle, after.busy) == (before.idle, 0) and after.idle >= 1


def test_the_ledger_says_how_long_its_oldest_row_waits(relay: Running) -> None:
    writer = relay.daemon.ledger
    relay.wait_for(lambda: not writer.waiting)
    empty = instruments.ledger(writer, 1e12)
    assert empty == LedgerState(0, 0.0, False, empty.journal_bytes, 0, 0)
    assert empty.journal_bytes > 0


def test_only_who_can_use_a_key_has_a_balance_to_tell_of(relay: Running) -> None:
    daemon = relay.daemon
    customer, gone = Customer(relay, credit="1"), Customer(relay, credit="1")
    found = instruments.customers(daemon.books, 1e9)
    assert {customer.name, gone.name} <= {name for name, _ in found.balances}
    assert dict(found.balances)[customer.name] == pico(1)

    async def change(account: str, **changes: object) -> None:
        await daemon.books.store.change_key(account, changes, now=1.0, actor="test")
        await daemon.refresh_keys()

    relay.call(lambda: change(gone.name, expires_at=2e9))
    assert (gone.name, 2e9) in instruments.customers(daemon.books, 1e9).keys
    assert gone.name not in dict(instruments.customers(daemon.books, 3e9).balances)
    relay.call(lambda: change(gone.name, disabled=True))
    after = instruments.customers(daemon.books, 1e9)
    assert gone.name not in dict(after.balances) and gone.name not in dict(after.keys)
