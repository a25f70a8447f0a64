"""Where metrics, alerts and customers look: how each part of a daemon stands, in their records.

Read on the loop, and never waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from relayd.daemon.bookkeeping import Bookkeeping
from relayd.ledger.writer import LedgerWriter
from relayd.metrics.states import AccountState, Connections, Kept, LedgerState
from relayd.policy.conditions import Customers, Snapshot
from relayd.relay.capture import Captures
from relayd.relay.relay import Relay
from relayd.tracing import Tracer, TracingTerms
from relayd.upstream.provider import Provider
from relayd.web.account import Books

LATE = 60.0  # seconds that a row may wait before anybody is told


def tracer(terms: TracingTerms) -> Tracer | None:
    """What traces requests; None where nothing is to be traced, and then nothing is imported."""
    if not terms.endpoint:
        return None
    from relayd.spans import OpenTelemetry

    return OpenTelemetry(terms)


def figures(books: Bookkeeping, clock: Callable[[], float]) -> Books:
    """What customers may see of their account; `clock` in Unix seconds."""
    till, admission = books.till, books.till.admission
    return Books(
        admission.balances,
        admission.needs_balance,
        lambda: till.calendar.day(clock()),
        books.store,
    )


def connections(providers: Iterable[Provider]) -> Iterator[Connections]:
    """Those to each upstream."""
    for provider in providers:
        clients = provider.clients
        idle = sum(client.idle_connections for client in clients)
        yield Connections(
            provider.spec.name,
            idle,
            provider.connections - idle,
            sum(client.opened for client in clients),
            sum(client.reused for client in clients),
        )


def ledger(writer: LedgerWriter, now: float) -> LedgerState:
    """How the ledger does; `now` in Unix seconds."""
    oldest = writer.oldest
    return LedgerState(
        writer.waiting,
        0.0 if oldest is None else max(now - oldest, 0.0),
        writer.full,
        writer.journal_size,
        writer.unwritten,
        writer.errors,
    )


def accounts(books: Bookkeeping) -> Iterator[AccountState]:
    """What the accounts of all keys ever paid, and the balances of those that need one."""
    admission = books.till.admission
    callers = {caller.account.id: caller for caller in books.directory.callers()}
    for id, caller in callers.items():
        needs = caller.group.balance != "off" and admission.needs_balance(caller)
        balance = admission.balances.balance(id) if needs else None
        yield AccountState(id, caller.account.name, admission.balances.spent(id), balance)


def captures(captures: Captures) -> Kept:
    """What became of them since the start."""
    return Kept(captures.kept, captures.lost)


def ledger_trouble(state: LedgerState) -> str:
    """What is wrong with the ledger, in words; "" for nothing."""
    if state.full:
        return "Requests are refused: usage rows cannot be kept (journal or disk full)."
    if state.unwritten_lines:
        return f"The disk does not take the journal: {state.unwritten_lines} lines wait in memory."
    if state.lag > LATE:
        return f"Usage rows wait for the database for {state.lag:.0f} s; the journal has them."
    return ""


def certificates(providers: Iterable[Provider]) -> Iterator[tuple[str, float]]:
    """When the certificate that each upstream showed last expires, in Unix seconds."""
    for provider in providers:
        seen = [client.certificate_until for client in provider.clients]
        known = [until for until in seen if until is not None]
        if known:
            yield provider.spec.name, min(known)


def customers(books: Bookkeeping, moment: float) -> Customers:
    """How those stand who can use a key at a `moment` in Unix seconds, and the keys that expire.

    Where there are very many this takes a while: it may be called in another thread.
    """
    admission = books.till.admission
    balances: dict[int, tuple[str, int]] = {}
    keys = []
    for caller in books.directory.callers():
        key, account = caller.key, caller.account
        if key.disabled or account.disabled:
            continue
        if key.expires_at is not None:
            keys.append((key.name, key.expires_at))
            if key.expires_at <= moment:
                continue
        needs = account.id not in balances and caller.group.balance != "off"
        if needs and admission.needs_balance(caller):
            balances[account.id] = account.name, admission.balances.balance(account.id)
    return Customers(list(balances.values()), keys)


def snapshot(
    relay: Relay, writer: LedgerWriter, totals: tuple[int, int], now: float, moment: float
) -> Snapshot:
    """How everything stands that somebody may have to be told of, but customers.

    Arguments:
        totals: requests that ended, and those of them that failed.
        now: seconds on the loop's clock.
        moment: the same in Unix seconds.
    """
    ended, failed = totals
    state = ledger(writer, moment)
    return Snapshot(
        doors=relay.pools.report(now),
        ended=ended,
        failed=failed,
        ledger=ledger_trouble(state),
        ledger_full=state.full,
        certificates=list(certificates(relay.providers.values())),
        moment=moment,
    )
