"""Where metrics and alerts look: how each part of a daemon stands, in their records.

Read on the loop, and never waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relayd.daemon.bookkeeping import Bookkeeping
from relayd.ledger.writer import LedgerWriter
from relayd.metrics.states import AccountState, Connections, LedgerState
from relayd.policy.conditions import Snapshot
from relayd.relay.relay import Relay
from relayd.tracing import Tracer, TracingTerms
from relayd.upstream.provider import Provider

LATE = 60.0  # seconds that a row may wait before anybody is told


def tracer(terms: TracingTerms) -> Tracer | None:
    """What traces requests; None where nothing is to be traced, and then nothing is imported."""
    if not terms.endpoint:
        return None
    from relayd.spans import OpenTelemetry

    return OpenTelemetry(terms)


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


def balances(books: Bookkeeping) -> list[tuple[str, int]]:
    """Of the accounts that need one."""
    return [(one.name, one.balance) for one in accounts(books) if one.balance is not None]


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


def expiring_keys(books: Bookkeeping) -> Iterator[tuple[str, float]]:
    """The keys of ours that will expire, or did, and are not disabled."""
    for caller in books.directory.callers():
        key = caller.key
        if key.expires_at is not None and not (key.disabled or key.account.disabled):
            yield key.name, key.expires_at


def snapshot(
    relay: Relay, books: Bookkeeping, totals: tuple[int, int], now: float, moment: float
) -> Snapshot:
    """How everything stands that somebody may have to be told of.

    Arguments:
        totals: requests that ended, and those of them that failed.
        now: seconds on the loop's clock.
        moment: the same in Unix seconds.
    """
    ended, failed = totals
    state = ledger(books.ledger, moment)
    providers = relay.providers.values()
    return Snapshot(
        relay.pools.report(now),
        balances(books),
        ended,
        failed,
        ledger_trouble(state),
        state.full,
        list(certificates(providers)),
        list(expiring_keys(books)),
    )
