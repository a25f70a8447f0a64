"""The log of requests: written in batches, read as rows or as a report, thinned by days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relayd.model import Entry
from relayd.store import entries as log
from relayd.store import reports
from relayd.store.base import (
    EVERY_REQUEST,
    LONGEST_EXACT_REPORT,
    NotFound,
    UsageFilter,
    UsageRow,
)
from relayd.store.batches import SETTLE
from relayd.store.days import LAST_DAY, begun_everywhere, within
from relayd.store.keys import KeyTable
from relayd.store.verify import differences
from relayd.store.where import Where

_MOMENT = 0.001  # seconds; dates are told to the microsecond, and floats no better

# Rows that are deleted in one transaction: the ledger's own waits no longer than that takes.
PRUNED_AT_ONCE = 5000


class UsageTable(KeyTable):
    """The log of requests and the sums over it."""

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        try:
            await self._insert(entries, log.cells_of)
        except (OverflowError, UnicodeError):
            await self._insert(entries, log.storable_cells_of)

    async def usage(
        self,
        since: float,
        until: float | None,
        by: tuple[str, ...],
        filters: UsageFilter = EVERY_REQUEST,
    ) -> list[UsageRow]:
        wanted = reports.Wanted(by, await self._fits(filters))
        days = await self.usage_days(since, until)
        query = reports.exact(wanted, since, until)
        if days:  # a report without an end takes the last months whole
            query = reports.in_days(wanted, days[0], LAST_DAY if until is None else days[1])
        rows = await self._read(query.text, *query.parameters)
        return [reports.usage_row(row, len(by)) for row in rows]

    async def usage_days(self, since: float, until: float | None) -> tuple[int, int] | None:
        newest, newest_day, pruned_before = (await self._read(_EXTENT))[0]
        first_day = self._day_of(within(since))
        if until is None:
            until, last_day = newest, newest_day
        else:
            last_day = self._day_of(within(until - _MOMENT))  # the moment itself is left out
        if until - since <= LONGEST_EXACT_REPORT and first_day >= pruned_before:
            return None
        return first_day, max(first_day, last_day)

    async def recent(self, limit: int, since: float = 0.0) -> list[Entry]:
        return await self.rows(limit=limit, since=since)

    async def rows(
        self,
        filters: UsageFilter = EVERY_REQUEST,
        limit: int = 50,
        before: str | None = None,
        *,
        since: float = 0.0,
        until: float | None = None,
    ) -> list[Entry]:
        where = Where()
        where.add("u.started_at >= ?", since)
        where.add("u.started_at < ?", until)
        for column, value in await self._fits(filters):
            where.add(f"u.{'model_asked' if column == 'model' else column} = ?", value)
        if before is not None:
            started_at = await self._started_at(before)
            where.add("(u.started_at, u.request_id) < (?, ?)", started_at, before)
        query = log.newest_first(str(where))
        return [log.entry_of(row) for row in await self._read(query, *where.values, max(limit, 0))]

    async def verify(self) -> list[str]:
        async with self._snapshot() as db:
            return await differences(db)

    async def prune(self, before_day: int) -> int:
        begun = begun_everywhere(before_day)
        deleted, more = 0, True
        while more:
            async with self._transaction() as db:
                # First of all that the rows are going: sums of those days stand alone from now on.
                update = "UPDATE usage_pruned SET before_day = max(before_day, ?)"
                await db.execute(update, (before_day,))
                done = await db.execute(_DELETE, (begun, before_day, PRUNED_AT_ONCE))
                more = done.rowcount == PRUNED_AT_ONCE
                deleted += done.rowcount
        return deleted

    async def estimates(self) -> dict[str, tuple[float, float]]:
        rows = await self._read("SELECT model, bytes, tokens FROM estimates")
        return {model: (size, tokens) for model, size, tokens in rows}

    async def save_estimates(self, estimates: Mapping[str, tuple[float, float]]) -> None:
        async with self._transaction() as db:
            await db.execute("DELETE FROM estimates")
            rows = [(model, *learned) for model, learned in estimates.items()]
            await db.executemany("INSERT INTO estimates VALUES (?, ?, ?)", rows)

    async def _insert(self, entries: Sequence[Entry], cells_of: log.CellsOf) -> None:
        """The one door to the log: whatever comes in by it is in all sums (`batches`)."""
        async with self._transaction() as db:
            for statement, cells in log.inserts(entries, cells_of):
                await db.execute(statement, cells)
            await db.execute(SETTLE)

    async def _fits(self, filters: UsageFilter) -> tuple[tuple[str, object], ...]:
        """The columns that must have a value, by names that rows and sums share."""
        found: list[tuple[str, object]] = []
        if filters.key is not None:
            found.append(("key_id", (await self.key(filters.key)).id))
        if filters.account is not None:
            found.append(("account_id", (await self.account(filters.account)).id))
        plain = [(name, getattr(filters, name)) for name in ("model", "upstream", "outcome")]
        return (*found, *((name, value) for name, value in plain if value is not None))

    async def _started_at(self, request_id: str) -> float:
        with_id = "SELECT started_at FROM usage WHERE request_id = ?"
        found = await self._read(with_id, request_id)
        if not found:
            raise NotFound(f"there is no request {request_id[:50]!r}")
        return float(found[0][0])


# When the newest row started, the newest day of all, and the day before which rows are gone.
_EXTENT = """SELECT coalesce((SELECT max(started_at) FROM usage), 0),
    coalesce((SELECT max(day) FROM usage_daily_all), 0), before_day FROM usage_pruned"""
# By start, which is indexed; the days of zones overlap, so the row's own day decides.
_DELETE = """DELETE FROM usage WHERE request_id IN (
    SELECT request_id FROM usage WHERE started_at < ? AND day < ? LIMIT ?)"""
